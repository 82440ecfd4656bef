"""Which back ends a machine has, and what a run says that asks for one it lacks."""

import pytest

from kdbench.budgets import ALWAYS_INSTALLED, BackEnd
from kdbench.config import RunConfig
from kdbench.errors import UsageError
from kdbench.measure.back_ends import absence, check_back_ends
from kdbench.run.rounds import run_until_decided
from kdbench.run.runner import run


@pytest.fixture
def without_openvino(monkeypatch):
    monkeypatch.setattr("kdbench.measure.back_ends.find_spec", lambda name: None)


def test_what_every_installation_has_needs_no_extra(without_openvino):
    check_back_ends(ALWAYS_INSTALLED)
    assert absence(BackEnd.OPENVINO) == "OpenVINO is not installed; run pip install 'kdbench[openvino]'"


@pytest.mark.parametrize("start", [run, run_until_decided])
def test_a_run_that_asks_for_a_back_end_that_is_absent_ends_before_anything_is_read(
    start, without_openvino, tmp_path
):
    config = RunConfig(back_end=["openvino"], results=tmp_path / "results", until_decided=True)
    with pytest.raises(UsageError, match=r"openvino: OpenVINO is not installed; .*'kdbench\[openvino\]'$"):
        start(config, registry=None, watcher=None)
    assert not config.results.exists()


def test_compiling_needs_a_compiler_that_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert absence(BackEnd.TORCH_COMPILE).startswith("torch.compile needs a C++ compiler, and there is no ")
    compiler = tmp_path / "my-compiler"
    compiler.touch(mode=0o755)
    monkeypatch.setenv("CXX", "my-compiler")
    assert absence(BackEnd.TORCH_COMPILE) is None

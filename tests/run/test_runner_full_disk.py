"""A disk that is full: told in a line, nothing lost, and the same command goes on when there is room."""

import os
import re
import subprocess

import pytest
from helpers.commands import Command

pytestmark = pytest.mark.slow

SIZE = 4 << 20


@pytest.fixture
def small_disk(tmp_path):
    """A folder that takes no more than `SIZE` bytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SIZE}"]
    mounted = subprocess.run(["mount", *options, "none", folder], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def command(small_disk, tmp_path, tiny_model, toy_plugin, cache_dir):
    command = Command(tmp_path, model=tiny_model, plugins=[toy_plugin], cache=cache_dir)
    command.results = small_disk / "results"
    command.settings += ["--results", str(command.results), "--task", "toy-sentiment"]
    yield command
    command.kill()


@pytest.fixture
def run_here(call, command, monkeypatch, cache_dir):
    """Run one strategy in this process."""
    monkeypatch.setenv("KDBENCH_CACHE", str(cache_dir))
    monkeypatch.chdir(command.folder)
    return lambda strategy: call(*command.line("run", "--strategy", strategy, "--executor", "inline")[3:])


def fill(folder, *, leave):
    """Fill the disk of `folder` but for `leave` bytes."""
    disk = os.statvfs(folder)
    (folder / "ballast").write_bytes(b"\0" * (disk.f_bavail * disk.f_frsize - leave))


def test_nothing_is_lost(command, run_here, small_disk):
    assert run_here("finetune")[0] == 0
    before = command.records()
    fill(small_disk, leave=100 << 10)  # for notes and locks, but not for a model
    full = command.run("--strategy", "hard-labels")
    check_told(full.returncode, full.stderr)
    assert command.records() == before
    (small_disk / "ballast").unlink()
    fill(small_disk, leave=0)
    code, _, errors = run_here("hard-labels")
    check_told(code, errors)
    assert command.records() == before
    assert list(command.results.rglob("*.kdbench-partial")) == []
    (small_disk / "ballast").unlink()
    code, _, errors = run_here("hard-labels")
    assert (code, errors) == (0, "")
    after = command.records()
    assert {strategy for strategy, _, _ in after} == {"finetune", "hard-labels"}
    assert {cell: after[cell] for cell in before} == before


def check_told(code, errors):
    assert code == 1
    assert re.fullmatch(
        r"kdbench: [^\n]*No space left on device[^\n]* the same command again[^\n]*\n", errors
    )

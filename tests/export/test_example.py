import shutil

import pytest

from kdbench.errors import KdbenchError
from kdbench.export.example import FILE, run_example

pytestmark = pytest.mark.slow

LORA = ("lora[r=2]", "toy-sentiment")


@pytest.fixture
def broken(exported, tmp_path):
    """A folder whose example is what a test says."""
    manifest = exported(*LORA).manifest

    def make(script):
        (tmp_path / FILE).write_text(script)
        return manifest, tmp_path

    return make


def test_an_example_that_fails_is_told_by_its_last_line(broken):
    with pytest.raises(KdbenchError, match="example fails: ValueError: no such thing; nothing was written"):
        run_example(*broken("raise ValueError('no such thing')"))


def test_an_example_for_others_cannot_reach_kdbench(broken):
    with pytest.raises(KdbenchError, match="import of kdbench halted"):
        run_example(*broken("import kdbench"))


def test_an_example_gets_its_arguments(broken):
    script = "import sys; print(sys.argv[1:]); predict = len"
    assert run_example(*broken(script), "one two", texts=["abc", "a"]) == ("['one two']\n", [3, 1])


def test_an_example_works_wherever_its_folder_is_carried_to(exported, tmp_path):
    done = exported(*LORA, "onnx-int8")
    script = (done.folder / FILE).read_text()
    assert len(script.splitlines()) <= 22
    assert str(done.folder) not in script
    moved = shutil.copytree(done.folder, tmp_path / "moved here")
    assert run_example(done.manifest, moved)[0] in (done.folder / "README.md").read_text()

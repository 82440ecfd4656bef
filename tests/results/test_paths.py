"""A model that is damaged is not used, and the next run sees that it is to be made again."""

import pytest

from kdbench.errors import KdbenchError
from kdbench.results.paths import CellFiles
from kdbench.utils.sealed import CHECKSUMS, sealed_folder


@pytest.fixture
def files(tmp_path):
    found = CellFiles(tmp_path, "0123456789abcdef0123")
    with sealed_folder(found.folder) as partial:
        for name in ("fit.json", "weights"):
            (partial / name).write_text("content")
    return found


def test_a_whole_model_and_one_that_is_not_there_are_no_problem(files):
    files.check_model()
    assert files.damage() is None
    files.remove_model()
    files.check_model()
    assert files.damage() is None


@pytest.mark.parametrize("content", [b"CONTENT", b"", None])
def test_a_damaged_one_is_refused_and_missed_from_then_on(files, content):
    path = files.folder / "weights"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(KdbenchError, match=rf"the model is damaged \({path} .*\); the same 'kdbench run'"):
        files.check_model()
    assert files.damage(sizes_only=True) == f"{path} is missing"


def test_without_its_list_of_files_it_stays_damaged(files):
    (files.folder / CHECKSUMS).write_text("{")
    for _ in range(2):
        with pytest.raises(KdbenchError, match=f"{CHECKSUMS} is damaged"):
            files.check_model()
    assert files.damage(sizes_only=True) == f"{files.folder / CHECKSUMS} is damaged"

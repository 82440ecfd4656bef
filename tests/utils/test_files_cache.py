import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from kdbench.errors import UsageError
from kdbench.utils.files import build_once


def test_a_folder_is_built_once_by_whoever_comes_first(tmp_path):
    built = []

    def build(folder):
        built.append(folder)
        (folder / "a").write_text("whole")

    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: build_once(tmp_path / "deep" / "x", build), range(8)))
    assert len(built) == 1
    assert {(folder / "a").read_text() for folder in folders} == {"whole"}


def test_a_build_that_fails_leaves_nothing_and_may_be_tried_again(tmp_path):
    def fail(folder):
        (folder / "half").write_text("")
        raise UsageError("bad file")

    with pytest.raises(UsageError, match="bad file"):
        build_once(tmp_path / "x", fail)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    assert build_once(tmp_path / "x", lambda folder: (folder / "a").touch()).is_dir()


def test_a_place_that_cannot_be_written_is_named_with_a_remedy(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot write .*x.*KDBENCH_CACHE"):
        build_once(tmp_path / "file" / "x", os.listdir)

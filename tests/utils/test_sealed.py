import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from kdbench.errors import UsageError
from kdbench.utils.sealed import (
    CHECKSUMS,
    build_once,
    damage,
    delete_damaged,
    discard_damaged,
    seal,
    sealed_folder,
)


@pytest.fixture
def sealed(tmp_path):
    with sealed_folder(tmp_path / "sealed") as partial:
        (partial / "deep").mkdir()
        (partial / "deep" / "a").write_text("first")
        (partial / "b").write_text("second")
    return tmp_path / "sealed"


def told(caplog):
    return [record.getMessage() for record in caplog.records]


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


def test_what_is_whole_has_no_damage(sealed):
    assert damage(sealed) == {}
    (sealed / "added later").touch()
    assert damage(sealed) == {}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("deep/a", b"", "has 0 bytes instead of 5"),
        ("deep/a", b"fi", "has 2 bytes instead of 5"),
        ("b", b"sECOND", "has another content than was written"),
        ("b", None, "is missing"),
        (CHECKSUMS, b"", "is damaged"),
        (CHECKSUMS, b'{"files": {', "is damaged"),
    ],
)
def test_whatever_changes_or_goes_is_named(sealed, name, content, reason):
    (sealed / name).unlink()
    if content is not None:
        (sealed / name).write_bytes(content)
    assert damage(sealed) == {name: reason}
    assert damage(sealed, sizes_only=True) == ({} if "another content" in reason else {name: reason})


def test_without_checksums_an_empty_file_alone_is_damage(sealed):
    (sealed / CHECKSUMS).unlink()
    assert damage(sealed) == {}
    (sealed / "deep" / "a").write_bytes(b"")
    assert damage(sealed) == {"deep/a": "is empty"}


def test_a_link_in_place_of_a_file_leads_to_what_it_had(sealed, tmp_path):
    (sealed / "b").rename(tmp_path / "moved")
    (sealed / "b").symlink_to(tmp_path / "moved")
    assert damage(sealed) == {}


@pytest.mark.parametrize("name", ["../victim", "/victim", "deep/../../victim"])
def test_no_file_elsewhere_is_looked_at_or_deleted(sealed, tmp_path, name):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    sums = (sealed / CHECKSUMS).read_text().replace('"b"', f'"{name}"')
    (sealed / CHECKSUMS).write_text(sums)
    assert damage(sealed) == {CHECKSUMS: "is damaged"}
    (sealed / "deep" / "a").unlink()
    (sealed / "deep").rmdir()
    (sealed / "deep").symlink_to(tmp_path)
    delete_damaged(sealed, ["deep/victim", name, "b", CHECKSUMS])
    assert victim.exists()
    assert (sealed / CHECKSUMS).exists()
    assert not (sealed / "b").exists()


def test_checksums_may_lie_elsewhere(sealed, tmp_path):
    seal(sealed, ["b"], tmp_path / "sums" / "one.json")
    (sealed / CHECKSUMS).unlink()
    (sealed / "b").write_text("sECOND")
    assert list(damage(sealed, file=tmp_path / "sums" / "one.json")) == ["b"]


def test_a_damaged_folder_is_discarded_and_told_in_a_line(sealed, caplog):
    assert not discard_damaged(sealed, "it")
    assert sealed.is_dir()
    (sealed / "b").unlink()
    (sealed / "deep" / "a").write_bytes(b"")
    assert discard_damaged(sealed, "it")
    assert told(caplog) == [f"it is made again, since {sealed}/b is missing, and 1 more"]
    assert not sealed.exists()
    assert not discard_damaged(sealed, "it")


@pytest.mark.parametrize("lost", ["a", CHECKSUMS])
def test_a_damaged_cache_is_built_again_by_whoever_comes_first(tmp_path, lost, caplog):
    built = []

    def build(folder):
        built.append(folder)
        (folder / "a").write_text("whole")

    build_once(tmp_path / "x", build)
    (tmp_path / "x" / lost).write_bytes(b"")
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: build_once(tmp_path / "x", build), range(8)))
    assert len(built) == 2
    assert {(folder / "a").read_text() for folder in folders} == {"whole"}
    (line,) = told(caplog)
    assert re.fullmatch(rf"a cache is made again, since {tmp_path}/x/{lost} [^\n]+", line)


def test_a_cache_of_an_earlier_version_is_built_again_without_a_word(tmp_path, caplog):
    (tmp_path / "x").mkdir()
    assert (build_once(tmp_path / "x", lambda folder: (folder / "a").touch()) / "a").exists()
    assert told(caplog) == []

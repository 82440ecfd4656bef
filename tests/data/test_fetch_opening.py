import pytest
from helpers.toytasks import ToyTask

from kdbench.api.task import HubSource, LocalSource, PackageSource
from kdbench.data import DataSettings, Download, missing_downloads, open_source
from kdbench.errors import UsageError

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
    path.touch()
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

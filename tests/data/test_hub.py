"""The library that reads the hub reads a folder in the hub's layout by the same calls."""

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from kdbench.api.task import HubSource, Opened
from kdbench.data.hub import read_hub
from kdbench.errors import UsageError


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return what opens a data set in a folder; what the library keeps goes to a folder of the test's own."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "library")
    folder = tmp_path / "corpus"

    def hub(features, parts, **source):
        for split, rows in parts.items():
            path = folder / "data" / f"{split}-00000-of-00001.parquet"
            Dataset.from_list(rows, features=Features(features)).to_parquet(path)
        return Opened("hub", hub=HubSource(str(folder), **source))

    return hub


def test_classes_come_as_names_and_secret_labels_as_none(hub):
    features = {"idx": Value("int32"), "sentence": Value("string"), "label": ClassLabel(names=["no", "yes"])}
    rows = [{"idx": 0, "sentence": "a", "label": 1}, {"idx": 1, "sentence": "b", "label": 0}]
    opened = hub(features, {"train": rows, "test": [{"idx": 2, "sentence": "c", "label": -1}]})
    train = list(read_hub(opened, "train", ["sentence", "label"]))
    assert [row for _, row in train] == [{"sentence": "a", "label": "yes"}, {"sentence": "b", "label": "no"}]
    assert train[1][0].endswith("corpus, train row 2")
    assert [row for _, row in read_hub(opened, "test", ["label"])] == [{"label": None}]


def test_tags_come_as_names(hub):
    features = {"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "B-PER", "I-PER"]))}
    opened = hub(features, {"train": [{"tokens": ["Anna", "left"], "ner_tags": [1, 0]}]})
    assert [row for _, row in read_hub(opened, "train", ["tokens", "ner_tags"])] == [
        {"tokens": ["Anna", "left"], "ner_tags": ["B-PER", "O"]}
    ]


def test_splits_go_by_the_hubs_names_and_may_be_joined(hub):
    rows = [{"text": "a"}, {"text": "b"}]
    opened = hub(
        {"text": Value("string")},
        {"train": rows, "validation": [{"text": "c"}]},
        splits={"train": "train+validation", "dev": "validation"},
    )
    assert [row["text"] for _, row in read_hub(opened, "train", ["text"])] == ["a", "b", "c"]
    assert [row["text"] for _, row in read_hub(opened, "dev", ["text"])] == ["c"]


def test_what_is_not_there_is_told_in_one_line(hub, tmp_path):
    opened = hub({"text": Value("string")}, {"train": [{"text": "a"}]})
    with pytest.raises(UsageError, match="has no column 'label', only 'text'"):
        list(read_hub(opened, "train", ["text", "label"]))
    with pytest.raises(UsageError, match=r"split 'test': .*check the names and the network") as caught:
        list(read_hub(opened, "test", ["text"]))
    assert "\n" not in str(caught.value)
    nowhere = Opened("hub", hub=HubSource(str(tmp_path / "nowhere")))
    with pytest.raises(UsageError, match=r"hub .*nowhere, split 'train': "):
        list(read_hub(nowhere, "train", ["text"]))


def test_a_data_set_that_needs_a_script_is_refused_and_the_script_does_not_run(tmp_path):
    folder = tmp_path / "scripted"
    folder.mkdir()
    (folder / "scripted.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(UsageError, match="split 'train': Dataset scripts are no longer supported"):
        list(read_hub(Opened("hub", hub=HubSource(str(folder))), "train", ["text"]))
    assert not (tmp_path / "ran").exists()

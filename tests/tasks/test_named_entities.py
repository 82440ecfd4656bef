from collections import Counter

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from helpers.realdata import REAL_DATA, needs_real_data
from kdbench_tasks.named_entities import ENTITIES

from kdbench.api.task import HubSource, Opened
from kdbench.data import DataSettings, load_task
from kdbench.errors import UsageError

CONLL, WNUT = ENTITIES


@pytest.mark.parametrize(
    "names", [("eng.train", "eng.testa", "eng.testb"), ("train.txt", "valid.txt", "test.txt")]
)
def test_conll2003_is_read_under_either_name_of_its_files(tmp_path, names):
    folder = tmp_path / "conll2003"
    folder.mkdir()
    for name in names:
        # The shared task's own files are IOB1; those that go around under the other names are IOB2.
        first = "I" if name.startswith("eng") else "B"
        (folder / name).write_text(
            "-DOCSTART- -X- -X- O\n\n"
            f"EU NNP I-NP {first}-ORG\nrejects VBZ I-VP O\nGerman JJ I-NP {first}-MISC\ncall NN I-NP O\n\n"
            f"Peter NNP I-NP {first}-PER\nBlackburn NNP I-NP I-PER\n\n"
        )
    data = load_task(CONLL, DataSettings(data_dir=tmp_path, cache_dir=tmp_path / "cache"))
    assert data.source == "local conll2003"
    assert data.splits.keys() == {"train", "validation", "test"}
    assert data.splits["test"].to_list() == [
        {"words": ["EU", "rejects", "German", "call"], "tags": ["B-ORG", "O", "B-MISC", "O"]},
        {"words": ["Peter", "Blackburn"], "tags": ["B-PER", "I-PER"]},
    ]


def test_wnut17_is_read_in_its_own_layout(tmp_path):
    folder = tmp_path / "wnut17"
    folder.mkdir()
    for name in ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"):
        (folder / name).write_text(
            "Empire\tB-location\nState\tI-location\n\t\n@paulwalk\tO\n\nat\tO\nGM\tB-corporation\n"
        )
    data = load_task(WNUT, DataSettings(data_dir=tmp_path, cache_dir=tmp_path / "cache"))
    assert data.splits["train"]["words"][:] == [["Empire", "State"], ["@paulwalk"], ["at", "GM"]]
    assert data.splits["train"]["tags"][0] == ["B-location", "I-location"]


def test_a_type_that_is_not_the_tasks_is_told_with_file_and_line(tmp_path):
    folder = tmp_path / "wnut17"
    folder.mkdir()
    for name in ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"):
        (folder / name).write_text("so\tO\n\nGM\tB-company\n")
    with pytest.raises(
        UsageError, match=r"test\.annotated, line 3: the tag 'B-company' is none of the task's"
    ):
        load_task(WNUT, DataSettings(data_dir=tmp_path, cache_dir=tmp_path / "cache"))


@pytest.mark.parametrize("task", ENTITIES, ids=lambda task: task.name)
def test_the_hubs_columns_give_words_and_tags_by_name(task, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "library")
    features = {
        "id": Value("string"),
        "tokens": List(Value("string")),
        "ner_tags": List(ClassLabel(names=list(task.labels))),
    }
    rows = [
        {"id": "0", "tokens": ["EU", "rejects"], "ner_tags": [3, 0]},
        {"id": "1", "tokens": [], "ner_tags": []},
    ]
    for split in ("train", "validation", "test"):
        Dataset.from_list(rows, features=Features(features)).to_parquet(tmp_path / "hub" / f"{split}.parquet")
    splits = task.load(Opened("hub", hub=HubSource(str(tmp_path / "hub"))))
    assert [(row["words"], row["tags"]) for row in splits["test"]] == [
        (["EU", "rejects"], [task.labels[3], "O"])
    ]


@needs_real_data
def test_the_real_wnut17_comes_whole(tmp_path):
    data = load_task(WNUT, DataSettings(data_dir=REAL_DATA, cache_dir=tmp_path))
    assert {name: len(rows) for name, rows in data.splits.items()} == {
        "train": 3_394,
        "validation": 1_009,
        "test": 1_287,
    }
    files = {
        "train": "wnut17train.conll",
        "validation": "emerging.dev.conll",
        "test": "emerging.test.annotated",
    }
    for split, name in files.items():
        lines = (REAL_DATA / "wnut17" / name).read_text(encoding="utf-8").split("\n")
        pairs = [line.split("\t") for line in lines if line.strip()]
        rows = data.splits[split]
        assert [word for words in rows["words"] for word in words] == [word.strip(" ") for word, _ in pairs]
        assert Counter(tag for tags in rows["tags"] for tag in tags) == Counter(tag for _, tag in pairs)
    assert data.splits["train"][0]["words"][:4] == ["@paulwalk", "It", "'s", "the"]
    assert data.splits["test"][-1]["tags"][:3] == ["B-person", "I-person", "O"]

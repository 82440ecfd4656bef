"""Each task reads the same examples from its official files and from the hub's columns."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from helpers.realdata import REAL_DATA, needs_real_data
from kdbench_tasks.glue import GLUE, sentences_of

from kdbench.api.task import HubSource, Opened
from kdbench.budgets import BUDGETS
from kdbench.data import DataSettings, load_task
from kdbench.data.splitting import choose
from kdbench.errors import UsageError

TASKS = {task.name: task for task in GLUE}
MNLI_HEADER = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
    "sentence2_parse\tsentence1\tsentence2\tlabel1\t{more}gold_label"
)
MNLI_DEV_HEADER = MNLI_HEADER.format(more="label2\tlabel3\tlabel4\tlabel5\t")


@dataclass(frozen=True)
class Layout:
    """How a corpus is written down: its folder, files, headers, and a line with places for texts and label."""

    folder: str
    line: str
    header: str
    hub_columns: tuple[str, ...]
    hub_labels: tuple[str, ...]
    """The hub's classes in its own order; empty for numbers."""
    file_labels: tuple[str, ...]
    """What stands in the files for the hub's classes; for numbers three values."""
    train: str = "train.tsv"
    scored: str = "dev.tsv"
    scored_header: str = ""
    scored_line: str = ""


ENTAILMENT = ("entailment", "not_entailment")
PAIR = ("sentence1", "sentence2")
MNLI_LABELS = ("entailment", "neutral", "contradiction")
MNLI_LINE = "0\t31193n\t31193n\ttravel\t( a )\t( b )\t(ROOT)\t(ROOT)\t{a}\t{b}\tneutral\t{more}{label}"
MNLI = {
    "folder": "MNLI",
    "line": MNLI_LINE.replace("{more}", ""),
    "header": MNLI_HEADER.format(more=""),
    "scored_line": MNLI_LINE.replace("{more}", "neutral\t\t\t\t"),
    "scored_header": MNLI_DEV_HEADER,
    "hub_columns": ("premise", "hypothesis"),
    "hub_labels": MNLI_LABELS,
    "file_labels": MNLI_LABELS,
}
LAYOUTS = {
    "cola": Layout(
        "CoLA", "gj04\t{label}\t\t{a}", "", ("sentence",), ("unacceptable", "acceptable"), ("0", "1")
    ),
    "sst2": Layout(
        "SST-2", "{a} \t{label}", "sentence\tlabel", ("sentence",), ("negative", "positive"), ("0", "1")
    ),
    "mrpc": Layout(
        "MRPC",
        "{label}\t702876\t702977\t{a}\t{b}",
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
        PAIR,
        ("not_equivalent", "equivalent"),
        ("0", "1"),
        "msr_paraphrase_train.txt",
        "msr_paraphrase_test.txt",
    ),
    "stsb": Layout(
        "STS-B",
        "0\tmain-captions\tMSRvid\t2012test\t0001\tnone\tnone\t{a}\t{b}\t{label}",
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
        PAIR,
        (),
        ("5.000", "0", "3.250"),
    ),
    "qqp": Layout(
        "QQP",
        "133273\t213221\t213222\t{a}\t{b}\t{label}",
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        ("question1", "question2"),
        ("not_duplicate", "duplicate"),
        ("0", "1"),
    ),
    "mnli": Layout(**MNLI, scored="dev_matched.tsv"),
    "mnli-mm": Layout(**MNLI, scored="dev_mismatched.tsv"),
    "qnli": Layout(
        "QNLI",
        "0\t{a}\t{b}\t{label}",
        "index\tquestion\tsentence\tlabel",
        ("question", "sentence"),
        ENTAILMENT,
        ENTAILMENT,
    ),
    "rte": Layout(
        "RTE", "0\t{a}\t{b}\t{label}", "index\tsentence1\tsentence2\tlabel", PAIR, ENTAILMENT, ENTAILMENT
    ),
    "wnli": Layout(
        "WNLI",
        "0\t{a}\t{b}\t{label}",
        "index\tsentence1\tsentence2\tlabel",
        PAIR,
        ("not_entailment", "entailment"),
        ("0", "1"),
    ),
}
TEXTS = [
    ('He said "no', "and left."),
    ("It 's", 'a "test"'),
    ("Ünïcode", "too"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
]


def write_files(folder, layout):
    """Write six training and three scored examples as the corpus comes, and return the scored file."""
    folder = folder / "glue" / layout.folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, header, line, texts in (
        (layout.train, layout.header, layout.line, TEXTS),
        (layout.scored, layout.scored_header or layout.header, layout.scored_line or layout.line, TEXTS[:3]),
    ):
        labels = layout.file_labels
        lines = [line.format(a=a, b=b, label=labels[i % len(labels)]) for i, (a, b) in enumerate(texts)]
        (folder / name).write_text("\n".join([*([header] if header else []), *lines]), encoding="utf-8")
    return folder / layout.scored


def hub_folder(folder, layout, splits):
    """Write the same examples as the hub keeps them."""
    label = ClassLabel(names=list(layout.hub_labels)) if layout.hub_labels else Value("float32")
    features = {name: Value("string") for name in layout.hub_columns} | {
        "label": label,
        "idx": Value("int32"),
    }
    for split, texts in zip(splits, (TEXTS, TEXTS[:3]), strict=True):
        rows = []
        for i, pair in enumerate(texts):
            value = i % len(layout.hub_labels) if layout.hub_labels else float(layout.file_labels[i % 3])
            rows.append({**dict(zip(layout.hub_columns, pair, strict=False)), "label": value, "idx": i})
        Dataset.from_list(rows, features=Features(features)).to_parquet(folder / f"{split}.parquet")
    return HubSource(
        str(folder), splits={"train": splits[0], ("test" if layout.folder == "MRPC" else "dev"): splits[1]}
    )


def test_all_nine_are_there_and_every_layout_is_tested():
    assert TASKS.keys() == LAYOUTS.keys()
    assert len({task.folder for task in GLUE}) == 9


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_official_files_and_the_hub_give_the_same_examples(name, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "library")
    task, layout = TASKS[name], LAYOUTS[name]
    write_files(tmp_path, layout)
    data = load_task(task, DataSettings(data_dir=tmp_path, cache_dir=tmp_path / "cache"))
    assert data.source == f"local glue/{layout.folder}"
    assert {split: len(rows) for split, rows in data.splits.items()} == {"train": 6, task.eval_split: 3}
    first = data.splits["train"][0]
    assert first["text"] == 'He said "no'
    assert first.get("text_pair") == (None if len(layout.hub_columns) == 1 else "and left.")
    expected = (
        [layout.hub_labels[i % len(layout.hub_labels)] for i in range(6)]
        if layout.hub_labels
        else [5.0, 0.0, 3.25] * 2
    )
    assert data.splits["train"]["label"][:] == expected

    hub = hub_folder(tmp_path / "hub", layout, ("train", "validation"))
    from_hub = task.load(Opened("hub", hub=hub))
    for split, rows in data.splits.items():
        kept = [{key: value for key, value in row.items() if key != "where"} for row in from_hub[split]]
        assert kept == rows.to_list()


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_label_of_no_class_is_told_with_file_and_line(name, tmp_path):
    layout = LAYOUTS[name]
    path = write_files(tmp_path, layout)
    line = (layout.scored_line or layout.line).format(a="a", b="b", label="7x")
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    number = 4 if name == "cola" else 5
    with pytest.raises(
        UsageError, match=rf"{path.name}, line {number}: the label '7x'|line {number}: the label is '7x'"
    ):
        load_task(TASKS[name], DataSettings(data_dir=tmp_path, cache_dir=tmp_path / "cache"))


def test_the_hubs_own_names_of_splits_are_asked_for():
    hub = {task.name: task.sources["hub"] for task in GLUE}
    assert {source.path for source in hub.values()} == {"nyu-mll/glue"}
    assert hub["sst2"].splits == {"train": "train", "dev": "validation"}
    assert (hub["mnli-mm"].name, hub["mnli-mm"].splits["dev"]) == ("mnli", "validation_mismatched")
    assert hub["mrpc"].splits == {"train": "train+validation", "test": "test"}


def test_broken_lines_of_qqp_are_passed_over(tmp_path):
    write_files(tmp_path, LAYOUTS["qqp"])
    path = tmp_path / "glue" / "QQP" / "train.tsv"
    path.write_text(path.read_text(encoding="utf-8") + "\n1\t2\t3\tcut off\n", encoding="utf-8")
    data = load_task(TASKS["qqp"], DataSettings(data_dir=tmp_path, cache_dir=tmp_path / "cache"))
    assert len(data.splits["train"]) == 6


@pytest.mark.slow
@needs_real_data
@pytest.mark.parametrize(
    ("name", "train", "dev"),
    [("cola", 8_551, 1_043), ("sst2", 67_349, 872), ("stsb", 5_749, 1_500), ("rte", 2_490, 277)],
)
def test_the_real_corpora_come_whole(name, train, dev, tmp_path):
    task = TASKS[name]
    data = load_task(task, DataSettings(data_dir=REAL_DATA, cache_dir=tmp_path))
    for split, count in (("train", train), ("dev", dev)):
        with (REAL_DATA / "glue" / task.folder / f"{split}.tsv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        header = ["", "label", "", "sentence"] if name == "cola" else rows.pop(0)
        found = data.splits[split]
        assert len(found) == len(rows) == count
        texts = [header.index(column) for column in task.texts]
        for at in (0, -1):
            pair = [found[at]["text"], found[at].get("text_pair")][: len(texts)]
            assert pair == [rows[at][i].strip() for i in texts]
        values = Counter(row[header.index(task.label)] for row in rows)
        if name == "stsb":
            assert sum(found["label"]) == pytest.approx(sum(float(v) * n for v, n in values.items()))
        else:
            names = {"0": task.labels[0], "1": task.labels[-1]}
            assert Counter(found["label"]) == {names.get(value, value): n for value, n in values.items()}


# SST-2's training examples are sentences and their phrases.


def test_a_phrase_belongs_to_the_longest_text_that_contains_it_word_by_word():
    texts = [
        "a fine film",
        "fine",
        "a fine film about art",
        "art",
        "about",
        "refine",
        "no art at all",
        "at  all",
    ]
    assert sentences_of(texts) == {
        "a fine film": "a fine film about art",
        "fine": "a fine film about art",
        "a fine film about art": "a fine film about art",
        "art": "a fine film about art",
        "about": "a fine film about art",
        "refine": "refine",
        "no art at all": "no art at all",
        "at  all": "at  all",
    }


@needs_real_data
def test_no_phrase_of_a_validated_sentence_is_trained_on():
    data = load_task(TASKS["sst2"], DataSettings(data_dir=REAL_DATA))
    texts, groups = data.splits["train"]["text"][:], data.splits["train"]["group"][:]
    # The corpus has 6,920 training sentences (Socher et al. 2013); some are the same.
    assert 6_800 < len(set(groups)) < 6_950
    choice = choose(data, BUDGETS["quick"])
    trained = [texts[i] for i in choice.train]
    validated = {texts[i] for i in choice.validation if len(texts[i].split()) > 3}
    assert not {groups[i] for i in choice.train} & {groups[i] for i in choice.validation}
    assert len({groups[i] for i in choice.validation}) > 50
    assert not any(f" {phrase} " in f" {text} " for phrase in validated for text in trained)

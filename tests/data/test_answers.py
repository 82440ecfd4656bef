"""Answers are read from any file format as hand-computed targets, and whatever is wrong with one is named with its place."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.toytasks import ToyTask, settings_in

from kdbench import TaskKind
from kdbench.config import is_answers
from kdbench.data import TaskData, load_task
from kdbench.data.answers import Answers, read_answers
from kdbench.errors import UsageError

TEXTS = ("good film", "bad  film", "a story", "an actor", "the music", "the cats")
TRAIN = [{"text": text, "label": ("no", "yes")[i % 2]} for i, text in enumerate(TEXTS)]
TEST = [{"text": "scored one", "label": "no"}, {"text": "scored two", "label": "yes"}]
SENTENCES = [
    {
        "words": ["Anna", "lives", "in", "New", "York", "."],
        "tags": ["B-PER", "O", "O", "B-LOC", "I-LOC", "O"],
    },
    {"words": ["Oslo"], "tags": ["B-LOC"]},
]
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
Rows = Sequence[Mapping[str, Any]]


@pytest.fixture
def texts(tmp_path: Path) -> TaskData:
    return load_task(ToyTask({"train": TRAIN, "test": TEST}), settings_in(tmp_path))


@pytest.fixture
def words(tmp_path: Path) -> TaskData:
    task = ToyTask({"train": SENTENCES, "test": SENTENCES[:1]}, TaskKind.TOKEN_CLASSIFICATION, TAGS)
    return load_task(task, settings_in(tmp_path))


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Answers]:
    """Write rows as JSON Lines and read them."""

    def of(rows: Rows, data: TaskData) -> Answers:
        path = tmp_path / "answers.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return read_answers(path, data)

    return of


def probabilities(answers: Answers, example: int) -> list[list[float]]:
    logits = answers.targets[answers.of_example[example]].logits.astype(float)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return [[round(share, 4) for share in unit] for unit in shares.tolist()]


def test_what_names_a_file_of_answers() -> None:
    assert all(map(is_answers, ("a.jsonl", "b/a.CSV", "a.tsv.gz", "a.parquet")))
    assert not any(map(is_answers, (None, "models/tiny", "org/model", "model.v1.5")))


def test_each_form_becomes_probabilities(read: Callable[..., Answers], texts: TaskData) -> None:
    answers = read(
        [
            {"text": "good film", "label": "yes"},
            {"text": "bad film", "probabilities": {"yes": 0.25, "no": 0.75}},
            {"id": 2, "votes": ["yes", "yes", "no"]},
            {"id": 3, "votes": {"no": 3}},
            {"id": 4, "label": "no", "scores": {"no": 0.5, "yes": 0.5}},
            {"text": "the cats", "label": None},
        ],
        texts,
    )
    # Label smoothing of 0.1 over two labels: 0.9 p + 0.05.
    assert probabilities(answers, 0) == [[0.05, 0.95]]
    assert probabilities(answers, 1) == [[0.75, 0.25]]
    assert probabilities(answers, 2) == [[0.35, 0.65]]
    assert probabilities(answers, 3) == [[0.95, 0.05]]
    assert probabilities(answers, 4) == [[0.5, 0.5]]
    assert (answers.refused, answers.held_out, answers.further) == (1, 0, ())
    assert dict(answers.forms) == {"label": 1, "probabilities": 2, "votes": 2}
    assert all(abs(target.logits.mean()) < 1e-6 for target in answers.targets)


def test_a_certain_answer_has_finite_targets(read: Callable[..., Answers], texts: TaskData) -> None:
    answers = read([{"id": 0, "probabilities": {"yes": 1.0}}], texts)
    assert np.allclose(answers.targets[0].logits, [[np.log(0.001) / 2, -np.log(0.001) / 2]])


def test_other_texts_are_told_from_those_held_out(read: Callable[..., Answers], texts: TaskData) -> None:
    rows = [
        {"text": text, "label": "no"} for text in ("scored two", "nobody's text", "a story", " a  story ")
    ]
    answers = read(rows, texts)
    assert list(answers.of_example) == [2]
    assert [example["text"] for example in answers.further] == ["nobody's text"]
    assert answers.held_out == 1


def test_csv_and_parquet_say_the_same_as_json(
    read: Callable[..., Answers], texts: TaskData, tmp_path: Path
) -> None:
    rows = [{"text": "good film", "votes": ["yes", "no", "yes"]}, {"text": "a story", "votes": ["no"]}]
    expected = read(rows, texts)
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["text", "votes"], *([row["text"], json.dumps(row["votes"])] for row in rows)])
    for name in ("a.parquet", "a.csv"):
        found = read_answers(tmp_path / name, texts)
        assert found.of_example == expected.of_example
        assert all(
            np.array_equal(one.logits, other.logits)
            for one, other in zip(found.targets, expected.targets, strict=True)
        )


def test_spans_tags_and_votes_say_the_same(read: Callable[..., Answers], words: TaskData) -> None:
    text, tags = " ".join(SENTENCES[0]["words"]), SENTENCES[0]["tags"]
    spans = [{"start": 0, "end": 4, "label": "PER"}, {"start": 14, "end": 22, "label": "LOC"}]
    asked = [
        {"text": text, "spans": spans},
        {"id": 0, "tags": tags},
        {"words": SENTENCES[0]["words"], "votes": [tags, tags]},
        {"id": 0, "spans": [*spans[:1], {"start": 15, "end": 20, "label": "LOC"}]},  # inside of both words
    ]
    found = [read([row], words).targets[0].logits for row in asked]
    assert found[0].shape == (6, 5)
    assert [TAGS[place] for place in found[0].argmax(axis=1)] == tags
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_a_regression_has_values(read: Callable[..., Answers], tmp_path: Path) -> None:
    rows = [{"text": text, "label": i / 4} for i, text in enumerate(TEXTS)]
    task = ToyTask({"train": rows, "test": rows[:2]}, TaskKind.SEQUENCE_REGRESSION, ())
    data = load_task(task, settings_in(tmp_path))
    answers = read([{"id": 0, "label": 0.5}, {"id": 1, "votes": [1, 2]}, {"id": 2, "label": "3"}], data)
    assert [target.logits.tolist() for target in answers.targets] == [[[0.5]], [[1.5]], [[3.0]]]


TEXT_FAULTS = [
    ([{"id": 0, "label": "maybe"}], 1, "the label 'maybe' is none of the task's ('no', 'yes')"),
    ([{"id": 0, "probabilities": {"yes": 0.9, "no": 0.3}}], 1, "probabilities sum to 1.2, not to 1"),
    (
        [{"id": 0, "probabilities": {"yes": -0.1, "no": 1}}],
        1,
        "the probability of 'yes' is -0.1, not from 0 to 1",
    ),
    ([{"id": 0, "probabilities": {"perhaps": 1}}], 1, "the label 'perhaps' is none"),
    ([{"id": 0, "probabilities": [0.1, 0.9]}], 1, "not an object"),
    ([{"id": 0, "votes": []}], 1, "votes has no vote"),
    ([{"id": 0, "votes": {"yes": -1}}], 1, "the votes for 'yes' are -1"),
    ([{"id": 6, "label": "no"}], 1, "the id 6 is no training example's number, from 0 to 5"),
    ([{"label": "no"}], 1, "neither id nor text"),
    ([{"id": 0, "text": "a story", "label": "no"}], 1, "not that of training example 0"),
    ([{"id": 1, "label": "no"}, {"id": 1, "label": "yes"}], 2, "id 1 has another answer in"),
    (
        [{"text": "x", "label": "no"}, {"text": "x ", "label": "yes"}],
        2,
        "the same text has another answer in",
    ),
    ([{"text": "", "label": "no"}], 1, "its text is empty"),
    ([{"text": "good film", "label": "no"}, {"id": 0, "label": "yes"}], 2, "another answer, by its text, in"),
]
WORD_FAULTS = [
    ([{"id": 1, "tags": ["O", "O"]}], 1, "2 tags for a sentence of 1 words"),
    ([{"id": 1, "tags": ["I-LOC"]}], 1, "continues no entity"),
    ([{"id": 1, "tags": ["B-ORG"]}], 1, "the tag 'B-ORG' is none"),
    ([{"id": 1, "votes": [["O"], ["O", "O"]]}], 1, "2 tags for a sentence of 1 words"),
    (
        [{"id": 1, "spans": [{"start": 0, "end": 5, "label": "LOC"}]}],
        1,
        "not inside the text of 4 characters",
    ),
    ([{"id": 1, "spans": [{"start": 0, "end": 4, "label": "ORG"}]}], 1, "no entity type ('PER', 'LOC')"),
    ([{"id": 0, "spans": [{"start": 4, "end": 5, "label": "PER"}]}], 1, "has no word"),
    ([{"id": 0, "spans": [{"start": 0, "end": 4, "label": "PER"}] * 2}], 1, "shares a word with another"),
    ([{"id": 1, "probabilities": [{"O": 1}] * 2}], 1, "an object for each of 1 words"),
]


@pytest.mark.parametrize(("rows", "line", "fault"), TEXT_FAULTS)
def test_a_wrong_answer_is_named(
    read: Callable[..., Answers], texts: TaskData, rows: Rows, line: int, fault: str
) -> None:
    with pytest.raises(UsageError, match=rf"answers\.jsonl, line {line}: ") as raised:
        read(rows, texts)
    assert fault in str(raised.value)


@pytest.mark.parametrize(("rows", "line", "fault"), WORD_FAULTS)
def test_a_wrong_answer_about_words_is_named(
    read: Callable[..., Answers], words: TaskData, rows: Rows, line: int, fault: str
) -> None:
    with pytest.raises(UsageError, match=rf"answers\.jsonl, line {line}: ") as raised:
        read(rows, words)
    assert fault in str(raised.value)


def test_a_file_of_refusals_alone_is_refused(read: Callable[..., Answers], texts: TaskData) -> None:
    with pytest.raises(UsageError, match="has no answer"):
        read([{"id": 0, "label": None}], texts)

"""An odd file of answers is refused in one line that names the file, or gives finite targets of the right shape."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fuzz.judge import fuzz, taken
from fuzz.mutate import damaged, odd_json
from helpers.toytasks import ToyTask, settings_in
from hypothesis import given

from kdbench import TaskKind
from kdbench.data import TaskData, load_task
from kdbench.data.answers import Answers, read_answers

_TEXTS = [
    '[{"text": "good film", "probabilities": {"yes": 0.25, "no": 0.75}}, {"text": "other", "label": "yes"}]',
    '[{"id": 0, "votes": ["yes", "no"]}, {"id": 1, "label": "no"}, {"text": "scored", "votes": {"yes": 2, "no": 1}}]',
]
_WORDS = [
    '[{"id": 0, "tags": ["B-PER", "O"]}, {"words": ["Oslo"], "votes": [["B-LOC"], ["O"]]}]',
    '[{"text": "Anna left", "spans": [{"start": 0, "end": 4, "label": "PER"}]}, {"id": 1, "probabilities": [{"O": 1}]}]',
]
_CSV = [b'text,label,votes\ngood film,yes,\nbad film,,"[""no"", ""yes""]"\n', b"id,label\n0,yes\n1,no\n"]
_TAGS = ("O", "B-PER", "B-LOC")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("answers")


@pytest.fixture(scope="module")
def texts(folder: Path) -> TaskData:
    rows = [{"text": "good film", "label": "yes"}, {"text": "bad film", "label": "no"}]
    task = ToyTask({"train": rows, "test": [{"text": "scored", "label": "no"}]})
    return load_task(task, settings_in(folder))


@pytest.fixture(scope="module")
def words(folder: Path) -> TaskData:
    rows = [{"words": ["Anna", "left"], "tags": ["B-PER", "O"]}, {"words": ["Oslo"], "tags": ["B-LOC"]}]
    return load_task(
        ToyTask({"train": rows, "test": rows}, TaskKind.TOKEN_CLASSIFICATION, _TAGS),
        settings_in(folder / "w"),
    )


@fuzz(300)
@given(text=odd_json(_TEXTS))
def test_odd_answers_to_texts(folder: Path, texts: TaskData, text: str) -> None:
    judge(folder / "a.jsonl", text, texts, outputs=2)


@fuzz(300)
@given(text=odd_json(_WORDS))
def test_odd_answers_about_words(folder: Path, words: TaskData, text: str) -> None:
    judge(folder / "b.jsonl", text, words, outputs=3)


@fuzz(300)
@given(content=damaged(_CSV))
def test_odd_delimited_answers(folder: Path, texts: TaskData, content: bytes) -> None:
    path = folder / "a.csv"
    path.write_bytes(content)
    check(taken(lambda: read_answers(path, texts), path)[0], outputs=2)


def judge(path: Path, text: str, data: TaskData, outputs: int) -> None:
    """Write the rows of the JSON list `text`, which may be no list of rows any more, and read them."""
    path.write_text(_lines(text), encoding="utf-8", errors="surrogatepass")
    check(taken(lambda: read_answers(path, data), path)[0], outputs)


def _lines(text: str) -> str:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return "\n".join(json.dumps(row) for row in rows) if isinstance(rows, list) else text


def check(answers: Answers | None, outputs: int) -> None:
    if answers is None:
        return
    for target in answers.targets:
        assert target.logits.shape[1] == outputs
        assert np.isfinite(target.logits).all()
    indices = {*answers.of_example.values(), *answers.of_further}
    assert indices <= set(range(len(answers.targets)))

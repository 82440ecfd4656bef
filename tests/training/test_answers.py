"""A file of answers teaches what it says: targets by row, labels where it is silent, and a refusal of all that needs a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.training import no_report

from kdbench.api.spec import parse_spec
from kdbench.data import DataSettings, load_task
from kdbench.data.answers import open_answers
from kdbench.errors import UsageError
from kdbench.registry import Registry
from kdbench.training.bench import TrainingBench
from kdbench.training.experiment import Experiment

Made = tuple[Any, TrainingBench]


@pytest.fixture
def with_answers(
    make_experiment: Callable[..., Experiment], registry: Registry, cache_dir: Path, tmp_path: Path
) -> Callable[..., Made]:
    """A strategy and its bench, whose teacher is a file of the answers that a function gives to training examples."""

    def make(
        spec: str, answer: Callable[[int, Any], Any], task: str = "toy-sentiment", further: Sequence[Any] = ()
    ) -> Made:
        data = load_task(registry.task(task), DataSettings(cache_dir=cache_dir))
        rows = [answer(number, row) for number, row in enumerate(data.splits["train"])]
        path = tmp_path / "answers.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in [*filter(None, rows), *further]))
        experiment = replace(make_experiment(task), answers=open_answers(path, data))
        strategy = registry.strategy(parse_spec(spec))
        return strategy, TrainingBench(experiment, strategy, 0, no_report)

    return make


def even_ones(number: int, row: Any) -> Any:
    return {"id": number, "probabilities": {"positive": 0.8, "negative": 0.2}} if number % 2 == 0 else None


def test_targets_are_answers_or_else_labels(with_answers: Callable[..., Made]) -> None:
    _, bench = with_answers("vanilla-kd", even_ones)
    rows = bench.task.train
    batch = bench.collate([rows[number] for number in range(len(rows))])
    found = torch.softmax(bench.teacher_logits(rows)(batch).logits, dim=-1)
    for example, label, shares in zip(rows["example"], rows["labels"], found.tolist(), strict=True):
        smoothed = [0.95, 0.05] if label == 0 else [0.05, 0.95]
        assert shares == pytest.approx([0.2, 0.8] if example % 2 == 0 else smoothed)
    assert bench.teacher_cost.wall == 0


def test_the_parts_of_a_long_sentence_have_its_answers(with_answers: Callable[..., Made]) -> None:
    """Long sentences fall into several rows: the targets of all rows together are the sentence's."""
    _, bench = with_answers(
        "vanilla-kd", lambda number, row: {"id": number, "tags": row["tags"]}, task="toy-tags"
    )
    rows = bench.task.train
    assert len(set(rows["example"])) <= len(rows)
    labels = bench.task.task.labels
    assert bench.experiment.answer_teacher is not None
    targets = bench.experiment.answer_teacher.row_targets(rows)
    for row, target in zip(rows["labels"], targets, strict=True):
        assert target.shape[1] == len(labels)
        assert target.argmax(axis=1).tolist() == [label for label in row if label != -100]
    info = bench.experiment.answer_teacher.info
    assert info.agreement == 1.0
    assert info.entropy_bits == pytest.approx(0, abs=1e-6)


def test_what_the_file_covers_is_counted(with_answers: Callable[..., Made]) -> None:
    _, bench = with_answers("vanilla-kd", even_ones, further=[{"text": "a new film", "label": "positive"}])
    task = bench.task
    assert bench.experiment.answer_teacher is not None
    info = bench.experiment.answer_teacher.info
    examples, others = set(task.train["example"]), set(task.unlabelled["example"])
    assert info.labelled == sum(number % 2 == 0 for number in examples)
    assert info.unlabelled == sum(number % 2 == 0 for number in others)
    assert (info.unlabelled_examples, info.further) == (len(others), 1)
    answered = task.train.filter(lambda row: row["example"] % 2 == 0)
    assert info.agreement == pytest.approx(np.mean(np.array(answered["labels"]) == 1))
    entropy = -(0.8 * np.log2(0.8) + 0.2 * np.log2(0.2))
    assert info.entropy_bits == pytest.approx(entropy * (info.answers - 1) / info.answers)


def test_unlabelled_texts_are_trained_on_with_their_answers(with_answers: Callable[..., Made]) -> None:
    further = [{"text": "a new film", "label": "positive"}]
    strategy, bench = with_answers(
        "vanilla-kd[init=base,transfer=answered,alpha=1]", even_ones, further=further
    )
    strategy.fit(bench)
    rows = strategy._rows(bench)
    hidden = [label for label in rows["labels"] if label < 0]
    assert all(example % 2 == 0 for example in rows["example"] if example >= 0)
    assert min(rows["example"]) == -1
    assert len(hidden) == len(bench.answered(bench.task.unlabelled)) + 1
    assert 0 < bench.unlabelled_examples <= len(hidden)
    assert bench.answers_used


@pytest.mark.parametrize(
    ("spec", "needed"),
    [
        ("vanilla-kd", "set init=base"),
        ("tinybert[init=base]", "the teacher's"),
        ("bilstm-kd", "the teacher's weights"),
        ("vanilla-kd[init=base,transfer=unlabelled]", "transfer=answered"),
    ],
)
def test_what_needs_a_model_is_refused(with_answers: Callable[..., Made], spec: str, needed: str) -> None:
    strategy, bench = with_answers(spec, even_ones)
    with pytest.raises(UsageError, match=needed):
        strategy.fit(bench)


def test_answers_of_a_model_are_none(
    make_bench: Callable[..., Made],
) -> None:
    strategy, bench = make_bench("vanilla-kd[init=base,transfer=answered]")
    with pytest.raises(UsageError, match="the teacher is a model; name a file of answers with --teacher"):
        strategy.fit(bench)


def test_a_file_may_answer_labelled_examples_alone(
    with_answers: Callable[..., Made], make_experiment: Callable[..., Experiment]
) -> None:
    labelled = set(make_experiment().task.train["example"])
    strategy, bench = with_answers(
        "vanilla-kd[init=base,transfer=answered]",
        lambda number, row: {"id": number, "label": row["label"]} if number in labelled else None,
    )
    assert strategy._rows(bench)["example"] == bench.task.train["example"]

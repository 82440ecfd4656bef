"""Compare what an exported folder's example answers with the predictions that were scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import datasets
import numpy as np
import torch
from torch import nn

from kdbench.api.kinds import TaskKind
from kdbench.api.metric import Metric
from kdbench.api.predictions import Predictions
from kdbench.api.task import IGNORED
from kdbench.data import PreparedTask
from kdbench.data.batches import Collator
from kdbench.data.encoding import example_numbers, rows_of
from kdbench.errors import KdbenchError, shown
from kdbench.evaluation.metrics import entity_ends
from kdbench.export.manifest import Manifest
from kdbench.training.predict import predict

_MOST_TEXTS = 200
_TOLERANCE = 1e-3
"""Of a probability, and of a value relative to the largest one if that is above 1."""
_ROUGH_TOLERANCE = 0.05
"""Of those of weights in 16 or 8 bits, whose rounding depends on what else is in the batch."""
_TIES = 0.01
"""The share of texts that may get another answer, by rounding."""

Entity = tuple[int, int, str]
"""The first word of an entity, the one after its last, and its type."""


@dataclass(frozen=True)
class Asked:
    """Scored texts, as an example takes them, and what was predicted for them."""

    texts: list[Any]
    """Texts, pairs, or sentences joined by blanks."""
    sentences: list[list[str]]
    """In token classification the words; else empty."""
    rows: datasets.Dataset
    """One for each text, encoded as in scoring."""
    predictions: Predictions


@dataclass(frozen=True)
class Answered:
    """How the answers of the example compare with the predictions that were scored."""

    texts: int
    same: int
    """The number of texts with the answer that was scored: the class, the value, or the entities of a sentence."""
    score: float | None = None
    """In token classification the headline metric of the example's answers."""
    scored: float | None = None
    """That of the predictions for the same sentences."""


def ask(
    exported: nn.Module, task: PreparedTask, examples: datasets.Dataset, collate: Collator, manifest: Manifest
) -> Asked:
    """Return up to 200 scored texts, spread over the split, with the predictions of `exported`.

    Long texts that scoring reads in several rows are left out.

    Args:
        examples: the evaluation split as text.
    """
    numbers = example_numbers(task.scored)
    unique, counts = np.unique(numbers, return_counts=True)
    whole = unique[counts == 1]
    chosen = whole[np.unique(np.linspace(0, len(whole) - 1, min(_MOST_TEXTS, len(whole))).astype(int))]
    rows = rows_of(task.scored, chosen)
    if collate.kind.per_word:  # a single word may be cut
        rows = rows.select(np.flatnonzero(np.asarray(rows["length"]) < manifest.max_length))
    predictions = predict(exported, rows, collate, device=torch.device("cpu"), thresholds=manifest.thresholds)
    texts: list[Any] = []
    sentences: list[list[str]] = []
    for number in predictions.ids:
        example = examples[int(number)]
        if collate.kind.per_word:
            sentences.append(example["words"])
            texts.append(" ".join(example["words"]))
        else:
            texts.append([example["text"], example["text_pair"]] if task.paired else example["text"])
    return Asked(texts, sentences, rows, predictions)


def compare(
    asked: Asked, answers: Sequence[Any], task: PreparedTask, metric: Metric, model: nn.Module, *, exact: bool
) -> Answered | None:
    """Return how `answers`, those of the example to ``asked.texts``, compare with the predictions.

    None for a plugin's kind of task, whose answers only the plugin can interpret.

    Args:
        model: the exported model.
        exact: whether a difference in more than single texts is an error; words can differ, since an example takes a text.

    Raises:
        KdbenchError: the example answers otherwise than was scored.
    """
    kind, labels = task.task.kind, task.task.labels
    if kind not in list(TaskKind) or not asked.texts:
        return None
    if kind.per_word:
        return _compare_entities(asked, answers, labels, metric)
    is_rough = not exact or any(weight.dtype.itemsize < 4 for weight in model.parameters())
    tolerance = _ROUGH_TOLERANCE if is_rough else _TOLERANCE
    same = _agreements(asked.predictions, answers, labels, tolerance)
    other = [place for place, agrees in enumerate(same) if not agrees]
    if exact and len(other) > max(1, _TIES * len(same)):
        raise KdbenchError(
            f"the example of the exported folder answers {len(other)} of {len(same)} scored texts otherwise than was scored, "
            f"such as {shown(asked.texts[other[0]])} with {shown(answers[other[0]])}; nothing was written"
        )
    return Answered(len(same), sum(same))


def _agreements(
    predictions: Predictions, answers: Sequence[Any], labels: Sequence[str], tolerance: float
) -> list[bool]:
    """Return for each text whether the example's answer is the one that was predicted."""
    if predictions.is_multi_label:
        probabilities = predictions.decisions.probabilities[:, 1].reshape(predictions.logits.shape)
        return [
            _are_labels(answer, given, own, labels, tolerance)
            for answer, given, own in zip(answers, predictions.predicted, probabilities, strict=True)
        ]
    return [
        _is_value(answer, logits, tolerance)
        if predictions.is_regression
        else _is_class(answer, probabilities, labels, tolerance)
        for answer, logits, probabilities in zip(
            answers, predictions.logits, predictions.probabilities, strict=True
        )
    ]


def _are_labels(
    answer: Any, given: np.ndarray, probabilities: np.ndarray, labels: Sequence[str], tolerance: float
) -> bool:
    """Return whether `answer` is the given labels: their names, with probabilities, or what `kdbench.load` answers."""
    expected = {
        name: score for name, score, is_given in zip(labels, probabilities, given, strict=True) if is_given
    }
    if isinstance(answer, list):
        return sorted(answer) == sorted(expected)
    scores = {name: answer["scores"][name] for name in answer["labels"]} if "scores" in answer else answer
    return bool(
        scores.keys() == expected.keys()
        and all(abs(float(scores[name]) - expected[name]) <= tolerance for name in expected)
    )


def _is_value(answer: Any, logits: np.ndarray, tolerance: float) -> bool:
    found = _only(answer)
    if isinstance(found, dict):
        found = found.get("value", found.get("score"))
    expected = float(logits[0])
    return abs(float(found) - expected) <= tolerance * max(1.0, abs(expected))


def _is_class(answer: Any, probabilities: np.ndarray, labels: Sequence[str], tolerance: float) -> bool:
    found = _only(answer)
    label, score = (found["label"], found["score"]) if isinstance(found, dict) else (found, None)
    if label not in labels:
        return False
    expected = float(probabilities[labels.index(label)])
    return bool(
        expected >= probabilities.max() - tolerance
        and (score is None or abs(float(score) - expected) <= tolerance)
    )


def _only(answer: Any) -> Any:
    """Return the one item of what a pipeline answers to one text, with or without a list around it."""
    return answer[0] if isinstance(answer, list) else answer


def _compare_entities(
    asked: Asked, answers: Sequence[Any], labels: tuple[str, ...], metric: Metric
) -> Answered:
    offsets = asked.predictions.offsets
    assert offsets is not None  # token classification has them
    same = 0
    tags = np.zeros(len(asked.predictions.references), dtype=np.int64)
    for place, (words, answer) in enumerate(zip(asked.sentences, answers, strict=True)):
        predicted = asked.predictions.predicted[offsets[place] : offsets[place + 1]]
        found = _entities(answer, words, asked.rows[place], labels)
        same += found == _entities_of(predicted, labels)
        for start, end, label in found:
            first = labels.index(f"B-{label}")
            tags[offsets[place] + start] = first
            if end > start + 1:
                tags[offsets[place] + start + 1 : offsets[place] + end] = labels.index(f"I-{label}")
    logits = np.eye(len(labels), dtype=np.float32)[tags]
    answered = Predictions(asked.predictions.ids, logits, asked.predictions.references, offsets)
    return Answered(len(asked.texts), same, metric.of(answered, labels), metric.of(asked.predictions, labels))


def _entities_of(tags: np.ndarray, labels: tuple[str, ...]) -> set[Entity]:
    ends, _ = entity_ends(tags.astype(np.int64), labels, None)
    return {(start, end, labels[tags[start]][2:]) for start, end in enumerate(ends.tolist()) if end}


def _entities(answer: Any, words: list[str], row: dict[str, Any], labels: tuple[str, ...]) -> set[Entity]:
    """Return the entities in an example's answer: those of a pipeline, of `kdbench.load`, or the tags of all pieces."""
    if isinstance(answer, list) and not all(isinstance(item, dict) for item in answer):
        return _entities_of_pieces(answer, row, labels)
    spans = answer["entities"] if isinstance(answer, dict) else answer
    starts = [0, *accumulate(len(word) + 1 for word in words)]
    sentence = " ".join(words)
    found = set()
    for span in spans:
        text = sentence[span["start"] : span["end"]]
        # A byte-level tokenizer's pieces begin with the blank before their word.
        start = span["start"] + len(text) - len(text.lstrip(" "))
        first = int(np.searchsorted(starts, start, side="right")) - 1
        last = int(np.searchsorted(starts, span["end"] - 1, side="right")) - 1
        found.add((first, last + 1, str(span.get("entity_group", span.get("label")))))
    return found


def _entities_of_pieces(answer: list[Any], row: dict[str, Any], labels: tuple[str, ...]) -> set[Entity]:
    firsts = [place for place, label in enumerate(row["labels"][1:-1]) if label != IGNORED]
    if len(answer) != row["length"] - 2:
        return set()
    tags = np.array([labels.index(answer[place][1]) for place in firsts], dtype=np.int64)
    return _entities_of(tags, labels)

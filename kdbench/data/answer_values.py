"""Turn one answer (a label, probabilities, votes, tags or spans) into target logits, or say what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from kdbench.api.task import Task, TaskKind
from kdbench.data.answer_spans import AnswerError, tags_of_spans
from kdbench.errors import shown

Floats = npt.NDArray[np.float64]

SMOOTHING = 0.1
"""The share of a label's or of votes' probability that is spread evenly over all labels: label smoothing, Szegedy et al.
2016 (arXiv:1512.00567), section 7, with the paper's value."""
SMALLEST_PROBABILITY = 1e-3
"""A probability below is raised to this, since the logarithm of 0 is no target."""
_MOST_OFF = 0.01
"""Probabilities may sum to 1 within this: APIs round them."""
_MOST_VOTES = 1_000_000
_LARGEST = float(np.finfo(np.float32).max)

FORMS: Mapping[str, tuple[str, ...]] = {
    "probabilities": ("probabilities", "scores"),
    "votes": ("votes",),
    "label": ("label", "predicted_label", "value", "predicted_value"),
    "tags": ("tags", "predicted_tags"),
    "spans": ("spans", "entities"),
}
"""The columns that each form of answer is read from; of several forms in a row the first that is not empty counts."""
_STRUCTURED = ("probabilities", "votes", "tags", "spans")


@dataclass(frozen=True, eq=False)
class Target:
    """An answer as the targets of a student."""

    form: str
    """Of `FORMS`."""
    logits: npt.NDArray[np.float32]
    """``(units, outputs)``: the logarithm of the probabilities, with mean 0 over the labels, or a regression's value. A unit
    is a text or, in token classification, a word."""


class AnswerReader:
    """Reads the answers to examples of one task."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._labels = {label: index for index, label in enumerate(task.labels)}
        per_word = task.kind.per_word
        self._forms = ("probabilities", "votes", "tags", "spans") if per_word else tuple(FORMS)[:3]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that may hold an answer."""
        return tuple(column for form in self._forms for column in FORMS[form])

    def read(self, row: Mapping[str, Any], words: Sequence[str] | None) -> Target | None:
        """Return the answer in `row`; None where the row has none, as where a model refused to answer.

        Args:
            row: the values by column.
            words: of the answered sentence, in token classification.

        Raises:
            AnswerError: the answer is none to this task.
        """
        for form in self._forms:
            for column in FORMS[form]:
                value = row.get(column)
                if value is None or value == "" or value != value:  # NaN is what pandas writes for nothing
                    continue
                if form in _STRUCTURED and isinstance(value, str):
                    value = _parsed(column, value)
                return Target(form, self._logits(form, column, value, words, row.get("text")))
        return None

    def label_logits(self, encoded: int | float) -> npt.NDArray[np.float32]:
        """Return ``(outputs,)``: the targets of an example or word that has a label but no answer."""
        if self._task.kind is TaskKind.SEQUENCE_REGRESSION:
            return np.array([encoded], dtype=np.float32)
        return _logits(_smoothed(self._one_hot(int(encoded))))

    def _logits(
        self, form: str, column: str, value: Any, words: Sequence[str] | None, text: object
    ) -> npt.NDArray[np.float32]:
        if self._task.kind is TaskKind.SEQUENCE_REGRESSION:
            return np.array([[self._number(form, column, value)]], dtype=np.float32)
        if words is None:
            return _logits(self._distribution(form, column, value))[None]
        if form == "spans":
            form, value = (
                "tags",
                self._checked_tags("tags", tags_of_spans(value, words, text, self._labels), words),
            )
        elif form in ("tags", "votes"):
            value = self._checked_tags(form, value, words)
        elif not isinstance(value, Sequence) or len(value) != len(words):
            raise AnswerError(
                f"{column} is not a list with an object for each of {len(words)} words; correct it"
            )
        if form == "votes":
            return np.stack(
                [_logits(self._distribution(form, column, list(one))) for one in zip(*value, strict=True)]
            )
        form = "label" if form == "tags" else form
        return np.stack([_logits(self._distribution(form, column, one)) for one in value])

    def _distribution(self, form: str, column: str, value: Any) -> Floats:
        """Return the probabilities ``(labels,)`` that an answer gives to a text or word."""
        if form == "probabilities":
            return self._probabilities(column, value)
        if form == "label":
            return _smoothed(self._one_hot(self._label(value)))
        counts = self._counts(value)
        return _smoothed(counts / counts.sum())

    def _one_hot(self, label: int) -> Floats:
        shares = np.zeros(len(self._labels))
        shares[label] = 1
        return shares

    def _label(self, value: object) -> int:
        name = value.strip() if isinstance(value, str) else value
        if isinstance(value, int):  # of class names such as 1 or true
            name = str(value).lower()
        problem = self._task.kind.label_problem(name, self._labels)
        if problem is not None:
            raise AnswerError(problem)
        return self._labels[str(name)]

    def _probabilities(self, column: str, value: object) -> Floats:
        if not isinstance(value, Mapping):
            raise AnswerError(
                f"{column} is {shown(value)}, not an object with a number for each label; correct it"
            )
        shares = np.zeros(len(self._labels))
        for label, share in value.items():
            if share is not None:
                shares[self._label(label)] += _share(label, share)
        if abs(shares.sum() - 1) > _MOST_OFF:
            raise AnswerError(
                f"{column} sum to {shares.sum():.4g}, not to 1; give the probability of every label, or remove the row"
            )
        normalized: Floats = shares / shares.sum()
        return normalized

    def _counts(self, value: object) -> Floats:
        """Return the votes ``(labels,)`` of a list of labels or an object of counts."""
        counts = np.zeros(len(self._labels))
        if isinstance(value, Mapping):
            for label, count in value.items():
                if count is not None:
                    counts[self._label(label)] += _count(label, count)
        elif isinstance(value, list):
            for label in value:
                counts[self._label(label)] += 1
        else:
            raise AnswerError(
                f"votes is {shown(value)}, not a list of labels or an object of counts; correct it"
            )
        if not counts.sum():
            raise AnswerError("votes has no vote; give one or more, or remove the row")
        return counts

    def _number(self, form: str, column: str, value: object) -> float:
        if form == "probabilities":
            raise AnswerError(f"{column} has no meaning in a regression; give the value as label")
        if form == "votes":
            if not isinstance(value, list) or not value:
                raise AnswerError(f"votes is {shown(value)}, not a list of numbers; correct it")
            return fmean(self._number("label", column, one) for one in value)
        try:
            number = np.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]  # or it raises
        except (TypeError, ValueError, OverflowError):
            number = np.nan
        if not abs(number) <= _LARGEST:
            raise AnswerError(f"the label is {shown(value)}, not a finite number; correct or remove the row")
        return number

    def _checked_tags(self, form: str, value: object, words: Sequence[str]) -> list[Any]:
        """Return a list of tags, or for votes of such lists, in which each word has a tag of the task."""
        if not isinstance(value, list) or not value:
            raise AnswerError(f"{form} is {shown(value)}, not a list; correct it")
        for tags in value if form == "votes" else [value]:
            if not isinstance(tags, list) or len(tags) != len(words):
                number = len(tags) if isinstance(tags, list) else shown(tags)
                raise AnswerError(
                    f"{number} tags for a sentence of {len(words)} words; give one tag per word"
                )
            for tag in tags:
                self._label(tag)
            problem = self._task.kind.sentence_problem(tags)
            if problem is not None:
                raise AnswerError(problem)
        return value


def own_probabilities(target: Target) -> Floats:
    """Return the probabilities ``(units, labels)`` that an answer gave, without the smoothing of labels and votes."""
    from scipy.special import softmax

    probabilities: Floats = softmax(target.logits.astype(np.float64), axis=-1)
    if target.form == "probabilities":
        return probabilities
    shares = (probabilities - SMOOTHING / probabilities.shape[-1]) / (1 - SMOOTHING)
    return np.where(shares < SMALLEST_PROBABILITY, 0.0, shares)


def _parsed(column: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnswerError(f"{column} is {shown(text)}, which is not JSON ({error}); correct it") from None


def _share(label: object, share: object) -> float:
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1 + _MOST_OFF:
        raise AnswerError(f"the probability of {shown(label)} is {shown(share)}, not from 0 to 1; correct it")
    return float(share)


def _count(label: object, count: object) -> int:
    if (
        isinstance(count, bool)
        or not isinstance(count, int | float)
        or not 0 <= count <= _MOST_VOTES
        or count % 1
    ):
        raise AnswerError(
            f"the votes for {shown(label)} are {shown(count)}, not a number from 0 on; correct them"
        )
    return int(count)


def _smoothed(shares: Floats) -> Floats:
    return (1 - SMOOTHING) * shares + SMOOTHING / len(shares)


def _logits(probabilities: Floats) -> npt.NDArray[np.float32]:
    logits = np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))
    centred: npt.NDArray[np.float32] = (logits - logits.mean()).astype(np.float32)
    return centred

"""Let a file of answers be the teacher of an experiment: its targets row by row, and how good and complete it is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import datasets
import numpy as np

from kdbench.api.kinds import IGNORED
from kdbench.data.answer_values import AnswerReader, Target, own_probabilities
from kdbench.data.answers import Answers, AnswersFile
from kdbench.data.transfer import encode_texts
from kdbench.errors import UsageError
from kdbench.results.answers import AnswersInfo
from kdbench.training.cached_outputs import LogitsByRow
from kdbench.training.predict import join_rows

if TYPE_CHECKING:
    from kdbench.training.experiment import Experiment


class AnswerTeacher:
    """The answers of a file as the teacher of the task of one experiment.

    The target of an example is its answer; of a labelled example without an answer it is the label, smoothed like an answer
    that is a label, so that the example is trained on its label alone.
    """

    def __init__(self, file: AnswersFile, experiment: Experiment) -> None:
        self.file = file
        self._experiment = experiment
        self._kind = experiment.kind
        self._reader = AnswerReader(experiment.task.task)

    @property
    def answers(self) -> Answers:
        """The file's contents."""
        return self.file.answers

    def answer_of(self, example: int) -> int | None:
        """Return the index of the answer to an example, which has a negative number if only the file has its text."""
        if example < 0:
            further = -1 - example
            return self.answers.of_further[further] if further < len(self.answers.of_further) else None
        return self.answers.of_example.get(example)

    def answered(self, rows: datasets.Dataset) -> datasets.Dataset:
        """Return those of `rows` whose example has an answer."""
        return rows.select(
            [place for place, example in enumerate(rows["example"][:]) if self.answer_of(example) is not None]
        )

    def used(self, rows: datasets.Dataset) -> set[int]:
        """Return the answers to the examples of `rows`, by their index."""
        found = {self.answer_of(example) for example in set(rows["example"][:])}
        return {answer for answer in found if answer is not None}

    @cached_property
    def further(self) -> datasets.Dataset:
        """The texts that only the file has, as rows with hidden labels; their numbers are negative."""
        experiment = self._experiment
        return encode_texts(
            self.answers.further,
            experiment.task,
            experiment.tokenizer,
            experiment.budget.max_length,
            experiment.budget.window_stride,
        )

    def logits(self, rows: datasets.Dataset) -> LogitsByRow:
        """Return the targets of `rows`.

        Raises:
            UsageError: a row has neither an answer nor a label.
        """
        ids = np.asarray(rows["id"][:], dtype=np.int64)
        targets = self.row_targets(rows)
        order = np.argsort(ids)
        return LogitsByRow(
            ids[order],
            np.cumsum([0, *(len(targets[place]) for place in order)]),
            np.concatenate([targets[place] for place in order]).astype(np.float32),
            per_word=self._kind.per_word,
        )

    def row_targets(self, rows: datasets.Dataset) -> list[np.ndarray]:
        """Return the targets ``(units, outputs)`` of each of `rows`."""
        return [
            self._targets(number, example, labels)
            for number, example, labels in zip(
                rows["id"][:], rows["example"][:], _unit_labels(rows), strict=True
            )
        ]

    def _targets(self, number: int, example: int, labels: Sequence[int | float]) -> np.ndarray:
        answer = self.answer_of(example)
        if answer is not None:
            first = self._first_words.get(number, 0)
            return self.answers.targets[answer].logits[first : first + len(labels)]
        if any(label < 0 or label != label for label in labels):
            raise UsageError(
                f"a text without a label has no answer in {self.file.name}; train on those that have one alone (transfer="
                "answered), or add their answers"
            )
        return np.stack([self._reader.label_logits(label) for label in labels])

    @cached_property
    def _first_words(self) -> dict[int, int]:
        """For each row that a long sentence continues in, by its id, the number of the sentence's words before it."""
        if not self._kind.per_word:
            return {}
        task, first = self._experiment.task, {}
        parts = [task.train, task.unlabelled, *([self.further] if self.answers.further else [])]
        for rows in parts:
            previous, before = None, 0
            for number, example, labels in zip(
                rows["id"][:], rows["example"][:], _unit_labels(rows), strict=True
            ):
                before = before if example == previous else 0
                first[number] = before
                previous, before = example, before + len(labels)
        return first

    @cached_property
    def info(self) -> AnswersInfo:
        """Return how many examples have an answer, how far answers agree with labels, and how sure they are."""
        experiment, answers = self._experiment, self.answers
        labelled = self.answered(experiment.task.train)
        unlabelled = set(self.answered(experiment.task.unlabelled)["example"][:])
        agreement = None
        if len(labelled):
            labels = [np.asarray(row) for row in _unit_labels(labelled)]
            predictions = join_rows(labelled, self.row_targets(labelled), _typed(labels), self._kind)
            agreement = experiment.metric.of(predictions, experiment.task.task.labels)
        return AnswersInfo(
            sha256=self.file.sha256,
            answers=len(answers.targets),
            forms=dict(sorted(answers.forms.items())),
            refused=answers.refused,
            held_out=answers.held_out,
            labelled=len(set(labelled["example"][:])),
            unlabelled=len(unlabelled),
            unlabelled_examples=len(set(experiment.task.unlabelled["example"][:])),
            further=len(answers.further),
            agreement=agreement,
            entropy_bits=_mean_entropy(answers.targets) if experiment.task.task.labels else None,
        )


def _unit_labels(rows: datasets.Dataset) -> list[list[int | float]]:
    """Return the labels of each row's units: of its text, or of the words that begin in it."""
    return [
        [label for label in labels if label != IGNORED] if isinstance(labels, list) else [labels]
        for labels in rows["labels"][:]
    ]


def _typed(labels: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [row.astype(np.float32 if row.dtype.kind == "f" else np.int64) for row in labels]


def _mean_entropy(targets: Sequence[Target]) -> float:
    """Return the mean entropy of the answers about a text or word in bits, without the smoothing."""
    shares = np.concatenate([own_probabilities(target) for target in targets])
    logarithms = np.log2(shares, where=shares > 0, out=np.zeros_like(shares))
    return abs(float((shares * logarithms).sum(axis=1).mean()))

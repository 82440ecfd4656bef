"""Find the examples that two rows of a board answer differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kdbench.board.predictions import Scored

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Disagreement:
    """One scored example with the answers of two models."""

    example: int
    """Its index in the evaluation split."""
    text: str
    right: str
    answer_a: str
    answer_b: str


@dataclass(frozen=True)
class Disagreements:
    """The first examples, in the order of the split, that two models of one seed answer differently."""

    seed: int
    number: int
    """How many scored examples are answered differently."""
    scored: int
    shown: tuple[Disagreement, ...]


def disagreements(a: Scored, b: Scored, texts: Dataset, limit: int) -> Disagreements | None:
    """Return the examples on which the models of the first shared seed disagree; None where no seed is shared.

    Regression answers nearly always differ: there, the examples are ordered by the distance between the answers.

    Args:
        a: the first row's answers.
        b: the second row's answers to the same examples.
        texts: the evaluation split.
        limit: how many examples are returned.
    """
    seed = next((seed for seed in a.seeds if seed in b.seeds), None)
    if seed is None:
        return None
    answers_a, answers_b, right = a.answers(seed), b.answers(seed), a.references()
    differing = [i for i in range(len(right)) if not np.array_equal(answers_a[i], answers_b[i])]
    if not a.labels and right[0].ndim == 1:
        differing.sort(key=lambda i: -abs(float(answers_a[i][0]) - float(answers_b[i][0])))
    shown = [
        _disagreement(int(a.ids[i]), texts[int(a.ids[i])], [right[i], answers_a[i], answers_b[i]], a.labels)
        for i in differing[:limit]
    ]
    return Disagreements(seed, len(differing), len(right), tuple(shown))


def _disagreement(
    example: int, row: Mapping[str, Any], answers: Sequence[npt.NDArray[Any]], labels: tuple[str, ...]
) -> Disagreement:
    """Describe an example of the evaluation split by the right answers to it and those of both models."""
    if "words" in row:
        words = row["words"]
        _, a, b = answers
        differing = np.flatnonzero(a != b)
        tags = (", ".join(f"{words[i]} {labels[int(units[i])]}" for i in differing) for units in answers)
        return Disagreement(example, " ".join(words), *tags)
    text = " / ".join(row[column] for column in ("text", "text_pair") if column in row)
    return Disagreement(example, text, *(_named(units, labels) for units in answers))


def _named(answer: npt.NDArray[Any], labels: tuple[str, ...]) -> str:
    if answer.ndim > 1 and answer.shape[1] == len(labels):
        given = [label for label, is_given in zip(labels, answer[0], strict=True) if is_given == 1]
        return ", ".join(given) or "no label"
    if answer.ndim > 1:  # a plugin's kind, with several numbers per text
        return str(answer[0].tolist())
    return labels[int(answer[0])] if labels else f"{float(answer[0]):.3f}"

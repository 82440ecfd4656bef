"""Scored examples of one task among the training examples of another that the same model learns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from kdbench.data.preparing import PreparedTask

if TYPE_CHECKING:
    from datasets import Dataset


def overlaps(prepared: PreparedTask, partners: Iterable[PreparedTask]) -> Iterator[str]:
    """Yield a line for each of `partners` that is trained on texts which `prepared` scores.

    Args:
        prepared: a task that a joint strategy trains on.
        partners: all tasks that it trains on together, encoded by one tokenizer.
    """
    for partner in partners:
        if partner.task.name == prepared.task.name:
            continue
        repeated = texts_in_common(prepared.scored, partner.train)
        if repeated:
            yield (
                f"{repeated:,} of {prepared.scored_examples:,} scored examples stand in the training data of "
                f"{partner.task.name}"
            )


def texts_in_common(scored: Dataset, train: Dataset) -> int:
    """Return how many examples of `scored` read, word piece by word piece, like some row of `train`."""
    known = {tuple(pieces) for pieces in train["input_ids"][:]}
    rows = zip(scored["example"][:], scored["input_ids"][:], strict=True)
    return len({example for example, pieces in rows if tuple(pieces) in known})

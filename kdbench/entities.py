"""Entities as IOB2 tags say them, read strictly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kdbench.errors import UsageError

Integers = npt.NDArray[np.int64]


def check_iob2(labels: tuple[str, ...]) -> None:
    """Raise a UsageError unless every label is ``O``, ``B-type`` or ``I-type``."""
    for label in labels:
        if label != "O" and not label.startswith(("B-", "I-")):
            raise UsageError(
                f"entities are scored on IOB2 tags (O, B-type, I-type), but one label is {label!r}"
            )


def entity_ends(
    tags: Integers, labels: tuple[str, ...], offsets: Integers | None
) -> tuple[Integers, Integers]:
    """Return for each word where the entity that opens with it ends, and its type; both are (words,).

    An entity opens with B- alone: an I- that continues no entity of its type belongs to none. The end is the place of
    the first word behind the entity, and 0 for a word with which none opens.

    Args:
        tags: (words,), indices of `labels`.
        labels: IOB2 tags.
        offsets: (sentences + 1,), where each sentence begins, the number of words at last; None: all are one sentence.
    """
    type_names = sorted({label[2:] for label in labels})
    types = np.array([type_names.index(label[2:]) for label in labels], dtype=np.int64)[tags]
    prefixes = np.array([label[:1] for label in labels], dtype=np.str_)[tags]
    # A run is a word and the I- words of its type that follow; it is an entity where that word is a B-.
    opens_run = (prefixes != "I") | (types != np.roll(types, 1))
    first_words = np.zeros(1, dtype=np.int64) if offsets is None else offsets
    opens_run[first_words[first_words < len(tags)]] = True
    next_run = np.append(np.flatnonzero(opens_run), len(tags))
    return np.where(prefixes == "B", next_run[np.cumsum(opens_run)], 0), types

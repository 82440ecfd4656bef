"""Define token classification: one IOB2 tag per word of a sentence."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.api.kind import IGNORED, quote_names
from kdbench.api.sequence_classification import ClassKind
from kdbench.errors import shown

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor


class TokenClassification(ClassKind):
    """Assign one of the task's IOB2 tags to each word."""

    name = "token-classification"
    metric = "entity-f1"
    learning_rate = 2e-4
    per_word = True
    auto_class = "AutoModelForTokenClassification"
    pipeline = "token-classification"

    def label_faults(self, labels: tuple[str, ...]) -> Iterator[str]:
        tags = labels[1:]
        if labels[:1] != ("O",) or not tags or not all(tag.startswith(("B-", "I-")) for tag in tags):
            yield f"labels must be IOB2 tags, 'O' first, not {shown(labels)}"

    def label_problem(self, label: object, labels: Collection[str]) -> str | None:
        if not isinstance(label, str) or label not in labels:
            return f"the tag {shown(label)} is none of the task's ({quote_names(labels)}); correct it"
        return None

    def sentence_problem(self, tags: Sequence[str]) -> str | None:
        """Return a message if an ``I-`` tag does not continue an entity of its type."""
        previous = "O"
        for index, tag in enumerate(tags, 1):
            if tag.startswith("I-") and previous[2:] != tag[2:]:
                return (
                    f"the tag {tag!r} of word {index} continues no entity; its first word must be tagged "
                    f"'B-{tag[2:]}'"
                )
            previous = tag
        return None

    def names(self, label: Any) -> Iterable[str]:
        return label  # type: ignore[no-any-return]  # a list of tags

    def seen(self, label: Any) -> Iterable[str]:
        """Return the entity types of a sentence."""
        return (tag[2:] for tag in label if tag != "O")

    def train_problem(self, seen: Collection[str]) -> str | None:
        """Return a message if train contains no entity."""
        return None if seen else "has no entity at all; check the column of the tags"

    def stratum(self, label: Any) -> Hashable:
        """Return the type of the sentence's first entity, empty if there is none."""
        return next((tag[2:] for tag in label if tag != "O"), "")

    def stored_type(self) -> pa.DataType:
        import pyarrow as pa

        return pa.list_(pa.string())

    def encoded_type(self) -> pa.DataType:
        import pyarrow as pa

        return pa.list_(pa.int64())

    def hide_label(self, encoded: Any) -> list[int]:
        """Return the tags replaced by `UNLABELLED`, except those that are `IGNORED`."""
        return [
            IGNORED if tag == IGNORED else super(TokenClassification, self).hide_label(tag) for tag in encoded
        ]

    def collate_labels(self, labels: Sequence[Any], length: int) -> Tensor:
        """Return the tag indices, ``(batch, length)``, padded with `IGNORED`."""
        import torch

        padded = np.full((len(labels), length), IGNORED, dtype=np.int64)
        for row, tags in enumerate(labels):
            padded[row, : len(tags)] = tags
        return torch.from_numpy(padded)

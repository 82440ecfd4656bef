"""Make a tiny task of any kind, including a plugin's: texts whose words tell their labels."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kdbench.api.task import LocalSource, Opened, Splits, Task, TaskKind
from kdbench.testing.report import CheckError

CUES = ("red", "green", "blue", "grey", "pink", "white")
"""The word that tells a label, by the label's number."""
FILLER = ("the", "a", "film", "story", "actor", "music", "was", "and", "with", "very", "in", "it", "cats")
UNKNOWN = "ouagadougou"
"""A word that falls into many pieces."""
SIZES = {"train": 48, "test": 24}
_LONG = 80
"""The words of each split's longest text, more than any budget of the checks keeps."""

_LABELS = (("zero", "one", "two"), (), ("O", "B-one", "I-one", "B-two", "I-two"))
"""The labels of a task, tried in this order: classes, none, tags."""


@dataclass(frozen=True)
class Labelling:
    """The labels of a task, and labels that its examples (or words) may have."""

    labels: tuple[str, ...]
    examples: tuple[Any, ...]


def labelling_of(kind: TaskKind) -> Labelling:
    """Return labels that `kind` accepts, found by asking it.

    Raises:
        CheckError: it accepts none of those that are tried.
    """
    for labels in _LABELS:
        if next(iter(kind.label_faults(labels)), None) is None:
            for candidates in _candidates(labels):
                accepted = tuple(label for label in candidates if _accepts(kind, label, labels))
                if len(accepted) > 1:
                    return Labelling(labels, accepted[: len(CUES)])
    raise CheckError(
        f"kind {str(kind)!r} accepts no label of an example that the checks try: names of labels, lists of names, "
        "integers, decimals, truth values; pass `labelling` to the check"
    )


def _candidates(labels: Sequence[str]) -> Iterator[list[Any]]:
    """Yield lists of labels for examples, each of one type."""
    yield list(labels)
    yield [[], *([label] for label in labels), list(labels)]
    yield [0.0, 0.5, 1.0]
    yield [0, 1, 2]
    yield [False, True]


def _accepts(kind: TaskKind, label: object, labels: Sequence[str]) -> bool:
    try:
        return kind.label_problem(label, labels) is None and (
            not kind.per_word or kind.sentence_problem([label, label]) is None  # type: ignore[list-item]
        )
    except Exception:  # a label of another type, which a kind need not expect
        return False


class TinyTask(Task):
    """A task of `kind` whose examples follow from this file: its longest text is cut, its shortest is one word."""

    title = "Tiny task"
    licence = "none: made up"
    sources = {"local": LocalSource({"rows": __file__})}

    def __init__(self, kind: TaskKind, labelling: Labelling) -> None:
        self.kind = kind
        self.name = f"tiny-{kind}"
        self.labels = labelling.labels
        self.metric = kind.metric
        self.examples = labelling.examples

    def load(self, opened: Opened) -> Splits:
        """Return examples drawn with a fixed seed, every label equally often."""
        return {split: list(self._rows(split)) for split in SIZES}

    def _rows(self, split: str) -> Iterator[dict[str, Any]]:
        draw = random.Random(split)
        for number in range(SIZES[split]):
            label = number % len(self.examples)
            size = {0: 1, 1: _LONG}.get(number, draw.randint(2, 12))
            words = [CUES[label], *draw.choices((*FILLER, UNKNOWN), k=size - 1)]
            draw.shuffle(words)
            if self.kind.per_word:
                yield {"words": words, "tags": [self._tag(word, label) for word in words]}
            else:
                yield {"text": " ".join(words), "label": self.examples[label]}

    def _tag(self, word: str, label: int) -> Any:
        return self.examples[label if word == CUES[label] else 0]

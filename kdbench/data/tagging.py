"""The ways of tagging entities: recognized, checked and turned into IOB2."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum

_TAG = re.compile(r"O|[BIESLU]-.+")


class Scheme(str, Enum):
    """How the words of an entity are tagged."""

    IOB1 = "IOB1"
    """``I-`` everywhere, ``B-`` only where an entity follows one of its own type at once."""
    IOB2 = "IOB2"
    """``B-`` on the first word, ``I-`` on the others."""
    BIOES = "BIOES"
    """As IOB2, with ``E-`` on the last word and ``S-`` on a single one."""
    BILOU = "BILOU"
    """As IOB2, with ``L-`` on the last word and ``U-`` on a single one."""


_ENDINGS = {Scheme.BIOES: ("E", "S"), Scheme.BILOU: ("L", "U")}
"""What marks an entity's last word, and its only one."""


class TagError(ValueError):
    """A tag that its scheme does not allow; `index` is its place in the sentence, counted from 0."""

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(problem)
        self.index = index


def detect_scheme(sentences: Iterable[Sequence[str]]) -> Scheme:
    """Return the scheme that the tags of `sentences` follow; where several would do, IOB2.

    A file in which entities begin with ``I-`` is IOB1 only if no ``B-`` contradicts it; else it is a faulty IOB2,
    which `to_iob2` refuses.
    """
    prefixes: set[str] = set()
    starts_with_inside = begins_after_other = False
    for tags in sentences:
        previous = "O"
        for tag in tags:
            prefixes.add(tag[:1])
            continues = previous[2:] == tag[2:]
            starts_with_inside |= tag[:1] == "I" and not continues
            begins_after_other |= tag[:1] == "B" and not continues
            previous = tag
    if prefixes & {"E", "S"}:
        return Scheme.BIOES
    if prefixes & {"L", "U"}:
        return Scheme.BILOU
    return Scheme.IOB1 if starts_with_inside and not begins_after_other else Scheme.IOB2


def to_iob2(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """Return the same entities in IOB2.

    Raises:
        TagError: a tag is malformed or stands where `scheme` does not allow it.
    """
    last, single = _ENDINGS.get(scheme, (" ", " "))
    converted: list[str] = []
    previous = "O"
    for index, tag in enumerate(tags):
        if not _TAG.fullmatch(tag) or tag[0] not in {"O", "B", "I", last, single}:
            raise TagError(
                index, f"{tag!r} is no tag of the scheme {scheme.value}; write 'O', 'B-TYPE' or 'I-TYPE'"
            )
        inside = tag[0] in {"I", last}
        is_open = previous != "O" and (last == " " or previous[0] in "BI")
        continues = is_open and previous[2:] == tag[2:]
        if last != " " and is_open and not (inside and continues):
            raise TagError(
                index,
                f"{tag!r} comes before the entity of {previous!r} has ended with '{last}-{previous[2:]}'",
            )
        if inside and not continues and scheme is not Scheme.IOB1:
            raise TagError(index, f"{tag!r} continues no entity; tag its first word 'B-{tag[2:]}'")
        if tag == "O":
            converted.append(tag)
        else:
            converted.append(f"{'I' if inside and continues else 'B'}-{tag[2:]}")
        previous = tag
    if last != " " and previous[0] in "BI":
        raise TagError(len(tags) - 1, f"the entity of {previous!r} is not ended with '{last}-{previous[2:]}'")
    return converted


def iob2_labels(*types: str) -> tuple[str, ...]:
    """Return the IOB2 tags over entity `types`: ``O``, then ``B-`` and ``I-`` of each."""
    return ("O", *(f"{prefix}-{kind}" for kind in types for prefix in "BI"))

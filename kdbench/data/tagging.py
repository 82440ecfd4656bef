"""Detect and check tagging schemes of entities, and convert tags to IOB2."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum

_TAG = re.compile(r"O|[BIESLU]-.+")
_TYPE = re.compile(r"[A-Za-z]{2,}")
"""A type without a prefix."""


class Scheme(str, Enum):
    """A tagging scheme: how the words of an entity are tagged."""

    IOB1 = "IOB1"
    """``I-`` everywhere, ``B-`` only where an entity directly follows one of the same type."""
    IOB2 = "IOB2"
    """``B-`` on the first word, ``I-`` on the others."""
    BIOES = "BIOES"
    """As IOB2, with ``E-`` on the last word and ``S-`` on an entity of a single word."""
    BILOU = "BILOU"
    """As IOB2, with ``L-`` on the last word and ``U-`` on an entity of a single word."""


_ENDINGS = {Scheme.BIOES: ("E", "S"), Scheme.BILOU: ("L", "U")}
"""The prefixes of an entity's last word and of its only word."""


class TagError(ValueError):
    """A tag that its scheme does not allow; `index` is its position in the sentence, counted from 0."""

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(problem)
        self.index = index


def detect_scheme(sentences: Iterable[Sequence[str]]) -> Scheme:
    """Return the scheme that the tags of `sentences` follow; if several are possible, IOB2.

    Tags in which entities start with ``I-`` are IOB1 only if no ``B-`` contradicts it; otherwise they are invalid IOB2,
    which `to_iob2` rejects.
    """
    prefixes: set[str] = set()
    starts_with_inside = begins_after_other = False
    for tags in sentences:
        previous = "O"
        for tag in tags:
            if _TAG.fullmatch(tag):  # else it may be a type without a prefix, such as LOC
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
    """Convert the tags of a sentence from `scheme` to IOB2.

    Raises:
        TagError: a tag is malformed or in a position that `scheme` does not allow.
    """
    last, single = _ENDINGS.get(scheme, (" ", " "))
    converted: list[str] = []
    previous = "O"
    for index, tag in enumerate(tags):
        if not _TAG.fullmatch(tag) or tag[0] not in {"O", "B", "I", last, single}:
            bare = f"'B-{tag}' or 'I-{tag}'" if _TYPE.fullmatch(tag) else "'B-TYPE' or 'I-TYPE'"
            raise TagError(index, f"{tag!r} is not a tag of the scheme {scheme.value}; write 'O', {bare}")
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
    """Return the IOB2 tags of entity `types`: ``O``, then ``B-`` and ``I-`` of each type."""
    return ("O", *(f"{prefix}-{kind}" for kind in types for prefix in "BI"))

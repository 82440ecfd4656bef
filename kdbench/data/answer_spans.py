"""Turn spans of characters, as GLiNER and language models answer, into the tags of a sentence's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kdbench.api.kind import quote_names
from kdbench.errors import shown


class AnswerError(ValueError):
    """What is wrong with an answer, with the remedy, without its place."""


def tags_of_spans(value: object, words: Sequence[str], text: object, tags: Iterable[str]) -> list[str]:
    """Return the IOB2 tags of `words` that spans of characters say; a span that ends inside a word has the whole word.

    Args:
        value: a list of objects with ``start``, ``end`` (excluded) and ``label``.
        words: of the sentence.
        text: what the characters are counted in; by default the words joined by single blanks.
        tags: those of the task, which name the entity types.

    Raises:
        AnswerError: a span is not inside the text, has no word, shares one with another, or is of no type of the task.
    """
    if not isinstance(value, list):
        raise AnswerError(f"spans is {shown(value)}, not a list of objects; correct it")
    whole = text if isinstance(text, str) else " ".join(words)
    ends = _word_ends(whole, words)
    types = dict.fromkeys(tag[2:] for tag in tags if tag != "O")
    found = ["O"] * len(words)
    for span in value:
        start, end, label = _span(span, len(whole), list(types))
        inside = [place for place, (first, last) in enumerate(ends) if first < end and start < last]
        if not inside:
            raise AnswerError(f"the span {start} to {end} has no word; correct it")
        if any(found[place] != "O" for place in inside):
            raise AnswerError(f"the span {start} to {end} shares a word with another; keep one of them")
        for place in inside:
            found[place] = f"{'B' if place == inside[0] else 'I'}-{label}"
    return found


def _span(span: object, length: int, types: Sequence[str]) -> tuple[int, int, str]:
    if not isinstance(span, Mapping):
        raise AnswerError(f"the span {shown(span)} is not an object of start, end and label; correct it")
    start, end, label = span.get("start"), span.get("end"), span.get("label")
    if label not in types:
        raise AnswerError(
            f"the span's label {shown(label)} is no entity type ({quote_names(types)}); correct it"
        )
    places = [place for place in (start, end) if isinstance(place, int) and not isinstance(place, bool)]
    if len(places) != 2 or not 0 <= places[0] < places[1] <= length:
        raise AnswerError(
            f"the span {shown(start)} to {shown(end)} is not inside the text of {length} characters; give the number of "
            "its first character, counted from 0, and of the first after it"
        )
    return places[0], places[1], str(label)


def _word_ends(text: str, words: Iterable[str]) -> list[tuple[int, int]]:
    """Return where each of `words`, which `text` has in this order, begins and ends in it."""
    ends, position = [], 0
    for word in words:
        start = text.find(word, position)
        if start < 0:
            raise AnswerError(
                f"the text lacks the sentence's word {shown(word)}; give the sentence itself as text"
            )
        position = start + len(word)
        ends.append((start, position))
    return ends

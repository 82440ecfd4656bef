"""Sentences of column files: a word a line, its tag in a column, a blank line between sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kdbench.data.lines import read_lines
from kdbench.data.tagging import TagError, detect_scheme, to_iob2
from kdbench.errors import UsageError

_DOCUMENT = "-DOCSTART-"
_BLANKS = " \t\r\n"
"""What stands between values; other white space, such as a no-break space, can be a word."""
_SPACES = re.compile(" +")


@dataclass
class _Sentence:
    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


def read_conll(path: Path, *, word: int = 0, tag: int = -1) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield the place (``train.conll, line 7``), the words and the IOB2 tags of each sentence.

    Values stand apart by tabs or, in a line without any, by spaces; lines that open a document are passed over. The
    file's own scheme is recognized: IOB1, IOB2, BIOES or BILOU.

    Args:
        path: the file; UTF-8, either kind of line end.
        word: the column of the words, counted from 0.
        tag: the column of the tags, counted from 0, or from the last as -1.

    Raises:
        UsageError: names the file, the line, what is wrong there and the remedy.
    """
    scheme = detect_scheme(sentence.tags for sentence in _sentences(path, word, tag))
    empty = True
    for sentence in _sentences(path, word, tag):
        try:
            tags = to_iob2(sentence.tags, scheme)
        except TagError as error:
            raise UsageError(f"{path}, line {sentence.lines[error.index]}: {error}") from error
        yield f"{path}, line {sentence.lines[0]}", sentence.words, tags
        empty = False
    if empty:
        raise UsageError(f"{path} holds no sentence; write a word and its tag a line")


def _sentences(path: Path, word: int, tag: int) -> Iterator[_Sentence]:
    sentence = _Sentence()
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip(_BLANKS):
            if sentence.words:
                yield sentence
                sentence = _Sentence()
            continue
        values = line.rstrip("\r\n").split("\t") if "\t" in line else _SPACES.split(line.strip(_BLANKS))
        if values[0].startswith(_DOCUMENT):
            continue
        if len(values) <= max(word, tag, 1):
            raise UsageError(
                f"{path}, line {number}: {len(values)} columns; write a word and its tag on each line"
            )
        if not values[word].strip(_BLANKS) or not values[tag].strip(_BLANKS):
            raise UsageError(f"{path}, line {number}: the word or its tag is empty; write both on each line")
        sentence.words.append(values[word].strip(_BLANKS))
        sentence.tags.append(values[tag].strip(_BLANKS))
        sentence.lines.append(number)
    if sentence.words:
        yield sentence

"""Count scored examples whose text also occurs in train, exactly or nearly."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from kdbench.api.task import Example

NEAR = 0.8
"""Texts are near duplicates if their runs of three words have at least this Jaccard index, which Lee et al. 2022
(arXiv:2107.06499, section 4.2) use for documents."""
_WORDS_OF_A_RUN = 3
_WORD = re.compile(r"[^\W\u2e80-\u9fff]+|[\u2e80-\u9fff]")
"""A word of letters and digits, or a Chinese or Japanese character."""


class Duplicates:
    """Compares the texts of train with those of the scored split, which are collected first."""

    def __init__(self) -> None:
        self._scored: list[int] = []
        """For each scored example, how many runs of words it has."""
        self._by_text: defaultdict[int, list[int]] = defaultdict(list)
        self._by_run: defaultdict[int, list[int]] = defaultdict(list)
        self._exact: set[int] = set()
        self._near: set[int] = set()

    def collect(self, role: str, rows: Iterable[Example]) -> Iterator[Example]:
        """Yield `rows` of the role ``scored``, ``train`` or another, collecting their texts."""
        for row in rows:
            if role == "scored":
                self._add(row)
            elif role == "train":
                self._compare(row)
            yield row

    @property
    def exact(self) -> int:
        """How many scored examples have the text of some training example."""
        return len(self._exact)

    @property
    def near(self) -> int:
        """How many further ones have nearly the text of some training example."""
        return len(self._near - self._exact)

    def _add(self, row: Example) -> None:
        number, runs = len(self._scored), _runs(row)
        self._scored.append(len(runs))
        self._by_text[_text(row)].append(number)
        for run in runs:
            self._by_run[run].append(number)

    def _compare(self, row: Example) -> None:
        self._exact.update(self._by_text.get(_text(row), ()))
        runs = _runs(row)
        shared = Counter(number for run in runs for number in self._by_run.get(run, ()))
        self._near.update(
            number
            for number, both in shared.items()
            if both >= NEAR * (len(runs) + self._scored[number] - both)
        )


def _text(row: Example) -> int:
    """Return a hash of the example's text, which takes less memory."""
    return hash((row.get("text"), row.get("text_pair"), tuple(row.get("words", ()))))


def _runs(row: Example) -> set[int]:
    """Return the hashes of the runs of three words in the example, without case and punctuation; a shorter text is one."""
    texts = (row.get("text"), row.get("text_pair"), " ".join(row.get("words", ())))
    words = _WORD.findall("\n".join(text or "" for text in texts).casefold())
    last = max(1, len(words) - _WORDS_OF_A_RUN + 1)
    return {hash(tuple(words[start : start + _WORDS_OF_A_RUN])) for start in range(last)} if words else set()

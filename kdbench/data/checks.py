"""What every example of a task must be, whichever source it came from."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from numbers import Real
from typing import TypeGuard

from kdbench.api.task import Example, Task, TaskKind
from kdbench.errors import UsageError

MAX_CHARACTERS = 131_072
"""The longest text or word taken; only the first word pieces of a text are ever used."""


class ExampleCheck:
    """Refuses the examples of one split that the task's kind does not allow, and remembers the labels seen."""

    def __init__(self, task: Task, split: str) -> None:
        self._task = task
        self._split = split
        self._known = frozenset(task.labels)
        self.seen: set[str] = set()
        """The labels, or for tokens the entity types, that occurred."""
        self._count = 0
        self._columns: frozenset[str] = frozenset()

    def watch(self, rows: Iterable[Example]) -> Iterator[Example]:
        """Yield `rows`, each checked.

        Raises:
            UsageError: names the example's place (its ``where``, if it has one), what is wrong and the remedy.
        """
        for row in rows:
            self._count += 1
            problem = self._problem(row)
            if problem:
                place = row.get("where") or f"split {self._split!r}, example {self._count}"
                raise UsageError(f"task {self._task.name!r}: {place}: {problem}")
            yield row

    def _problem(self, row: Example) -> str | None:
        if self._count == 1:
            self._columns = frozenset(row)
        elif row.keys() != self._columns:
            return f"it has the columns {_list(list(row))}, those before it {_list(sorted(self._columns))}"
        if "group" in row and not _is_text(row["group"]):
            return f"the group is {_show(row['group'])}, not a string; correct or remove the row"
        if self._task.kind is TaskKind.TOKEN_CLASSIFICATION:
            return self._token_problem(row.get("words"), row.get("tags"))
        return self._text_problem(row) or self._label_problem(row.get("label"))

    def finish(self, train_seen: set[str] | None = None) -> None:
        """Check the split as a whole; `train_seen` holds the labels of train where this is another split."""
        where = f"task {self._task.name!r}: split {self._split!r}"
        if self._count == 0:
            raise UsageError(f"{where} has no examples; check its file")
        if train_seen is not None:
            unknown = sorted(self.seen - train_seen)
            if unknown:
                raise UsageError(
                    f"{where} has {_list(unknown)}, which train never has; add examples to train or remove them"
                )
        elif self._task.kind is TaskKind.SEQUENCE_CLASSIFICATION and len(self.seen) == 1:
            raise UsageError(
                f"{where} has one label only, {_list(sorted(self.seen))}; a classifier needs two or more"
            )
        elif self._task.kind is TaskKind.TOKEN_CLASSIFICATION and not self.seen:
            raise UsageError(f"{where} has no entity at all; check the column of the tags")

    def _text_problem(self, row: Example) -> str | None:
        texts = [row.get("text"), *([row["text_pair"]] if "text_pair" in row else [])]
        for text in texts:
            if not _is_text(text):
                return (
                    f"the text is {_show(text)}, not a string of whole characters; correct or remove the row"
                )
            if len(text) > MAX_CHARACTERS:
                return f"the text has {len(text):,} characters, more than {MAX_CHARACTERS:,}; shorten it"
        if not any(text.strip() for text in texts):
            return "the text is empty; remove the row"
        return None

    def _label_problem(self, label: object) -> str | None:
        if self._task.kind is TaskKind.SEQUENCE_REGRESSION:
            if not isinstance(label, Real) or isinstance(label, bool) or not math.isfinite(label):
                return f"the label is {_show(label)}, not a finite number; correct or remove the row"
            return None
        if not _is_text(label):
            return f"the label is {_show(label)}, not one of {_list(self._task.labels)}; correct or remove the row"
        if label not in self._known:
            return f"the label {_show(label)} is none of the task's ({_list(self._task.labels)}); correct it or remove the row"
        self.seen.add(label)
        return None

    def _token_problem(self, words: object, tags: object) -> str | None:
        if not isinstance(words, list) or not isinstance(tags, list):
            return "it needs a list of words and a list of tags; correct or remove it"
        if not words:
            return "the sentence has no words; remove it"
        if len(words) != len(tags):
            return f"the sentence has {len(words)} words but {len(tags)} tags; give one tag a word"
        for word, tag in zip(words, tags, strict=True):
            if not _is_text(word) or not word or len(word) > MAX_CHARACTERS:
                return (
                    f"the word {_show(word)} is empty, too long or no string of whole characters; correct it"
                )
            if not isinstance(tag, str) or tag not in self._known:
                return f"the tag {_show(tag)} is none of the task's ({_list(self._task.labels)}); correct it"
        return self._orphan(tags)

    def _orphan(self, tags: list[str]) -> str | None:
        """Return what is wrong where an ``I-`` tag continues no entity of its type."""
        previous = "O"
        for index, tag in enumerate(tags, 1):
            if tag.startswith("I-") and previous[2:] != tag[2:]:
                return f"the tag {tag!r} of word {index} continues no entity; its first word must be tagged 'B-{tag[2:]}'"
            if tag != "O":
                self.seen.add(tag[2:])
            previous = tag
        return None


def _is_text(value: object) -> TypeGuard[str]:
    """Return whether `value` is a string that can be written; half of a surrogate pair, as JSON may hold, cannot."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _list(names: Collection[str]) -> str:
    shown = [repr(name) for name in names]
    return ", ".join(shown[:20]) + (f" … ({len(shown)} in all)" if len(shown) > 20 else "")


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"

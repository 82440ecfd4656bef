"""Read a file of answers: what a language model, rules or people say about texts, in place of a teacher's logits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.api.kind import is_text
from kdbench.api.task import Example, TaskKind
from kdbench.config import data_suffix
from kdbench.data.answer_spans import AnswerError
from kdbench.data.answer_values import AnswerReader, Target
from kdbench.data.loading import MAX_CHARACTERS, TaskData
from kdbench.data.readers import parquet_columns, read_delimited, read_jsonl, read_parquet, readable
from kdbench.errors import UsageError, shown
from kdbench.utils.files import sha256

if TYPE_CHECKING:
    from datasets import Dataset

_DELIMITERS = {".csv": ",", ".tsv": "\t"}

Key = tuple[str, ...]
"""The texts of an example, or its words as one text, with single blanks."""


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of a file to a task's training examples and to further texts."""

    targets: tuple[Target, ...]
    of_example: Mapping[int, int]
    """The index of its answer by the number of a training example; examples of one text share one answer."""
    further: tuple[Example, ...]
    """Texts that no split of the task has, as examples with a placeholder for the label."""
    of_further: tuple[int, ...]
    """The index of the answer to each of `further`."""
    refused: int
    """Rows without an answer."""
    held_out: int
    """Answers to texts of the splits for validation and scoring, which nothing is trained on."""

    @property
    def forms(self) -> Mapping[str, int]:
        """How many answers have which form."""
        return Counter(target.form for target in self.targets)


@dataclass(frozen=True)
class AnswersFile:
    """A file of answers to the examples of a task, read when they are needed."""

    path: Path
    sha256: str
    data: TaskData = field(repr=False)

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.name

    @cached_property
    def answers(self) -> Answers:
        """The answers.

        Raises:
            UsageError: a row is malformed or contradicts another; names its place, the fault and the remedy.
        """
        return read_answers(self.path, self.data)


def open_answers(path: Path, data: TaskData) -> AnswersFile:
    """Return the file of answers at `path` to the examples in `data`.

    Raises:
        UsageError: the file cannot be read, or the task's kind is a plugin's or has several labels per text.
    """
    if data.task.kind is TaskKind.MULTI_LABEL_CLASSIFICATION:
        raise UsageError(f"--teacher {path}: answers of several labels per text cannot be read; name a model")
    if data.task.kind not in list(TaskKind):
        raise UsageError(
            f"--teacher {path}: answers to tasks of the kind {str(data.task.kind)!r} cannot be read, since a plugin "
            "defines its labels; name a model"
        )
    with readable(path):
        return AnswersFile(path, sha256(path), data)


def read_answers(path: Path, data: TaskData) -> Answers:
    """Read the answers in `path`, keyed by training examples' numbers (``id``) or by the texts themselves.

    Raises:
        UsageError: as `AnswersFile.answers`.
    """
    return _Reading(path, data).answers()


class _Reading:
    def __init__(self, path: Path, data: TaskData) -> None:
        self._path = path
        self._data = data
        self._kind = data.task.kind
        self._reader = AnswerReader(data.task)
        self._train = data.splits["train"]
        self._columns = [name for name in ("words", "text", "text_pair") if name in self._train.column_names]
        self._targets: list[Target] = []
        self._places: list[str] = []
        """Of each target."""
        self._of_key: dict[Key, int] = {}
        self._of_id: dict[int, int] = {}
        self._texts: dict[Key, Example] = {}
        """What the file itself says of a text, by key."""
        self._refused = 0

    def answers(self) -> Answers:
        for where, row in self._rows():
            try:
                self._add(where, row)
            except AnswerError as error:
                raise UsageError(f"{where}: {error}") from None
        if not self._targets:
            raise UsageError(
                f"{self._path} has no answer; give each row one of {', '.join(self._reader.columns)}"
            )
        of_example = self._by_example()
        known = {self._key(row) for row in _examples(self._train, self._columns)} if self._texts else set()
        held_out = self._held_out() - known
        further = [
            (example, self._of_key[key])
            for key, example in self._texts.items()
            if key not in known and key not in held_out
        ]
        return Answers(
            targets=tuple(self._targets),
            of_example=of_example,
            further=tuple(example for example, _ in further),
            of_further=tuple(answer for _, answer in further),
            refused=self._refused,
            held_out=sum(key in held_out for key in self._of_key),
        )

    def _rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        suffix = data_suffix(self._path.name)
        if suffix == ".parquet":
            wanted = (
                "id",
                *self._columns,
                *(("text",) if self._kind.per_word else ()),
                *self._reader.columns,
            )
            existing = {"text", *wanted} & {*parquet_columns(self._path)}
            keys = existing & {"id", "text", *self._columns} or {"text"}  # a missing text is refused by name
            yield from read_parquet(self._path, sorted(existing | keys))
        elif suffix in _DELIMITERS:
            yield from read_delimited(self._path, (), delimiter=_DELIMITERS[suffix])
        else:
            yield from read_jsonl(self._path, ())

    def _add(self, where: str, row: Mapping[str, Any]) -> None:
        number, own = _id(row.get("id"), len(self._train)), self._own_text(row)
        example = own if number is None else self._train[number]
        if example is None:
            other = "words" if self._kind.per_word else " and ".join(self._columns)
            raise AnswerError(f"it has neither id nor {other}; name the example that it answers")
        key = self._key(example)
        if own is not None and self._key(own) != key:
            raise AnswerError(
                f"the text is not that of training example {number}; correct the id, or leave it out"
            )
        words = example["words"] if self._kind.per_word else None
        target = self._reader.read(row, words)
        if target is None:
            self._refused += 1
            return
        self._keep(where, target, number, key, example)

    def _keep(self, where: str, target: Target, number: int | None, key: Key, example: Example) -> None:
        earlier = self._of_id.get(number) if number is not None else self._of_key.get(key)
        if earlier is not None:
            if not _equal(self._targets[earlier], target):
                what = f"id {number}" if number is not None else "the same text"
                raise AnswerError(
                    f"{what} has another answer in {self._places[earlier]}; keep one of them, or give votes"
                )
            return
        if number is not None:
            self._of_id[number] = len(self._targets)
        else:
            self._of_key[key] = len(self._targets)
            self._texts[key] = example
        self._targets.append(target)
        self._places.append(where)

    def _own_text(self, row: Mapping[str, Any]) -> Example | None:
        """Return the example that the row itself spells out; None where it does not."""
        if self._kind.per_word:
            words, text = row.get("words"), row.get("text")
            if words is None and text is None:
                return None
            words = words if words is not None else text.split() if isinstance(text, str) else text
            if not isinstance(words, list) or not words or not all(is_text(word) and word for word in words):
                raise AnswerError(
                    f"its words are {shown(words)}, not a list of words; correct or remove the row"
                )
            return {"words": words}
        texts = {name: row.get(name) for name in self._columns}
        if all(text is None for text in texts.values()):
            return None
        for name, text in texts.items():
            if not is_text(text):
                raise AnswerError(f"its {name} is {shown(text)}, not a text; correct or remove the row")
        if not any(str(text).strip() for text in texts.values()):
            raise AnswerError("its text is empty; remove the row")
        return {name: str(text)[:MAX_CHARACTERS] for name, text in texts.items()}

    def _key(self, example: Mapping[str, Any]) -> Key:
        if self._kind.per_word:
            return (" ".join(" ".join(example["words"]).split()),)
        return tuple(" ".join(example[name].split()) for name in self._columns)

    def _by_example(self) -> dict[int, int]:
        """Return the index of its answer by the number of a training example, whether named by number or by text."""
        found = self._by_text()
        for number, answer in self._of_id.items():
            other = found.setdefault(number, answer)
            if not _equal(self._targets[other], self._targets[answer]):
                raise UsageError(
                    f"{self._places[answer]}: training example {number} has another answer, by its text, in "
                    f"{self._places[other]}; keep one of them, or give votes"
                )
        return found

    def _by_text(self) -> dict[int, int]:
        if not self._of_key:
            return {}
        found = {}
        for number, row in enumerate(_examples(self._train, self._columns)):
            answer = self._of_key.get(self._key(row))
            if answer is not None:
                self._check_length(answer, row)
                found[number] = answer
        return found

    def _check_length(self, answer: int, row: Mapping[str, Any]) -> None:
        if self._kind.per_word and len(row["words"]) != len(self._targets[answer].logits):
            raise UsageError(
                f"{self._places[answer]}: {len(self._targets[answer].logits)} tags for a sentence of "
                f"{len(row['words'])} words; give the sentence as a list of words"
            )

    def _held_out(self) -> set[Key]:
        if not self._of_key:
            return set()
        splits = (rows for name, rows in self._data.splits.items() if name != "train")
        return {self._key(row) for rows in splits for row in _examples(rows, self._columns)}


def _examples(rows: Dataset, columns: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    names = list(columns)
    for batch in rows.select_columns(names).with_format(None).iter(batch_size=2_000):
        for values in zip(*(batch[name] for name in names), strict=True):
            yield dict(zip(names, values, strict=True))


def _id(value: object, examples: int) -> int | None:
    """Return the number of a training example that a row names."""
    if value is None or value == "":
        return None
    number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 10 else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < examples:
        raise AnswerError(
            f"the id {shown(value)} is no training example's number, from 0 to {examples - 1:,}; correct it, or give the text"
        )
    return number


def _equal(one: Target, other: Target) -> bool:
    return one.logits.shape == other.logits.shape and bool((one.logits == other.logits).all())

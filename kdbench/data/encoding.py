"""Encode examples into word pieces: texts are truncated, long sentences of tagged words are split between words."""

from __future__ import annotations

import copy
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from tokenizers import pre_tokenizers

from kdbench.api.task import IGNORED, Task, TaskKind
from kdbench.errors import UsageError
from kdbench.utils.files import sha256

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset
    from transformers import BatchEncoding, PreTrainedTokenizerBase


BATCH = 5_000
"""Number of rows held in memory at once while reading."""

_T = TypeVar("_T")


def source_hashes(cls: type[object], base: type[object]) -> list[str]:
    """Return, for `cls` and each of its parents up to `base`, the class's name and the hash of its source file."""
    hashes = []
    for parent in cls.__mro__:
        file = getattr(sys.modules.get(parent.__module__), "__file__", None)
        if issubclass(parent, base) and file:
            hashes.append(f"{parent.__qualname__} {sha256(Path(file))}")
    return hashes


def batched(rows: Iterable[_T], size: int = BATCH) -> Iterator[list[_T]]:
    """Yield `rows` in lists of at most `size`."""
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch


def write_table(path: Path, schema: pa.Schema, tables: Iterable[pa.RecordBatch]) -> None:
    """Write `tables` to `path` as one Arrow stream of `schema`."""
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for table in tables:
            writer.write_batch(table)


def read_table(path: Path) -> Dataset:
    """Return the rows of the Arrow file at `path`, memory-mapped."""
    from datasets import Dataset

    return Dataset.from_file(str(path))


def rows_of(rows: Dataset, examples: npt.NDArray[np.int64]) -> Dataset:
    """Return those of the encoded `rows` that belong to `examples`, in order."""
    return rows.select(np.flatnonzero(np.isin(example_numbers(rows), examples)))


def example_numbers(rows: Dataset) -> npt.NDArray[np.int64]:
    """Return for each of the encoded `rows` the number of its example."""
    # Not in the format of numpy: that makes a progress bar, whose lock a killed process would leave behind.
    return np.asarray(rows.with_format("arrow")["example"][:], dtype=np.int64)


def with_column(rows: Dataset, name: str, values: Sequence[Any]) -> Dataset:
    """Return `rows` with other `values` of the same type in the column `name`."""
    feature = rows.features[name]
    if rows._indices is not None:
        # Else the library writes the selected rows to a file of its own beside the encoded ones.
        rows = rows.flatten_indices(keep_in_memory=True)
    replaced = rows.remove_columns(name).add_column(name, values, feature=feature)
    return replaced.select_columns(rows.column_names)


_ENCODED_TOGETHER = 2_000


@dataclass
class Counts:
    """Numbers of examples and word pieces of an encoded split."""

    examples: int = 0
    too_long: int = 0
    """Examples longer than the maximum length, which were truncated or, for tagged words, split."""
    pieces: int = 0
    unknown: int = 0


class Encoder:
    """Encodes the examples of a task into rows of at most `max_length` word pieces."""

    def __init__(self, task: Task, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        if not tokenizer.is_fast:
            raise UsageError(
                f"tokenizer {type(tokenizer).__name__} has no fast version; use a model that has one"
            )
        self.task = task
        self.max_length = min(max_length, tokenizer.model_max_length)
        self._kind = task.kind
        # Calls change a tokenizer's truncation settings; the caller's tokenizer must not change.
        self._tokenizer = copy.deepcopy(tokenizer)
        if self._kind.per_word:
            add_prefix_space(self._tokenizer)
        self._label_ids = {label: index for index, label in enumerate(task.labels)}
        self._with_types = "token_type_ids" in self._tokenizer("a")

    @property
    def key(self) -> str:
        """A hash of everything that determines the encoding, except the examples."""
        state = json.loads(self._tokenizer.backend_tokenizer.to_str())
        del state["truncation"], state["padding"]
        parts = [state, self._with_types, self.max_length, str(self.task.kind), list(self.task.labels)]
        if self._kind not in list(TaskKind):  # a plugin's author may change it without incrementing `_LAYOUT`
            parts.append(source_hashes(type(self._kind), TaskKind))
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def write(self, rows: Dataset, path: Path) -> Counts:
        """Encode `rows` into the Arrow file at `path`."""
        counts = Counts()
        schema = self._schema()
        write_table(path, schema, self._tables(rows, schema, counts))
        return counts

    def _schema(self) -> pa.Schema:
        import pyarrow as pa

        fields = [("id", pa.int64()), ("example", pa.int64()), ("input_ids", pa.list_(pa.int32()))]
        if self._with_types:
            fields.append(("token_type_ids", pa.list_(pa.int8())))
        return pa.schema([*fields, ("labels", self._kind.encoded_type()), ("length", pa.int32())])

    def _tables(self, rows: Dataset, schema: pa.Schema, counts: Counts) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        next_id = 0
        for batch in rows.with_format(None).iter(batch_size=_ENCODED_TOGETHER):
            columns = (
                self._encode_tokens(batch, counts)
                if self._kind.per_word
                else self._encode_texts(batch, counts)
            )
            size = len(columns["input_ids"])
            columns["id"] = range(next_id, next_id + size)
            columns["length"] = [len(pieces) for pieces in columns["input_ids"]]
            next_id += size
            yield pa.RecordBatch.from_arrays(
                [pa.array(columns[field.name], field.type) for field in schema], schema=schema
            )

    def _encode_texts(self, batch: Mapping[str, list[Any]], counts: Counts) -> dict[str, Any]:
        encoded = self._encode(counts, batch["text"], batch.get("text_pair"))
        size = len(batch["text"])
        first = counts.examples
        counts.examples += size
        counts.too_long += sum(bool(encoding.overflowing) for encoding in encoded.encodings or ())
        labels = [self._kind.encode_label(label, self._label_ids) for label in batch["label"]]
        return {**encoded, "example": range(first, first + size), "labels": labels}

    def _encode_tokens(self, batch: Mapping[str, list[Any]], counts: Counts) -> dict[str, Any]:
        examples: list[int] = []
        sentences: list[list[str]] = []
        tags: list[list[str]] = []
        for words, sizes, word_tags in zip(
            *self._replace_unencodable(batch["words"]), batch["tags"], strict=True
        ):
            starts = self._row_starts(sizes)
            for start, end in pairwise([*starts, len(words)]):
                examples.append(counts.examples)
                sentences.append(words[start:end])
                tags.append(word_tags[start:end])
            counts.examples += 1
            counts.too_long += len(starts) > 1
        # This truncates only single words of more pieces than fit; the first piece, which is scored, remains.
        encoded = self._encode(counts, sentences, is_split_into_words=True)
        labels = [self._piece_labels(encoded.word_ids(row), row_tags) for row, row_tags in enumerate(tags)]
        return {**encoded, "example": examples, "labels": labels}

    def _encode(self, counts: Counts, *texts: Any, **options: Any) -> BatchEncoding:
        """Return the pieces of `texts`, truncated to the maximum length, and count them."""
        encoded: BatchEncoding = self._tokenizer(
            *texts, truncation=True, max_length=self.max_length, return_attention_mask=False, **options
        )
        unknown = self._tokenizer.unk_token_id
        for pieces in encoded["input_ids"]:
            counts.pieces += len(pieces)
            counts.unknown += pieces.count(unknown)
        return encoded

    def _replace_unencodable(self, sentences: list[list[str]]) -> tuple[list[list[str]], list[list[int]]]:
        """Return `sentences` with words that have no pieces replaced by the unknown token, and each word's piece count."""
        encoded = self._tokenizer(sentences, is_split_into_words=True, add_special_tokens=False)
        replaced, sizes = [], []
        for row, words in enumerate(sentences):
            pieces = Counter(encoded.word_ids(row))
            # A tokenizer may drop a word entirely (a lone variation selector, say), but the word is scored.
            replaced.append(
                [word if pieces[index] else self._tokenizer.unk_token for index, word in enumerate(words)]
            )
            sizes.append([pieces[index] or 1 for index in range(len(words))])
        return replaced, sizes

    def _row_starts(self, sizes: list[int]) -> list[int]:
        """Return the indices of the words at which rows begin, given each word's number of pieces."""
        room = self.max_length - self._tokenizer.num_special_tokens_to_add()
        starts, used = [0], 0
        for index, size in enumerate(sizes):
            if index > 0 and used + size > room:
                starts.append(index)
                used = 0
            used += size
        return starts

    def _piece_labels(self, words: list[int | None], tags: list[str]) -> list[int]:
        """Return the tag's index for the first piece of each word, `IGNORED` for every other piece."""
        return [
            IGNORED
            if word is None or word == previous
            else self._kind.encode_label(tags[word], self._label_ids)
            for previous, word in pairwise([None, *words])
        ]


def add_prefix_space(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Make a byte-level tokenizer (RoBERTa's) encode each word as it would after a space inside a text.

    Returns:
        Whether it did not before.
    """
    changed = False
    root = tokenizer.backend_tokenizer.pre_tokenizer
    for step in cast("Iterable[object]", root) if isinstance(root, pre_tokenizers.Sequence) else [root]:
        if isinstance(step, pre_tokenizers.ByteLevel):
            changed |= not step.add_prefix_space
            step.add_prefix_space = True
    return changed

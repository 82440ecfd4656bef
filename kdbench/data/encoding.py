"""Encode examples into word pieces: long texts are cut or read in windows, long sentences of words split between words."""

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


class EncodedRows:
    """A few encoded rows in memory, read like those of a `Dataset`: a row by its number, a column by its name."""

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns["id"])

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, str):
            return self._columns[key]
        return {name: values[key] for name, values in self._columns.items()}


_ENCODED_TOGETHER = 2_000


@dataclass
class Counts:
    """Numbers of examples and word pieces of an encoded split."""

    examples: int = 0
    too_long: int = 0
    """Examples longer than the maximum length, which were truncated, read in windows or, for tagged words, split."""
    pieces: int = 0
    unknown: int = 0


@dataclass(frozen=True)
class Window:
    """The words of one row of a sentence, from `start` to `end`, and those from `first` to `last` that it labels."""

    start: int
    end: int
    first: int
    last: int


class Encoder:
    """Encodes the examples of a task into rows of at most `max_length` word pieces.

    Args:
        stride: the word pieces that consecutive windows of a long text share, each window being a row; by default a long
            text is cut, as pairs of texts always are, and a long sentence of words is split without overlap.
    """

    def __init__(
        self, task: Task, tokenizer: PreTrainedTokenizerBase, max_length: int, stride: int | None = None
    ) -> None:
        if not tokenizer.is_fast:
            raise UsageError(
                f"tokenizer {type(tokenizer).__name__} has no fast version; use a model that has one"
            )
        self.task = task
        self.max_length = min(max_length, tokenizer.model_max_length)
        self._kind = task.kind
        self._stride = stride
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
        if self._stride is not None:
            parts.append(f"windows that share {self._stride}")
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def write(self, rows: Dataset, path: Path) -> Counts:
        """Encode `rows` into the Arrow file at `path`."""
        counts = Counts()
        schema = self._schema()
        write_table(path, schema, self._tables(rows, schema, counts))
        return counts

    def encode(self, columns: Mapping[str, list[Any]]) -> EncodedRows:
        """Return the rows that `write` writes for examples given as `columns`, without a file."""
        encoded = self._encoded(columns, Counts(), first_id=0)
        return EncodedRows({field.name: encoded[field.name] for field in self._schema()})

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
            columns = self._encoded(batch, counts, next_id)
            next_id += len(columns["id"])
            yield pa.RecordBatch.from_arrays(
                [pa.array(columns[field.name], field.type) for field in schema], schema=schema
            )

    def _encoded(self, batch: Mapping[str, list[Any]], counts: Counts, first_id: int) -> dict[str, Any]:
        """Return the columns of the rows of `batch`, numbered from `first_id` on."""
        encode = self._encode_tokens if self._kind.per_word else self._encode_texts
        columns = encode(batch, counts)
        columns["id"] = range(first_id, first_id + len(columns["input_ids"]))
        columns["length"] = [len(pieces) for pieces in columns["input_ids"]]
        return columns

    def _encode_texts(self, batch: Mapping[str, list[Any]], counts: Counts) -> dict[str, Any]:
        size = len(batch["text"])
        first = counts.examples
        counts.examples += size
        labels = [self._kind.encode_label(label, self._label_ids) for label in batch["label"]]
        if self._stride is None or "text_pair" in batch:
            encoded = self._encode(counts, batch["text"], batch.get("text_pair"))
            counts.too_long += sum(bool(encoding.overflowing) for encoding in encoded.encodings or ())
            return {**encoded, "example": range(first, first + size), "labels": labels}
        windows = self._encode(counts, batch["text"], stride=self._stride, return_overflowing_tokens=True)
        texts = windows.pop("overflow_to_sample_mapping")
        counts.too_long += sum(number > 1 for number in Counter(texts).values())
        return {
            **windows,
            "example": [first + text for text in texts],
            "labels": [labels[text] for text in texts],
        }

    def _encode_tokens(self, batch: Mapping[str, list[Any]], counts: Counts) -> dict[str, Any]:
        examples: list[int] = []
        sentences: list[list[str]] = []
        tags: list[list[str | None]] = []
        for words, sizes, word_tags in zip(
            *self._replace_unencodable(batch["words"]), batch["tags"], strict=True
        ):
            windows = self._windows(sizes)
            for window in windows:
                examples.append(counts.examples)
                sentences.append(words[window.start : window.end])
                tags.append(
                    [
                        tag if window.first <= word < window.last else None
                        for word, tag in enumerate(word_tags[window.start : window.end], window.start)
                    ]
                )
            counts.examples += 1
            counts.too_long += len(windows) > 1
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

    def _windows(self, sizes: list[int]) -> list[Window]:
        """Return the rows of a sentence, given each word's number of pieces: one, unless it is too long.

        Rows overlap by at most the stride; a word of two rows is labelled in the one where it is further from the edge.
        """
        room = self.max_length - self._tokenizer.num_special_tokens_to_add()
        edges = np.concatenate([[0], np.cumsum(sizes)])
        spans, start = [], 0
        while True:
            end = max(start + 1, int(np.searchsorted(edges, edges[start] + room, side="right")) - 1)
            spans.append((start, end))
            if end >= len(sizes):
                break
            shared = int(np.searchsorted(edges, edges[end] - (self._stride or 0), side="left"))
            start = max(start + 1, min(shared, end))
        bounds = [
            0,
            *(_middle(edges, later[0], earlier[1]) for earlier, later in pairwise(spans)),
            len(sizes),
        ]
        return [Window(*span, *labelled) for span, labelled in zip(spans, pairwise(bounds), strict=True)]

    def _piece_labels(self, words: list[int | None], tags: list[str | None]) -> list[int]:
        """Return the tag's index for the first piece of each word with a tag, `IGNORED` for every other piece."""
        return [
            IGNORED
            if word is None or word == previous or (tag := tags[word]) is None
            else self._kind.encode_label(tag, self._label_ids)
            for previous, word in pairwise([None, *words])
        ]


def _middle(edges: npt.NDArray[np.int64], start: int, end: int) -> int:
    """Return the first word of those from `start` to `end`, which two rows share, that lies beyond their middle piece."""
    middle = (edges[start] + edges[end]) / 2
    return start + int(np.searchsorted(edges[start:end], middle))


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

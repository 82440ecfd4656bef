"""Read and sample transfer sets: unlabelled examples that a student learns from the teacher's answers to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from kdbench.api.task import Example
from kdbench.data.encoding import Encoder, example_numbers, rows_of, with_column
from kdbench.data.loading import ExampleCheck
from kdbench.data.preparing import PreparedTask, without_labels
from kdbench.data.readers import read_lines
from kdbench.data.splitting import Indices
from kdbench.errors import UsageError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

_SEED = 21
"""A fixed seed for sampling, since the seeds of a run vary only the training."""


def sample_examples(rows: Dataset, limit: int) -> Dataset:
    """Sample at most `limit` examples and return their rows in the order of `rows`; the same sample each time."""
    examples = np.unique(example_numbers(rows))
    return rows_of(rows, examples[_draw_indices(len(examples), limit)])


def read_transfer_set(
    path: Path,
    prepared: PreparedTask,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    limit: int,
    stride: int | None = None,
) -> Dataset:
    """Return at most `limit` of the texts in a UTF-8 file as unlabelled rows with the columns of ``prepared.train``.

    A line is one text; if the task's examples are pairs, two texts separated by a tab; if they are tagged sentences,
    words separated by white space. Blank lines are skipped. Their numbers are those of `encode_texts`.

    Raises:
        UsageError: the file is missing or empty, or a line does not fit the task; names the line.
    """
    # A separate pass, since the file may be larger than memory.
    count = sum(1 for _ in _examples(path, prepared))
    if count == 0:
        raise UsageError(f"{path} has only blank lines; write one text per line")
    is_drawn = np.zeros(count, dtype=bool)
    is_drawn[_draw_indices(count, limit)] = True
    checked = ExampleCheck(prepared.task, "transfer").check(_examples(path, prepared))
    chosen = list(compress(checked, is_drawn.tolist()))
    return encode_texts(chosen, prepared, tokenizer, max_length, stride)


def encode_texts(
    examples: Sequence[Example],
    prepared: PreparedTask,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    stride: int | None = None,
) -> Dataset:
    """Return `examples` as rows with hidden labels and the columns of ``prepared.train``.

    The values of ``id`` and ``example`` are negative, so that they differ from those of the task's own rows: the first
    example is -1. `max_length` and `stride` are those of `Encoder`.
    """
    from datasets import Dataset

    if not examples:
        return prepared.train.select([])
    kind = prepared.task.kind
    placeholder = kind.placeholder(prepared.task.labels)
    columns = {name: [example[name] for example in examples] for name in examples[0] if name != "where"}
    if kind.label_column not in columns:
        columns[kind.label_column] = [
            [placeholder] * len(example["words"]) if kind.per_word else placeholder for example in examples
        ]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "transfer.arrow"
        Encoder(prepared.task, tokenizer, max_length, stride).write(Dataset.from_dict(columns), file)
        rows = Dataset.from_file(str(file), in_memory=True)
    for name in ("id", "example"):
        rows = with_column(rows, name, [-1 - number for number in rows[name]])
    return without_labels(rows, kind).select_columns(prepared.train.column_names)


def _examples(path: Path, prepared: PreparedTask) -> Iterator[Example]:
    """Yield the lines as examples of the task with placeholder labels, which are hidden later."""
    task = prepared.task
    for number, line in enumerate(read_lines(path), 1):
        text = line.strip()
        if not text:
            continue
        where = f"{path}, line {number}"
        label = task.kind.placeholder(task.labels)
        if task.kind.per_word:
            words = text.split()
            yield {"words": words, "tags": [label] * len(words), "where": where}
        elif not prepared.paired:
            yield {"text": text, "label": label, "where": where}
        else:
            first, tab, second = line.rstrip("\r\n").partition("\t")
            if not tab:
                raise UsageError(
                    f"{where}: one text, but task {task.name!r} compares two; write both, separated by a tab"
                )
            yield {"text": first, "text_pair": second, "label": label, "where": where}


def _draw_indices(count: int, limit: int) -> Indices:
    """Return at most `limit` random indices below `count`, in ascending order."""
    return np.sort(np.random.default_rng(_SEED).permutation(count)[:limit])

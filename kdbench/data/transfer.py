"""Transfer sets: examples without labels, for which a teacher answers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from kdbench.api.task import Example
from kdbench.data.encoding import Encoder
from kdbench.data.loading import ExampleCheck
from kdbench.data.preparing import PreparedTask, without_labels
from kdbench.data.readers import read_lines
from kdbench.data.splitting import Indices
from kdbench.errors import UsageError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

_SEED = 21
"""Which examples are drawn does not follow the seeds of a run: these vary the training alone."""


def sample_examples(rows: Dataset, limit: int) -> Dataset:
    """Return the rows of at most `limit` examples of `rows`, in their order; the same ones each time."""
    owners = np.asarray(rows["example"][:], dtype=np.int64)
    examples = np.unique(owners)
    chosen = examples[_drawn(len(examples), limit)]
    return rows.select(np.flatnonzero(np.isin(owners, chosen)))


def read_transfer_set(
    path: Path,
    prepared: PreparedTask,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    limit: int,
) -> Dataset:
    """Return at most `limit` of the texts in a UTF-8 file as rows like those of ``prepared.train``, without labels.

    A line is a text; where the task's examples are pairs, two with a tab between them; where they are sentences, words
    apart by white space. Blank lines are passed over. The numbers in ``id`` and ``example`` are below zero, where the
    task's own rows have none.

    Raises:
        UsageError: the file is missing, holds no text, or a line is no example of the task; names the line.
    """
    from datasets import Dataset

    count = sum(1 for _ in _examples(path, prepared))  # a pass of its own: the file may be larger than memory
    if count == 0:
        raise UsageError(f"{path} holds blank lines only; write one text a line")
    drawn = np.zeros(count, dtype=bool)
    drawn[_drawn(count, limit)] = True
    checked = ExampleCheck(prepared.task, "transfer").watch(_examples(path, prepared))
    chosen = list(compress(checked, drawn.tolist()))
    texts = Dataset.from_dict({name: [one[name] for one in chosen] for name in chosen[0] if name != "where"})
    with TemporaryDirectory() as folder:
        file = Path(folder) / "transfer.arrow"
        Encoder(prepared.task, tokenizer, max_length).write(texts, file)
        rows = Dataset.from_file(str(file), in_memory=True)
    for name in ("id", "example"):
        numbers = [-1 - number for number in rows[name]]
        feature = rows.features[name]
        rows = rows.remove_columns(name).add_column(name, numbers, feature=feature)
    return without_labels(rows, prepared.task.kind).select_columns(prepared.train.column_names)


def _examples(path: Path, prepared: PreparedTask) -> Iterator[Example]:
    """Yield the lines as examples of the task; what stands in place of their labels is hidden later."""
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
            continue
        if not prepared.paired:
            yield {"text": text, "label": label, "where": where}
            continue
        first, tab, second = line.rstrip("\r\n").partition("\t")
        if not tab:
            raise UsageError(
                f"{where}: one text, but task {task.name!r} compares two; write both, a tab between them"
            )
        yield {"text": first, "text_pair": second, "label": label, "where": where}


def _drawn(count: int, limit: int) -> Indices:
    """Return which of `count` things to take, at most `limit`, in ascending order."""
    return np.sort(np.random.default_rng(_SEED).permutation(count)[:limit])

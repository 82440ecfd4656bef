"""A task made ready to train on: split, encoded, cut to a budget."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kdbench.api.task import Task, TaskKind
from kdbench.budgets import Budget
from kdbench.data.encoding import Counts, Encoder, read_table
from kdbench.data.loading import TaskData
from kdbench.data.splitting import Indices, choose
from kdbench.data.typos import encode_mistyped
from kdbench.utils.files import build_once

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase


_LAYOUT = 1
"""Raised when what `prepare` keeps on disk changes."""
_META = "meta.json"


@dataclass(frozen=True)
class PreparedTask:
    """A task's splits as rows of word pieces, cut to a budget.

    Columns: ``id`` (the row's number in the complete encoded split), ``example`` (the example's number in the split;
    a long sentence of tokens makes several rows), ``input_ids``, ``token_type_ids`` where the tokenizer has them,
    ``labels`` (class number; number; or for tokens a list with -100 on all but each word's first piece) and
    ``length`` in word pieces. Nothing is padded.
    """

    task: Task
    source: str
    fingerprint: str
    train: Dataset
    validation: Dataset
    scored: Dataset
    noisy: Dataset
    """Scored examples with typing errors (see `kdbench.data.typos`): all of them, or 1,000 where there are more."""
    unlabelled: Dataset
    """The rows of train that the budget leaves out; in place of a label `UNLABELLED`, or NaN in regression."""
    train_examples: int
    validation_examples: int
    scored_examples: int
    validation_split: str
    """The split that ``validation`` is a part of: ``train``, or ``validation`` where the data brings one."""
    duplicates: int
    """Examples of the whole scored split whose text stands in the whole of train, too."""
    label_counts: Mapping[str, int]
    """How often each label (for tokens: each tag) occurs in ``train``; empty for regression."""
    too_long_share: float
    """Share of all examples that do not fit into the maximum length: texts truncated, or sentences split."""
    unknown_share: float
    """Share of all word pieces that the tokenizer does not know."""
    paired: bool
    """Whether an example is two texts."""


def prepare(
    data: TaskData, budget: Budget, tokenizer: PreTrainedTokenizerBase, cache_dir: Path
) -> PreparedTask:
    """Return the splits of `data` encoded by `tokenizer` and cut to `budget`; encoded once, then read from the cache.

    Raises:
        UsageError: no validation part can be split off, or the cache cannot be written.
    """
    task = data.task
    encoder = Encoder(task, tokenizer, budget.max_length)
    folder = cache_dir / "encoded" / f"{task.name}-{data.fingerprint[:16]}-{encoder.key[:16]}-{_LAYOUT}"

    def encode(partial: Path) -> None:
        counts = [encoder.write(rows, partial / f"{name}.arrow") for name, rows in data.splits.items()]
        (partial / _META).write_text(json.dumps([asdict(count) for count in counts]), encoding="utf-8")

    build_once(folder, encode)
    counts = [Counts(**entry) for entry in json.loads((folder / _META).read_text(encoding="utf-8"))]
    rows = {name: read_table(folder / f"{name}.arrow") for name in data.splits}
    choice = choose(data, budget)
    return PreparedTask(
        task=task,
        source=data.source,
        fingerprint=data.fingerprint,
        train=_rows_of(rows["train"], choice.train),
        validation=_rows_of(rows[choice.validation_split], choice.validation),
        scored=_rows_of(rows[task.eval_split], choice.scored),
        noisy=encode_mistyped(
            data.splits[task.eval_split], choice.scored, budget.noisy_examples, encoder, folder
        ),
        unlabelled=without_labels(_rows_of(rows["train"], choice.unlabelled), task.kind),
        train_examples=len(choice.train),
        validation_examples=len(choice.validation),
        scored_examples=len(choice.scored),
        validation_split=choice.validation_split,
        duplicates=data.duplicates,
        label_counts=_label_counts(data, choice.train),
        too_long_share=sum(count.too_long for count in counts) / sum(count.examples for count in counts),
        unknown_share=sum(count.unknown for count in counts) / sum(count.pieces for count in counts),
        paired="text_pair" in data.splits["train"].column_names,
    )


def without_labels(rows: Dataset, kind: TaskKind) -> Dataset:
    """Return `rows`, of a task of `kind`, with every label hidden; what is `IGNORED` stays so."""
    labels = [kind.hide_label(label) for label in rows["labels"][:]]
    feature = rows.features["labels"]
    return rows.remove_columns("labels").add_column("labels", labels, feature=feature)


def _rows_of(encoded: Dataset, examples: Indices) -> Dataset:
    """Return the rows of `examples`, in order."""
    owners = encoded.data.column("example").to_numpy()
    return encoded.select(np.flatnonzero(np.isin(owners, examples)))


def _label_counts(data: TaskData, examples: Indices) -> Mapping[str, int]:
    kind = data.task.kind
    labels = data.splits["train"].data.column(kind.label_column).take(examples).to_pylist()
    found = Counter(name for label in labels for name in kind.names(label))
    return {label: found[label] for label in data.task.labels}


def overlaps(prepared: PreparedTask, partners: Iterable[PreparedTask]) -> Iterator[str]:
    """Yield a line for each of `partners` that is trained on texts which `prepared` scores.

    Args:
        prepared: a task that a joint strategy trains on.
        partners: all tasks that it trains on together, encoded by one tokenizer.
    """
    for partner in partners:
        if partner.task.name == prepared.task.name:
            continue
        repeated = texts_in_common(prepared.scored, partner.train)
        if repeated:
            yield (
                f"{repeated:,} of {prepared.scored_examples:,} scored examples stand in the training data of "
                f"{partner.task.name}"
            )


def texts_in_common(scored: Dataset, train: Dataset) -> int:
    """Return how many examples of `scored` read, word piece by word piece, like some row of `train`."""
    known = {tuple(pieces) for pieces in train["input_ids"][:]}
    rows = zip(scored["example"][:], scored["input_ids"][:], strict=True)
    return len({example for example, pieces in rows if tuple(pieces) in known})

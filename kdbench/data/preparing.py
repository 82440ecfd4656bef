"""Prepare a task for training: split, encode and limit it to a budget."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.api.task import Task, TaskKind
from kdbench.budgets import Budget
from kdbench.data.encoding import Counts, Encoder, read_table, rows_of, with_column
from kdbench.data.loading import TaskData
from kdbench.data.splitting import Choice, Indices, choose, groups_of
from kdbench.data.typos import encode_mistyped
from kdbench.utils.sealed import build_once

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase


_LAYOUT = 1
"""Incremented when the cached format of `prepare` changes."""
_META = "meta.json"


@dataclass(frozen=True)
class PreparedTask:
    """A task's splits as rows of word pieces, limited to a budget.

    Columns: ``id`` (the row's index in the complete encoded split), ``example`` (the example's index in the split; a long
    sentence of tagged words and, with the budget's windows, a long text have several rows), ``input_ids``, ``token_type_ids`` if the
    tokenizer has them, ``labels`` (class index; value; or for tokens a list with -100 on all but each word's first
    piece) and ``length`` in word pieces. Rows are not padded.
    """

    task: Task
    source: str
    fingerprint: str
    train: Dataset
    validation: Dataset
    scored: Dataset
    noisy: Dataset
    """Scored examples with typing errors (see `kdbench.data.typos`), at most the budget's `noisy_examples`."""
    unlabelled: Dataset
    """The rows of train that exceed the budget, with label `UNLABELLED`, or NaN in regression."""
    train_examples: int
    validation_examples: int
    scored_examples: int
    scored_groups: Indices | None
    """(scored_examples,), in ascending order of the examples: the number of each one's group, where the data have groups."""
    scored_split: str
    """The split that ``scored`` is taken from: the task's own, except in a search of parameters."""
    validation_split: str
    """The split that ``validation`` is taken from: ``train``, or ``validation`` if the data has one."""
    duplicates: int
    """The number of examples of the whole evaluation split whose text also occurs in the whole of train."""
    near_duplicates: int
    """The number of further ones of which nearly the text occurs there."""
    label_counts: Mapping[str, int]
    """How often each label (for tokens, each tag) occurs in ``train``; empty for regression."""
    too_long_share: float
    """Fraction of all examples that exceed the maximum length: truncated texts, or split sentences."""
    unknown_share: float
    """Fraction of all word pieces that are the tokenizer's unknown token."""
    paired: bool
    """Whether each example is a pair of texts."""
    remarks: tuple[str, ...] = ()
    """What readers noticed about the files."""


def prepare(
    data: TaskData,
    budget: Budget,
    tokenizer: PreTrainedTokenizerBase,
    cache_dir: Path,
    choice_of: Callable[[TaskData, Budget], Choice] = choose,
) -> PreparedTask:
    """Return the splits of `data` encoded with `tokenizer` and limited to `budget`; the encoding is cached.

    `choice_of` chooses the examples; those with typing errors are none where it scores another split than the task's.

    Raises:
        UsageError: no validation split can be held out, or the cache cannot be written.
    """
    task = data.task
    encoder = Encoder(task, tokenizer, budget.max_length, budget.window_stride)
    folder = cache_dir / "encoded" / f"{task.name}-{data.fingerprint[:16]}-{encoder.key[:16]}-{_LAYOUT}"

    def encode(partial: Path) -> None:
        counts = [encoder.write(rows, partial / f"{name}.arrow") for name, rows in data.splits.items()]
        (partial / _META).write_text(json.dumps([asdict(count) for count in counts]), encoding="utf-8")

    build_once(folder, encode)
    counts = [Counts(**entry) for entry in json.loads((folder / _META).read_text(encoding="utf-8"))]
    rows = {name: read_table(folder / f"{name}.arrow") for name in data.splits}
    choice = choice_of(data, budget)
    scored = rows_of(rows[choice.scored_split], choice.scored)
    return PreparedTask(
        task=task,
        source=data.source,
        fingerprint=data.fingerprint,
        train=rows_of(rows["train"], choice.train),
        validation=rows_of(rows[choice.validation_split], choice.validation),
        scored=scored,
        noisy=encode_mistyped(
            data.splits[task.eval_split], choice.scored, budget.noisy_examples, encoder, folder
        )
        if choice.scored_split == task.eval_split
        else scored.select([]),
        unlabelled=rows_of(without_labels(rows["train"], task.kind), choice.unlabelled),
        train_examples=len(choice.train),
        validation_examples=len(choice.validation),
        scored_examples=len(choice.scored),
        scored_groups=groups_of(data, choice.scored_split, choice.scored),
        scored_split=choice.scored_split,
        validation_split=choice.validation_split,
        duplicates=data.duplicates,
        near_duplicates=data.near_duplicates,
        label_counts=label_counts(
            task, data.splits["train"].data.column(task.kind.label_column).take(choice.train).to_pylist()
        ),
        too_long_share=sum(count.too_long for count in counts) / sum(count.examples for count in counts),
        unknown_share=sum(count.unknown for count in counts) / sum(count.pieces for count in counts),
        paired="text_pair" in data.splits["train"].column_names,
        remarks=data.remarks,
    )


def without_labels(rows: Dataset, kind: TaskKind) -> Dataset:
    """Return `rows`, of a task of `kind`, with every label hidden; `IGNORED` labels stay `IGNORED`."""
    return with_column(rows, "labels", [kind.hide_label(label) for label in rows["labels"][:]])


def label_counts(task: Task, labels: Iterable[Any]) -> Mapping[str, int]:
    """Return how often each of the task's labels (for tokens, each tag) occurs in the `labels` of examples."""
    counts = Counter(name for label in labels for name in task.kind.names(label))
    return {label: counts[label] for label in task.labels}


def without_scored(
    prepared: PreparedTask, partners: Iterable[PreparedTask]
) -> tuple[PreparedTask, list[str]]:
    """Return `prepared` without the training examples that some of `partners` score, and a sentence for each of these.

    A joint strategy trains on all `partners` together: on another task's data it would otherwise learn answers that it is
    scored by. All are encoded with the same tokenizer.
    """
    train, messages = prepared.train, []
    for partner in partners:
        if partner.task.name == prepared.task.name:
            continue
        repeated = examples_in_common(train, partner.scored)
        if repeated:
            examples = np.asarray(train["example"][:])
            train = train.select(np.flatnonzero(~np.isin(examples, list(repeated))))
            messages.append(
                f"trained without {len(repeated):,} of the {prepared.train_examples:,} training examples of "
                f"{prepared.task.name}, which {partner.task.name} scores"
            )
    if not messages:
        return prepared, []
    return replace(prepared, train=train, train_examples=len(set(train["example"][:]))), messages


def examples_in_common(rows: Dataset, others: Dataset) -> set[int]:
    """Return the examples of `rows` that have a row with the same word pieces as some row of `others`."""
    known = {tuple(pieces) for pieces in others["input_ids"][:]}
    pairs = zip(rows["example"][:], rows["input_ids"][:], strict=True)
    return {example for example, pieces in pairs if tuple(pieces) in known}

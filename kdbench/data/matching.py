"""Match what two tokenizers make of the same examples: the rows that a student reads and those that its teacher reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kdbench.api.task import IGNORED
from kdbench.data.batches import Pooling
from kdbench.data.encoding import example_numbers, rows_of, with_column

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

Integers = npt.NDArray[np.int64]
Pairs = Iterable[tuple["Dataset", "Dataset"]]
"""Rows of one tokenizer with the rows that another makes of the same examples."""

_ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def same_pieces(tokenizer: PreTrainedTokenizerBase, other: PreTrainedTokenizerBase) -> Integers:
    """Return for each id of `tokenizer` the id of the same word piece in `other`, -1 where that has none.

    Special tokens are matched by their role: BERT's ``[CLS]`` is MPNet's ``<s>``.
    """
    known = other.get_vocab()
    ids = np.full(len(tokenizer), -1, dtype=np.int64)
    for piece, number in tokenizer.get_vocab().items():
        ids[number] = known.get(piece, -1)
    for role in _ROLES:
        own, theirs = (getattr(side, f"{role}_id") for side in (tokenizer, other))
        if own is not None:
            ids[own] = -1 if theirs is None else theirs
    return ids


def in_other_ids(rows: Dataset, ids: Integers) -> Dataset:
    """Return `rows` with the other tokenizer's `ids`, for tokenizers that split the texts alike."""
    return with_column(rows, "input_ids", [ids[pieces].tolist() for pieces in rows["input_ids"][:]])


def are_split_alike(pairs: Pairs, ids: Integers) -> bool:
    """Return whether in each of `pairs` the second rows are the first ones in the other tokenizer's `ids`."""
    return all(_is_same(_pieces(rows), _pieces(other), ids) for rows, other in pairs)


def _pieces(rows: Dataset) -> tuple[Integers, Integers]:
    """Return the word pieces of all rows, concatenated, and how many each row has."""
    lists = rows.with_format("arrow")[:].column("input_ids").combine_chunks()
    return lists.flatten().to_numpy().astype(np.int64), lists.value_lengths().to_numpy().astype(np.int64)


def _is_same(first: tuple[Integers, Integers], second: tuple[Integers, Integers], ids: Integers) -> bool:
    return np.array_equal(first[1], second[1]) and np.array_equal(ids[first[0]], second[0])


def outputs_by_example(
    rows: Dataset,
    pairs: Pairs,
    compute: Callable[[Dataset], list[npt.NDArray[np.float32]]],
    *,
    per_word: bool,
    pooling: Pooling = "mean",
) -> list[npt.NDArray[np.float32]]:
    """Return for each of `rows` the outputs ``(units, classes)`` that a model with another tokenizer gives its example.

    A unit is a text or, if `per_word`, a word. A long sentence is split into rows between words, by each tokenizer at
    places of its own: the words of a row are found in the sentence by counting. Each word has an output, that of its
    first piece, since only further pieces of a word longer than a row are ever cut off.

    Args:
        rows: rows of the first tokenizer.
        pairs: the rows of both tokenizers of all examples that `rows` may belong to, split by split.
        compute: the model's outputs on rows of the second tokenizer.
        per_word: see above.
        pooling: what the output of a text is that is read in several windows: the mean or the largest over these.

    Raises:
        LookupError: some of `rows` are in none of `pairs`, since a strategy made them itself.
    """
    found: list[npt.NDArray[np.float32] | None] = [None] * len(rows)
    for own, other in pairs:
        left = np.flatnonzero([outputs is None for outputs in found])
        places = _places(rows.select(left), own)
        hits = np.flatnonzero(places >= 0)
        if not len(hits):
            continue
        examples, first, counts = example_numbers(own), *_words(own, per_word)
        outputs = _by_example(rows_of(other, np.unique(examples[places[hits]])), compute)
        for hit in hits:
            place = places[hit]
            whole = outputs[int(examples[place])]
            found[left[hit]] = (
                whole[first[place] : first[place] + counts[place]] if per_word else _pooled(whole, pooling)
            )
    if any(outputs is None for outputs in found):
        raise LookupError("rows that are in no split of the task")
    return [outputs for outputs in found if outputs is not None]


def _places(rows: Dataset, split: Dataset) -> Integers:
    """Return where each of `rows` is in `split`, by its id; -1 for others, or for all if they belong to another split."""
    ids, known = (np.asarray(side["id"][:], dtype=np.int64) for side in (rows, split))
    order = np.argsort(known)
    nearest = np.searchsorted(known, ids, sorter=order).clip(max=max(len(known) - 1, 0))
    if not len(known):
        return np.full(len(ids), -1)
    places = order[nearest]
    is_known = known[places] == ids
    same = rows.select(np.flatnonzero(is_known))["input_ids"][:]
    if same != split.select(places[is_known])["input_ids"][:]:
        return np.full(len(ids), -1)
    return np.where(is_known, places, -1)


def _words(rows: Dataset, per_word: bool) -> tuple[Integers, Integers]:
    """Return for each row the number of its first word in its example, and how many words it has."""
    if not per_word:
        return np.zeros(len(rows), dtype=np.int64), np.ones(len(rows), dtype=np.int64)
    counts = np.array([sum(label != IGNORED for label in labels) for labels in rows["labels"][:]])
    before = np.cumsum(counts) - counts
    examples = example_numbers(rows)
    starts = np.flatnonzero(np.append(True, examples[1:] != examples[:-1])) if len(rows) else examples
    rows_of_example = np.diff(np.append(starts, len(rows)))
    return before - np.repeat(before[starts], rows_of_example), counts


def _pooled(windows: npt.NDArray[np.float32], pooling: Pooling) -> npt.NDArray[np.float32]:
    pooled: npt.NDArray[np.float32] = (
        windows.max(axis=0, keepdims=True) if pooling == "max" else windows.mean(axis=0, keepdims=True)
    )
    return pooled


def _by_example(
    rows: Dataset, compute: Callable[[Dataset], list[npt.NDArray[np.float32]]]
) -> dict[int, npt.NDArray[np.float32]]:
    parts: dict[int, list[npt.NDArray[np.float32]]] = {}
    for example, outputs in zip(example_numbers(rows).tolist(), compute(rows), strict=True):
        parts.setdefault(example, []).append(outputs)
    return {example: np.concatenate(outputs) for example, outputs in parts.items()}

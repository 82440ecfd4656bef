"""Augment training rows with unlabelled variations for the teacher to label (Tang et al. 2019, section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from kdbench import IGNORED, Bench, TaskKind, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


FIRST_AUGMENTED_ID = 2**40
"""The first ``id`` and ``example`` of augmented rows, larger than any split."""
NEIGHBOURS = 15
"""The number of nearest words that a replacement is drawn from: K of Jiao et al. 2020 (arXiv:1909.10351), section 4.2."""
_LONGEST_NGRAM = 5
_CHUNK = 1024
"""Words whose similarities to all others are held in memory at once."""
_MARKS = (("##", False), ("Ġ", True), ("▁", True))
"""Prefixes of word pieces, and whether a piece with the prefix begins a word (or continues one)."""


def augmented_rows(
    bench: Bench,
    *,
    copies: int,
    seed: int,
    mask_rate: float = 0.1,
    replace_rate: float = 0.1,
    ngram_rate: float = 0.25,
) -> datasets.Dataset:
    """Return the task's training rows followed by up to `copies` variations of each, whose labels are hidden.

    In a variation each word becomes ``[MASK]`` with probability `mask_rate`, or, with probability `replace_rate`, another
    word: one of the `NEIGHBOURS` nearest words of the training rows by the teacher's word embeddings, drawn in
    proportion to their frequency there. Only words of one piece are replaced. Then, with probability `ngram_rate`, a
    text is cut to an n-gram of one to five words; never in token classification. In text pairs the variations change
    the first text, the second and both in turn. A variation equal to its row or to an earlier variation of it is
    dropped.

    Raises:
        UsageError: the tokenizer has no mask token.
    """
    train, tokenizer = bench.task.train, bench.tokenizer
    if bench.kind not in list(TaskKind):
        raise UsageError(
            f"task {bench.task.task.name!r}: rows of the kind {str(bench.kind)!r} cannot be augmented, since a plugin "
            "defines its labels; set augmentation=false"
        )
    if tokenizer.mask_token_id is None:
        raise UsageError(
            f"task {bench.task.task.name!r}: {type(tokenizer).__name__} has no mask token, which augmentation needs; "
            "set augmentation=false"
        )
    words = Words(train, tokenizer)
    replacements = _Replacements(words, bench.teacher_embeddings().cpu().numpy())
    if bench.kind.per_word:
        ngram_rate = 0.0
    draw = np.random.default_rng(seed)
    variations = [
        words.variation(
            draw,
            words.texts_changed_by(copy),
            replacements,
            mask=tokenizer.mask_token_id,
            rates=(mask_rate, replace_rate, ngram_rate),
        )
        for copy in range(copies)
    ]
    if not variations:
        return train
    rows = datasets.Dataset(pa.concat_tables(variations).cast(train.features.arrow_schema))
    new = _new_variations(words.rows.column("input_ids"), rows.data.column("input_ids"))
    numbers = pa.array(FIRST_AUGMENTED_ID + np.arange(len(new)))
    table = rows.data.table.take(new)
    for name in ("id", "example"):
        table = table.set_column(table.column_names.index(name), table.schema.field(name), numbers)
    hidden = bench.hide_labels(datasets.Dataset(table)).select_columns(train.column_names)
    return datasets.concatenate_datasets([train, hidden])


class Words:
    """Locate the words and texts of encoded rows, whose word pieces are concatenated.

    Arrays per piece have an element for each piece of all rows; arrays per word or text number these across all rows.
    """

    def __init__(self, rows: datasets.Dataset, tokenizer: PreTrainedTokenizerBase) -> None:
        self.rows: pa.Table = rows.with_format("arrow")[:].combine_chunks()
        pieces = self.rows.column("input_ids").combine_chunks()
        self.ids = pieces.flatten().to_numpy()
        self.row = np.repeat(np.arange(len(pieces)), pieces.value_lengths().to_numpy())
        opens_row = np.diff(self.row, prepend=-1) != 0
        # Unknown and masked words are words; the special tokens around texts are not.
        special = {*tokenizer.all_special_ids} - {tokenizer.unk_token_id, tokenizer.mask_token_id}
        self.is_special = np.isin(self.ids, [*special])
        opens_text = ~self.is_special & (opens_row | np.concatenate([[True], self.is_special[:-1]]))
        begins, self.is_word = read_vocabulary(tokenizer)
        self.is_first = ~self.is_special & (begins[self.ids] | opens_text)
        if pa.types.is_list(self.rows.schema.field("labels").type):
            self.is_first = self.rows.column("labels").combine_chunks().flatten().to_numpy() != IGNORED
        self.word = np.cumsum(self.is_first) - 1
        """Per piece, the number of its word; undefined for special tokens."""
        self.first_ids = self.ids[self.is_first]
        """Per word, the id of its first piece."""
        self.is_whole = np.bincount(self.word[~self.is_special], minlength=len(self.first_ids)) == 1
        """Per word, whether it is a single piece."""
        self.text = (np.cumsum(opens_text) - 1)[self.is_first]
        """Per word, the number of its text."""
        self.row_of_text = self.row[opens_text]
        self.is_second = np.diff(self.row_of_text, prepend=-1) == 0
        """Per text, whether it is the second text of its row."""
        self.is_paired = self.is_second | np.append(self.is_second[1:], False)

    def texts_changed_by(self, copy: int) -> np.ndarray:
        """Return per text whether variation number `copy`, counted from 0, changes it.

        In pairs it is the first text, the second and both in turn, from copy to copy and from row to row.
        """
        turn = (copy + self.row_of_text) % 3
        changed: np.ndarray = ~self.is_paired | (turn == 2) | (self.is_second == (turn == 1))
        return changed

    def variation(
        self,
        draw: np.random.Generator,
        changed: np.ndarray,
        replacements: _Replacements,
        *,
        mask: int,
        rates: tuple[float, float, float],
    ) -> pa.Table:
        """Return one variation of every row, with the ids and labels of the original rows."""
        mask_rate, replace_rate, ngram_rate = rates
        chance = draw.random(len(self.text))
        may_change = changed[self.text]
        masked = may_change & (chance < mask_rate)
        replaced = may_change & ~masked & (chance < mask_rate + replace_rate) & self.is_whole
        words = np.where(masked, mask, self.first_ids)
        words[replaced] = replacements.of(words[replaced], draw)
        ids = self.ids.copy()
        ids[self.is_first] = words
        in_ngram = self._in_ngram(draw, changed & (draw.random(len(changed)) < ngram_rate))
        kept = self.is_special | (in_ngram[self.word] & (self.is_first | ~masked[self.word]))
        lengths = np.bincount(self.row[kept], minlength=len(self.rows))
        ends = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
        table = self.rows
        for index, field in enumerate(table.schema):
            if field.name == "length":
                table = table.set_column(index, field, pa.array(lengths, field.type))
            elif pa.types.is_list(field.type):
                old = table.column(index).combine_chunks().flatten().to_numpy()
                values = ids if field.name == "input_ids" else old
                listed = pa.ListArray.from_arrays(ends, pa.array(values[kept], field.type.value_type))
                table = table.set_column(index, field.name, listed)
        return table

    def _in_ngram(self, draw: np.random.Generator, cut: np.ndarray) -> np.ndarray:
        """Return per word whether it stays when each text of `cut` is reduced to one n-gram."""
        sizes = np.bincount(self.text, minlength=len(cut))
        lengths = draw.integers(1, _LONGEST_NGRAM, size=len(cut), endpoint=True)
        starts = (draw.random(len(cut)) * (np.maximum(sizes - lengths, 0) + 1)).astype(int)
        place = np.arange(len(self.text)) - (np.cumsum(sizes) - sizes)[self.text]
        inside = (place >= starts[self.text]) & (place < (starts + lengths)[self.text])
        kept: np.ndarray = inside | ~cut[self.text]
        return kept


class _Replacements:
    """Draw replacements of words: the nearest words by embedding, in proportion to their frequency."""

    def __init__(self, words: Words, embeddings: np.ndarray) -> None:
        usable = words.first_ids[words.is_whole & words.is_word[words.first_ids]]
        self._ids, counts = np.unique(usable, return_counts=True)
        """Ascending."""
        count = min(NEIGHBOURS, len(self._ids) - 1)
        vectors = embeddings[self._ids]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
        nearest = [np.empty((0, 0), dtype=int)]
        for start in range(0, len(vectors) if count > 0 else 0, _CHUNK):
            similarity = vectors[start : start + _CHUNK] @ vectors.T
            similarity[
                np.arange(len(similarity)), start + np.arange(len(similarity))
            ] = -np.inf  # not the word itself
            nearest.append(torch.from_numpy(similarity).topk(count).indices.numpy())
        self._nearest = np.concatenate(nearest[1:] or nearest)
        self._chances = np.cumsum(counts[self._nearest], axis=1, dtype=float)

    def of(self, ids: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        """Return a replacement for each of `ids`; an id that is not a word of letters, or has no neighbour, stays."""
        drawn = draw.random(len(ids))
        if self._nearest.size == 0:
            return ids
        places = np.searchsorted(self._ids, ids).clip(max=len(self._ids) - 1)
        chances = self._chances[places]
        chosen = (chances > (drawn * chances[:, -1])[:, None]).argmax(axis=1)
        return np.where(self._ids[places] == ids, self._ids[self._nearest[places, chosen]], ids)


def read_vocabulary(tokenizer: PreTrainedTokenizerBase) -> tuple[np.ndarray, np.ndarray]:
    """Return per id whether the piece begins a word, and whether it does so and consists of letters alone.

    Without a known prefix in the vocabulary, every piece begins a word.
    """
    pieces = [str(piece) for piece in tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))]
    begins = np.ones(len(pieces), dtype=bool)
    for mark, marks_beginning in _MARKS:
        marked = np.array([piece.startswith(mark) for piece in pieces])
        if marked.mean() > 0.01:
            begins = marked == marks_beginning
            break
    letters = np.array([piece.lstrip("Ġ▁").isalpha() for piece in pieces])
    return begins, begins & letters


def _new_variations(rows: pa.ChunkedArray, variations: pa.ChunkedArray) -> np.ndarray:
    """Return the indices of the variations that differ from their original row and from its earlier variations."""
    texts = pd.DataFrame({"pieces": [*_texts(rows), *_texts(variations)]})
    texts["row"] = np.arange(len(texts)) % len(rows)
    return np.flatnonzero(~texts.duplicated()[len(rows) :])


def _texts(lists: pa.ChunkedArray) -> list[bytes]:
    whole = lists.combine_chunks()
    ends = whole.offsets.to_numpy()[1:-1] - whole.offsets[0].as_py()
    return [pieces.tobytes() for pieces in np.split(whole.flatten().to_numpy(), ends)]

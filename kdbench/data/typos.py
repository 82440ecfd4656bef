"""Add typing errors to scored examples, to measure how much a model depends on correct spelling."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.data.encoding import Encoder, example_numbers, read_table, with_column
from kdbench.data.splitting import Indices
from kdbench.utils.files import content_hash
from kdbench.utils.sealed import build_once

if TYPE_CHECKING:
    from datasets import Dataset


SHARE = 0.1
"""The probability that an eligible word gets a typing error; at least one does."""

_WORD = re.compile(r"[^\W\d_]{4,}")
"""Eligible words have four letters or more: a change inside a shorter word often makes another word."""
_KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def add_typos(texts: Sequence[str], seed: int) -> list[str]:
    """Return `texts`, which belong to one example, with typing errors in about a tenth of their longer words.

    A chosen word (four letters or more, of any alphabet) gets one error of three equally likely kinds: two adjacent
    letters are swapped, a letter is replaced by its neighbour on a QWERTY keyboard, or a letter is dropped. The first
    and last letters, by which readers recognize words, stay. These are kinds of errors of Pruthi et al. 2019,
    arXiv:1905.11268, drawn at random rather than adversarially; the first two are also in Belinkov and Bisk 2018,
    arXiv:1711.02173. If no word is drawn, one gets an error anyway; texts without a longer word stay unchanged.

    Args:
        texts: a text, a pair of texts or the words of a sentence; each is changed separately, and none becomes empty.
        seed: determines the errors.
    """
    rng = random.Random(f"typos/{seed}")
    words = [(index, *match.span()) for index, text in enumerate(texts) for match in _WORD.finditer(text)]
    if not words:
        return list(texts)
    chosen = [word for word in words if rng.random() < SHARE] or [rng.choice(words)]
    mistyped = list(texts)
    for index, start, end in reversed(chosen):  # from the end, so that earlier positions stay valid
        text = mistyped[index]
        mistyped[index] = text[:start] + _add_typo(text[start:end], rng) + text[end:]
    return mistyped


def _add_typo(word: str, rng: random.Random) -> str:
    """Return `word` with one error inside, of the first kind in random order that changes it."""
    kinds = rng.sample(_KINDS, len(_KINDS))
    return next(changed for kind in kinds for changed in [kind(word, rng)] if changed != word)


def _swap_letters(word: str, rng: random.Random) -> str:
    places = [place for place in range(1, len(word) - 2) if word[place] != word[place + 1]]
    if not places:
        return word
    place = rng.choice(places)
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def _hit_neighbour(word: str, rng: random.Random) -> str:
    places = [place for place in range(1, len(word) - 1) if word[place].lower() in NEIGHBOURS]
    if not places:
        return word
    place = rng.choice(places)
    key = rng.choice(NEIGHBOURS[word[place].lower()])
    return word[:place] + (key.upper() if word[place].isupper() else key) + word[place + 1 :]


def _drop_letter(word: str, rng: random.Random) -> str:
    place = rng.randrange(1, len(word) - 1)
    return word[:place] + word[place + 1 :]


_KINDS: tuple[Callable[[str, random.Random], str], ...] = (_swap_letters, _hit_neighbour, _drop_letter)


def _neighbours() -> dict[str, str]:
    """Return the keys adjacent to each key; each row is offset by half a key to the right of the row above."""
    places = {
        key: (column + row / 2, row) for row, keys in enumerate(_KEYBOARD) for column, key in enumerate(keys)
    }
    around = dict.fromkeys(places, "")
    for (key, (x, y)), (other, (other_x, other_y)) in product(places.items(), repeat=2):
        if key != other and (x - other_x) ** 2 + (y - other_y) ** 2 < 2:
            around[key] += other
    return around


NEIGHBOURS = _neighbours()
"""The adjacent keys of each key of a QWERTY keyboard."""


_LAYOUT = 1
"""Incremented when the errors change."""
_SEED = 22
_TEXTS = ("text", "text_pair")


def encode_mistyped(split: Dataset, scored: Indices, limit: int, encoder: Encoder, encoded: Path) -> Dataset:
    """Return at most `limit` of the examples `scored` with typing errors; encoded once and cached.

    The sample and its errors depend only on the task's data, so that they are the same for every strategy and seed.
    `scored` are indices of `split`, the whole evaluation split, and the rows' ``example`` is that index. The result is
    cached beside `encoded`, the folder of the encoded splits.
    """
    drawn = np.random.default_rng(_SEED).permutation(len(scored))[:limit]
    chosen = scored[np.sort(drawn)]
    key = content_hash([_LAYOUT, SHARE, chosen.tolist()])
    folder = build_once(
        encoded.with_name(f"{encoded.name}-typos-{key}"),
        lambda partial: encoder.write(_mistype_rows(split.select(chosen), chosen), partial / "scored.arrow"),
    )
    rows = read_table(folder / "scored.arrow")
    return with_column(rows, "example", chosen[example_numbers(rows)].tolist())


def _mistype_rows(rows: Dataset, examples: Indices) -> Dataset:
    """Return `rows` with errors in their texts or words, each row seeded by its index in `examples`."""
    columns: dict[str, list[Any]] = rows.to_dict()
    seeds = examples.tolist()
    if "words" in columns:
        columns["words"] = [
            add_typos(words, seed) for words, seed in zip(columns["words"], seeds, strict=True)
        ]
        return type(rows).from_dict(columns)
    names = [name for name in _TEXTS if name in columns]
    text_groups = zip(*(columns[name] for name in names), strict=True)
    mistyped = [add_typos(texts, seed) for texts, seed in zip(text_groups, seeds, strict=True)]
    columns |= {name: list(texts) for name, texts in zip(names, zip(*mistyped, strict=True), strict=True)}
    return type(rows).from_dict(columns)

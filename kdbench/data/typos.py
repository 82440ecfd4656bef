"""Typing errors in text: how far a model's answers hang on correct spelling."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.data.encoding import Encoder, read_table
from kdbench.data.splitting import Indices
from kdbench.utils.files import build_once, content_hash

if TYPE_CHECKING:
    from datasets import Dataset


SHARE = 0.1
"""Of the words that may be mistyped, each with this probability; one at least."""

_WORD = re.compile(r"[^\W\d_]{4,}")
"""Four letters or more: a shorter word's inner letters decide which word it is."""
_KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def add_typos(texts: Sequence[str], seed: int) -> list[str]:
    """Return `texts`, which belong to one example, with typing errors in about a tenth of their longer words.

    A chosen word (four letters or more, of any alphabet) gets one error of three kinds alike likely: two neighbouring
    letters change places, a letter becomes its neighbour on a QWERTY keyboard, or a letter is lost. First and last
    letters stay, by which readers know words. These are kinds of Pruthi et al. 2019, arXiv:1905.11268, drawn at random
    and not against the model; the first two are also in Belinkov and Bisk 2018, arXiv:1711.02173. Where chance chose
    no word, one is mistyped all the same; texts without a longer word stay as they are.

    Args:
        texts: a text, a pair of texts or the words of a sentence; each stays apart, and none becomes empty.
        seed: fixes the errors.
    """
    draw = random.Random(f"typos/{seed}")
    words = [(index, *found.span()) for index, text in enumerate(texts) for found in _WORD.finditer(text)]
    if not words:
        return list(texts)
    chosen = [word for word in words if draw.random() < SHARE] or [draw.choice(words)]
    mistyped = list(texts)
    for index, start, end in reversed(chosen):  # from the end, so that earlier places hold
        text = mistyped[index]
        mistyped[index] = text[:start] + _typo(text[start:end], draw) + text[end:]
    return mistyped


def _typo(word: str, draw: random.Random) -> str:
    """Return `word` with one error inside, of the first kind in random order that changes it."""
    kinds = draw.sample(_KINDS, len(_KINDS))
    return next(changed for kind in kinds for changed in [kind(word, draw)] if changed != word)


def _swapped(word: str, draw: random.Random) -> str:
    places = [place for place in range(1, len(word) - 2) if word[place] != word[place + 1]]
    if not places:
        return word
    place = draw.choice(places)
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def _mishit(word: str, draw: random.Random) -> str:
    places = [place for place in range(1, len(word) - 1) if word[place].lower() in NEIGHBOURS]
    if not places:
        return word
    place = draw.choice(places)
    hit = draw.choice(NEIGHBOURS[word[place].lower()])
    return word[:place] + (hit.upper() if word[place].isupper() else hit) + word[place + 1 :]


def _dropped(word: str, draw: random.Random) -> str:
    place = draw.randrange(1, len(word) - 1)
    return word[:place] + word[place + 1 :]


_KINDS: tuple[Callable[[str, random.Random], str], ...] = (_swapped, _mishit, _dropped)


def _neighbours() -> dict[str, str]:
    """Return the keys around each key; a row stands half a key to the right of the row above."""
    places = {
        key: (column + row / 2, row) for row, keys in enumerate(_KEYBOARD) for column, key in enumerate(keys)
    }
    around = dict.fromkeys(places, "")
    for (key, (x, y)), (other, (other_x, other_y)) in product(places.items(), repeat=2):
        if key != other and (x - other_x) ** 2 + (y - other_y) ** 2 < 2:
            around[key] += other
    return around


NEIGHBOURS = _neighbours()
"""The keys around each key."""


_LAYOUT = 1
"""Raised when the errors change."""
_SEED = 22
_TEXTS = ("text", "text_pair")


def encode_mistyped(split: Dataset, scored: Indices, most: int, encoder: Encoder, encoded: Path) -> Dataset:
    """Return `most` of the examples `scored` with typing errors, or all if these are fewer; encoded once and kept.

    Which ones, and their errors, follow from the task's data alone, so that every strategy and seed reads the same.

    Args:
        split: the examples of the whole scored split, as `load_task` returns them.
        scored: the examples that the budget scores, by index; the rows' ``example`` is that index.
        most: a bound on what robustness costs.
        encoded: the folder of the encoded splits; this one goes beside it.
    """
    drawn = np.random.default_rng(_SEED).permutation(len(scored))[:most]
    chosen = scored[np.sort(drawn)]
    what = content_hash([_LAYOUT, SHARE, chosen.tolist()])
    folder = build_once(
        encoded.with_name(f"{encoded.name}-typos-{what}"),
        lambda partial: encoder.write(_mistyped(split.select(chosen), chosen), partial / "scored.arrow"),
    )
    rows = read_table(folder / "scored.arrow")
    examples = chosen[np.asarray(rows["example"][:], dtype=np.int64)].tolist()
    feature = rows.features["example"]
    columns = rows.column_names
    numbered = rows.remove_columns("example").add_column("example", examples, feature=feature)
    return numbered.select_columns(columns)


def _mistyped(rows: Dataset, examples: Indices) -> Dataset:
    """Return `rows` with errors in their texts or words, each drawn for its number in `examples`."""
    columns: dict[str, list[Any]] = rows.to_dict()
    seeds = examples.tolist()
    if "words" in columns:
        columns["words"] = [
            add_typos(words, seed) for words, seed in zip(columns["words"], seeds, strict=True)
        ]
        return type(rows).from_dict(columns)
    names = [name for name in _TEXTS if name in columns]
    together = zip(*(columns[name] for name in names), strict=True)
    mistyped = [add_typos(texts, seed) for texts, seed in zip(together, seeds, strict=True)]
    columns |= {name: list(texts) for name, texts in zip(names, zip(*mistyped, strict=True), strict=True)}
    return type(rows).from_dict(columns)

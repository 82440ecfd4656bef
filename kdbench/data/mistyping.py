"""The scored examples once more, with typing errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.data.cache import build_once
from kdbench.data.encoding import Encoder
from kdbench.data.noise import SHARE, add_typos
from kdbench.data.splitting import Indices
from kdbench.data.tables import read_table
from kdbench.keys import content_hash

if TYPE_CHECKING:
    from datasets import Dataset

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

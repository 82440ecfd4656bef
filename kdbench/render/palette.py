"""Assign a colour and a marker to each family of strategies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#999999", "#000000")
"""Distinguishable with any colour vision (Okabe and Ito 2008), strong colours first."""
LINE_COLOURS = _COLOURS[:-1]
"""Without black, in which the teacher's line is drawn."""
_SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "triangle-down",
    "cross",
    "triangle-left",
    "triangle-right",
)
"""By their names in Vega."""


@dataclass(frozen=True)
class Look:
    """The colour and marker of a family's points."""

    colour: str
    shape: str


def family_looks(families: Iterable[str]) -> dict[str, Look]:
    """Return the look of each of `families`, in alphabetical order; looks repeat after eight."""
    return {
        family: Look(_COLOURS[i % len(_COLOURS)], _SHAPES[i % len(_SHAPES)])
        for i, family in enumerate(sorted(set(families)))
    }

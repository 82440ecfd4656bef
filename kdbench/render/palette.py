"""How each family of strategies is drawn: a colour and a marker of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#999999", "#000000")
"""Told apart with any colour vision (Okabe and Ito 2008), the strong ones first; the last in black."""
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
"""As Vega names them."""


@dataclass(frozen=True)
class Look:
    """How a family's points are drawn."""

    colour: str
    shape: str


def family_looks(families: Iterable[str]) -> dict[str, Look]:
    """Return the look of each of `families`, in the order of their names; beyond eight they begin again."""
    return {
        family: Look(_COLOURS[i % len(_COLOURS)], _SHAPES[i % len(_SHAPES)])
        for i, family in enumerate(sorted(set(families)))
    }

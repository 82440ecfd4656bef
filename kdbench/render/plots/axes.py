"""Lay out the axes of pictures, so that pixels are known before anything is drawn."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import altair as alt

from kdbench.render.plots.names import text_widths
from kdbench.render.plots.rows import DrawnRow

_LEAST_ROOM = 2.0
"""In percent points."""


@dataclass(frozen=True)
class Extent:
    """An axis: its ends, and what of a panel a value is away from the low one."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def of_logs(cls, values: Iterable[float], margin: float, above: float | None = None) -> Extent:
        """Return the logarithmic axis of `values`, which leaves these shares of it free on its low and high side."""
        values = list(values)
        ratio = max(values) / min(values)
        ratio = ratio if ratio > 1 else 2.0
        return cls(
            min(values) / ratio**margin, max(values) * ratio ** (margin if above is None else above), log=True
        )

    def share(self, value: float) -> float:
        """Return 0 for the low end, 1 for the high one."""
        if self.log:
            return log(value / self.low) / log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    @property
    def scale(self) -> alt.Scale:
        """The same for Vega-Lite."""
        if self.log:
            return alt.Scale(type="log", domain=[self.low, self.high], nice=False)
        return alt.Scale(domain=[self.low, self.high], nice=False, zero=False)

    @property
    def ticks(self) -> list[float]:
        """1, 2 and 5 of each power of ten, for an axis of logarithms."""
        marked = [digit * 10.0**power for power in range(-9, 16) for digit in (1, 2, 5)]
        return [value for value in marked if self.low <= value <= self.high]

    def axis(self, **options: Any) -> alt.Axis:
        """Return the marks of an axis of logarithms, in digits."""
        few = {"values": self.ticks} if len(self.ticks) > 1 else {"tickCount": 4}
        return alt.Axis(labelExpr="format(datum.value, datum.value < 1 ? '~g' : '~s')", **few, **options)


def score_limits(rows: Iterable[DrawnRow], others: Iterable[float] = ()) -> Extent:
    """Return the ends of an axis of scores in percent: every row's mean and seeds, and `others`.

    Intervals have half as much room again, so that one row of few and unlike seeds does not press all others together.
    """
    rows = list(rows)
    scores = [score for row in rows for score in (row.score, *row.seed_scores)]
    ends = [end for row in rows if row.interval for end in row.interval]
    room = max((max(scores) - min(scores)) / 2, _LEAST_ROOM)
    low = max(min([*scores, *ends]), min(scores) - room)
    high = min(max([*scores, *ends]), max(scores) + room)
    margin = 0.03 * (high - low)
    return Extent(min([low, *others]) - margin, max([high, *others]) + margin)


_TICK = 12
"""What a tick takes beside a name, in pixels."""
LABEL_SIZE = 12
"""Of what stands along an axis."""


def name_lines(names: Sequence[str]) -> alt.Y:
    """Return the vertical axis with `names` down it, the first on top, by the field ``place``."""
    return alt.Y(
        "place:Q",
        title=None,
        scale=alt.Scale(domain=[len(names) - 0.4, -0.6], nice=False, zero=False),
        axis=alt.Axis(
            values=list(range(len(names))),
            grid=False,
            labelExpr=f"{json.dumps(list(names))}[datum.value]",
            minExtent=max(text_widths(names, LABEL_SIZE)) + _TICK,
        ),
    )


def height(lines: int) -> float:
    """Return the pixels that a list of so many names needs."""
    return 21.0 * lines

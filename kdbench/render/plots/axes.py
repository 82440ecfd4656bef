"""Compute the axes of plots, so that pixel positions are known before drawing."""

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
"""The least room for intervals beside the scores, in percentage points."""


@dataclass(frozen=True)
class Extent:
    """The ends of an axis, linear or logarithmic."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def of_logs(cls, values: Iterable[float], margin: float, above: float | None = None) -> Extent:
        """Return a logarithmic axis of `values` with the shares `margin` and `above` of their range free at its ends."""
        values = list(values)
        low, high = min(values), max(values)
        ratio = high / low if high > low else 2.0
        return cls(low / ratio**margin, high * ratio ** (margin if above is None else above), log=True)

    def share(self, value: float) -> float:
        """Return the position of `value` on the axis: 0 at the low end, 1 at the high end."""
        if self.log:
            return log(value / self.low) / log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    @property
    def scale(self) -> alt.Scale:
        """The axis as a Vega-Lite scale."""
        if self.log:
            return alt.Scale(type="log", domain=[self.low, self.high], nice=False)
        return alt.Scale(domain=[self.low, self.high], nice=False, zero=False)

    @property
    def ticks(self) -> list[float]:
        """The ticks of a logarithmic axis: 1, 2 and 5 times each power of ten."""
        candidates = [digit * 10.0**power for power in range(-9, 16) for digit in (1, 2, 5)]
        return [value for value in candidates if self.low <= value <= self.high]

    def axis(self, **options: Any) -> alt.Axis:
        """Return a logarithmic axis with ticks labelled as plain numbers."""
        ticks = {"values": self.ticks} if len(self.ticks) > 1 else {"tickCount": 4}
        return alt.Axis(labelExpr="format(datum.value, datum.value < 1 ? '~g' : '~s')", **ticks, **options)


def score_limits(rows: Iterable[DrawnRow], others: Iterable[float] = ()) -> Extent:
    """Return an axis of scores in percent that contains every row's mean and seeds, and `others`.

    Intervals extend the axis by at most half its range per side, so that one wide interval does not squeeze all others.
    """
    rows = list(rows)
    scores = [score for row in rows for score in (row.score, *row.seed_scores)]
    ends = [end for row in rows if row.interval for end in row.interval]
    room = max((max(scores) - min(scores)) / 2, _LEAST_ROOM)
    low = max(min([*scores, *ends]), min(scores) - room)
    high = min(max([*scores, *ends]), max(scores) + room)
    margin = 0.03 * (high - low) or _LEAST_ROOM  # of equal scores without intervals
    return Extent(min([low, *others]) - margin, max([high, *others]) + margin)


_TICK = 12
"""The width of a tick beside a name, in pixels."""
LABEL_SIZE = 12
"""The font size of axis labels and titles."""


def name_lines(names: Sequence[str]) -> alt.Y:
    """Return the vertical axis labelled with `names`, the first on top, by the field ``place``."""
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
    """Return the height in pixels of a panel with `lines` names."""
    return 21.0 * lines

"""Plot scores, gaps recovered and ranks by strategy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from kdbench.board.figures import FIGURES
from kdbench.render.palette import family_looks
from kdbench.render.plots.axes import Extent, height, name_lines, score_limits
from kdbench.render.plots.files import Specification, specification
from kdbench.render.plots.layers import (
    QUIET,
    chart_of,
    family_encoding,
    interval_layers,
    look_encoding,
    marks_layer,
    note,
    panel,
)
from kdbench.render.plots.rows import DrawnRow

_WIDTH = 520
_TICKS = 8
"""The approximate number of ticks on an axis of scores."""


def scores_picture(task: str, metric: str, majority: float | None, rows: list[DrawnRow]) -> Specification:
    """Return the plot of one task's scores, best first: means with intervals, and every seed as a point.

    `majority` is the score of always predicting the most frequent label, as a fraction.
    """
    limits = score_limits(rows, [] if majority is None else [100 * majority])
    values = [{"place": place, **row.value} for place, row in enumerate(rows)]
    seeds = [
        {"place": place, "score": score}
        for place, row in enumerate(rows)
        if len(row.seed_scores) > 1
        for score in row.seed_scores
    ]
    colour, shape = family_encoding(rows)
    title = f"{metric}, %: mean and 95% interval" + ("; white: single seeds" if seeds else "")
    x = alt.X("score:Q", title=title, scale=limits.scale, axis=alt.Axis(tickCount=_TICKS))
    y = name_lines([row.name for row in rows])
    layers: list[alt.Chart] = []
    if majority is not None:
        layers += _reference(100 * majority, "most frequent label", x, align="left", dx=4)
    layers += interval_layers(values, limits, y, colour, strokeWidth=2)
    layers.append(marks_layer(values, rows).encode(x=x, y=y, color=colour, shape=shape))
    if seeds:
        white = chart_of(seeds).mark_point(size=16, stroke="black", strokeWidth=0.8, fill="white", opacity=1)
        layers.append(white.encode(x=x, y=y))
    return _picture(f"{task}: scores", len(rows), layers)


def _picture(title: str, lines: int, layers: Sequence[alt.Chart]) -> Specification:
    return specification(panel(*layers, width=_WIDTH, height=height(lines), title=title))


def _reference(value: float, name: str, x: alt.X, **style: Any) -> list[alt.Chart]:
    """Return a line across the panel at `value` of its axis `x`, with its name above."""
    line = chart_of([{"score": value}]).mark_rule(color=QUIET, strokeDash=[1.5, 2.5]).encode(x=x)
    return [line, note(name, alt.datum(value), **style)]


_EDGE = 250.0
"""In percent; values beyond are written, not plotted, since a small lead of the teacher makes any share large."""


def gap_picture(task: str, rows: list[DrawnRow]) -> Specification | None:
    """Return the plot of the gap recovered, for rows whose teacher leads their control significantly, or None."""
    known = [row for row in rows if FIGURES["gap_recovered"].value(row.row) is not None]
    if not known:
        return None
    known.sort(key=lambda row: (-row.row["gap_recovered"], row.name))
    values = [
        {
            "place": place,
            "family": row.family,
            "score": 100 * row.row["gap_recovered"],
            "low": None if row.row["gap_low"] is None else 100 * row.row["gap_low"],
            "high": None if row.row["gap_high"] is None else 100 * row.row["gap_high"],
        }
        for place, row in enumerate(known)
    ]
    ends = [value[end] for value in values for end in ("score", "low", "high")]
    limits = _gap_limits([end for end in ends if end is not None])
    colour, shape = family_encoding(known)
    title = ["gap recovered, %, and its 95% interval,", "where the teacher leads the control significantly"]
    x = alt.X("score:Q", title=title, scale=limits.scale, axis=alt.Axis(tickCount=_TICKS))
    y = name_lines([f"{row.name} over {row.row['control']}" for row in known])
    inside = [value for value in values if abs(value["score"]) <= _EDGE]
    layers = [
        *_reference(0, "control", x),
        *_reference(100, "teacher", x),
        *interval_layers(values, limits, y, colour, strokeWidth=2),
        marks_layer(inside, known).encode(x=x, y=y, color=colour, shape=shape),
        *(_beyond(value, limits, y, colour) for value in values if abs(value["score"]) > _EDGE),
    ]
    return _picture(f"{task}: gap recovered", len(known), layers)


def _gap_limits(shares: list[float]) -> Extent:
    """Return the axis of the gap recovered, in percent: all `shares` up to the edge, the control and the teacher."""
    low, high = min([0.0, *shares]), max([110.0, *shares])
    margin = 0.05 * (high - low)
    return Extent(max(low - margin, -_EDGE), min(high + margin, _EDGE))


def _beyond(value: dict[str, float], limits: Extent, y: alt.Y, colour: alt.Color) -> alt.Chart:
    """Write a share beyond the edge as text with an arrow."""
    above = value["score"] > 0
    arrow = "\N{RIGHTWARDS ARROW}" if above else "\N{LEFTWARDS ARROW}"
    text: alt.Chart = chart_of([value]).mark_text(
        text=f"{value['score']:.0f}% {arrow}", fontSize=12, align="right" if above else "left"
    )
    return text.encode(x=alt.datum(limits.high if above else limits.low), y=y, color=colour)


_LEAST_RANKS = 5
"""The least number of ranks on the axis, so that all ticks are whole numbers."""


def ranks_picture(rows: list[DrawnRow], ranks_by_task: pd.DataFrame) -> Specification | None:
    """Return the plot of ranks by score, best mean first; None with fewer than two tasks.

    `rows` are all that have a score, `ranks_by_task` those of rows with one on every task, from `task_ranks`.
    """
    tasks = list(ranks_by_task.columns)
    if len(tasks) < 2 or ranks_by_task.empty:
        return None
    names = {row.row["strategy"]: row.name for row in rows}
    means = ranks_by_task.mean(axis=1).to_dict()
    whole = dict(zip(ranks_by_task.index, ranks_by_task.to_numpy().tolist(), strict=True))
    order = sorted(whole, key=lambda name: (means[name], name))
    means_drawn = [
        {"place": place, "rank": means[name], "low": min(whole[name]), "high": max(whole[name])}
        for place, name in enumerate(order)
    ]
    points = [
        {"place": place + _vertical_offset(number, len(tasks)), "rank": whole[name][number], "task": task}
        for number, task in enumerate(tasks)
        for place, name in enumerate(order)
    ]
    highest = max(rank for name in order for rank in whole[name])
    ranks = Extent(0.4, max(highest, _LEAST_RANKS) + 0.6)
    title, axis = "rank by score; the bar is the mean over tasks", alt.Axis(format="d", tickMinStep=1)
    x = alt.X("rank:Q", title=title, scale=ranks.scale, axis=axis)
    y = name_lines([names[name] for name in order])
    looks = family_looks(tasks)
    colour, shape = look_encoding("task", {task: looks[task] for task in tasks})
    spans = chart_of(means_drawn)
    spread = spans.mark_rule(color="#c9ced6", strokeWidth=1.6)
    marks = chart_of(points).mark_point(filled=True, size=50, opacity=1, fillOpacity=0.8)
    layers = [
        spread.encode(x=alt.X("low:Q", scale=ranks.scale), x2="high:Q", y=y),
        spans.mark_tick(color="black", opacity=1, thickness=2.2, size=15).encode(x=x, y=y),
        marks.encode(x=x, y=y, color=colour, shape=shape),
    ]
    left_out = len(names) - len(order)
    if left_out:
        text = f"without a score on every task: {left_out}"
        layers.append(note(text, alt.value(_WIDTH), align="right"))
    return _picture("Ranks across tasks", len(order), layers)


def _vertical_offset(number: int, tasks: int) -> float:
    """Return how far below its line a task's point is drawn, so that equal ranks do not hide each other."""
    return 0.5 * (number - (tasks - 1) / 2) / tasks

"""Plot validation scores against the training texts seen and against training FLOPs, a pair of panels per family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import altair as alt
import pandas as pd

from kdbench.board.frames import Row, rows_of
from kdbench.render.plots.axes import Extent
from kdbench.render.plots.files import Specification
from kdbench.render.plots.lines import Line, LinePoint, family_panel, panels_of, score_extent
from kdbench.render.plots.rows import shown_name
from kdbench.utils.formatting import operations

_COSTS = {"examples": "training texts seen", "train_flops": "training FLOPs of the row's own loops"}


def curve_lines(
    points: pd.DataFrame, families: Mapping[str, str], teachers: frozenset[str]
) -> dict[str, list[Line]]:
    """Return by column of `points`, those of one task, the line of each row with two validations or more.

    A line joins the means over seeds of the first, second, … validation of each loop, as far as all seeds have one. A row
    that trains nothing has no line beside the teacher's: one that quantizes it, say.

    Args:
        points: rows of the table of validations.
        families: of every row.
        teachers: the rows that are the teacher's.
    """
    by_row: dict[str, list[Row]] = {}
    for point in rows_of(points):
        by_row.setdefault(str(point["strategy"]), []).append(point)
    lines: dict[str, list[Line]] = {}
    for cost in _COSTS:
        means_of = {row: _means(own, cost) for row, own in by_row.items()}
        of_teachers = [means_of[row] for row in by_row if row in teachers]
        for row, means in means_of.items():
            is_teacher = row in teachers
            if len(means) > 1 and (is_teacher or means not in of_teachers):
                name = shown_name(row, is_teacher=is_teacher)
                lines.setdefault(cost, []).append(Line(name, families[row], tuple(means), is_teacher))
    return lines


def _means(points: Sequence[Row], cost: str) -> list[LinePoint]:
    by_seed: dict[int, dict[tuple[int, int], Row]] = {}
    for point in points:
        of_seed = by_seed.setdefault(point["seed"], {})
        number = sum(loop == point["loop"] for loop, _ in of_seed)
        of_seed[point["loop"], number] = point
    shared = [
        place for place in next(iter(by_seed.values())) if all(place in own for own in by_seed.values())
    ]
    together = [[own[place] for own in by_seed.values()] for place in shared]
    return [
        LinePoint(fmean(point[cost] for point in same), 100 * fmean(point["score"] for point in same))
        for same in together
        if all(point[cost] is not None for point in same)
    ]


def curves_picture(
    task: str, metric: str, lines: dict[str, list[Line]], teacher_flops: float | None
) -> Specification | None:
    """Return a row of panels per family, one panel per cost that is known; None without two validations of any row.

    Args:
        task: the task's name.
        metric: of the validation scores.
        lines: those of `curve_lines`.
        teacher_flops: the operations of the teacher's training, which the rows that learn from it do not count.
    """
    if not lines:
        return None
    drawn = [line for of_cost in lines.values() for line in of_cost]
    ys = score_extent(drawn)
    families = sorted({line.family for line in drawn})
    axes = {cost: _axis(cost, of_cost) for cost, of_cost in lines.items()}
    panels = [
        family_panel(family, lines[cost], x, xs, ys, None if number else f"{metric} on validation, %")
        for family in families
        for number, (cost, (x, xs)) in enumerate(axes.items())
    ]
    title = [f"{task}: validation score during training", "mean over seeds; all other rows in grey"]
    if teacher_flops is not None and "train_flops" in lines:
        title.append(
            f"The teacher's own training took {operations(teacher_flops)}, which only rows made from its model contain."
        )
    return panels_of(title, panels, len(axes))


def _axis(cost: str, lines: Sequence[Line]) -> tuple[alt.X, Extent]:
    values = [point.x for line in lines for point in line.points]
    title = _COSTS[cost]
    if cost == "examples":
        xs = Extent(0, 1.03 * max(values))
        axis = alt.Axis(tickCount=5, labelExpr="datum.value ? format(datum.value, '~s') : '0'")
    else:
        xs = Extent.of_logs(values, margin=0.04)
        axis = xs.axis()
    return alt.X("x:Q", title=title, scale=xs.scale, axis=axis), xs

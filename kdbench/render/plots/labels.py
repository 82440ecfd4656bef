"""Plot scores against the number of labelled examples, a panel per family of strategies."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

import altair as alt

from kdbench.board.frames import Row, rows_of
from kdbench.board.labels import LabelTables
from kdbench.render.plots.axes import Extent
from kdbench.render.plots.files import Specification
from kdbench.render.plots.lines import Line, LinePoint, family_panel, panels_of, score_extent
from kdbench.render.plots.rows import shown_name

_COLUMNS = 2


def label_lines(tables: LabelTables) -> dict[str, tuple[str, list[Line]]]:
    """Return by task the metric and the line of each row that has a score at two counts or more."""
    families = {record.strategy.label: record.strategy.family for record in tables.records}
    scored = [row for row in rows_of(tables.scores) if row["score"] is not None]
    lines: dict[str, tuple[str, list[Line]]] = {}
    for task, of_task in groupby(scored, key=lambda row: str(row["task"])):
        rows: dict[str, list[Row]] = {}
        for row in of_task:
            rows.setdefault(str(row["strategy"]), []).append(row)
        found = [_line(own, families) for own in rows.values() if len(own) > 1]
        if found:
            lines[task] = (str(next(iter(rows.values()))[0]["metric"]), found)
    return lines


def _line(rows: list[Row], families: Mapping[str, str]) -> Line:
    is_teacher = any(row["is_teacher"] for row in rows)
    return Line(
        name=shown_name(rows[0]["strategy"], is_teacher=is_teacher),
        family=families[rows[0]["strategy"]],
        points=tuple(
            LinePoint(
                x=row["labels"],
                y=100 * row["score"],
                low=None if row["score_low"] is None else 100 * row["score_low"],
                high=None if row["score_high"] is None else 100 * row["score_high"],
            )
            for row in rows
        ),
        is_teacher=is_teacher,
    )


def labels_picture(task: str, metric: str, lines: list[Line]) -> Specification:
    """Return the plot of the scores of `lines` by label count: a panel per family, with the intervals as bands."""
    ys = score_extent(lines)
    counts = sorted({point.x for line in lines for point in line.points})
    xs = Extent.of_logs(counts, margin=0.04)
    ticks = alt.Axis(values=counts, labelExpr="format(datum.value, ',')", grid=False)
    x = alt.X("x:Q", title="labelled training examples", scale=xs.scale, axis=ticks)
    families = sorted({line.family for line in lines})
    panels = [
        family_panel(family, lines, x, xs, ys, None if number % _COLUMNS else f"{metric}, %")
        for number, family in enumerate(families)
    ]
    title = [f"{task}: {metric} by labelled examples", "with 95% intervals; all other rows in grey"]
    return panels_of(title, panels, _COLUMNS)

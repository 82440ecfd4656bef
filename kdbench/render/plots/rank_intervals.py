"""Plot the ranks that a task's tests leave open."""

from __future__ import annotations

import altair as alt

from kdbench.render.plots.axes import Extent, height, name_lines
from kdbench.render.plots.files import Specification, specification
from kdbench.render.plots.layers import family_encoding, interval_layers, marks_layer, panel
from kdbench.render.plots.rows import DrawnRow

_WIDTH = 520


def rank_intervals_picture(task: str, rows: list[DrawnRow]) -> Specification | None:
    """Return the plot of one task's intervals of ranks, in the order of `rows`; None where no row is ranked."""
    ranked = [row for row in rows if row.row["rank"] is not None]
    if not ranked:
        return None
    values = [
        {
            "place": place,
            "family": row.family,
            "score": place + 1,
            "low": int(row.row["rank"]),
            "high": int(row.row["rank_high"]),
        }
        for place, row in enumerate(ranked)
    ]
    limits = Extent(0.4, len(ranked) + 0.6)
    colour, shape = family_encoding(ranked)
    title = "rank: by score, and the interval that the tests leave open (95%, all rows at once)"
    x = alt.X("score:Q", title=title, scale=limits.scale, axis=alt.Axis(format="d", tickMinStep=1))
    y = name_lines([row.name for row in ranked])
    layers = interval_layers(values, limits, y, colour, strokeWidth=2)
    layers.append(marks_layer(values, ranked).encode(x=x, y=y, color=colour, shape=shape))
    drawn = panel(*layers, width=_WIDTH, height=height(len(ranked)), title=f"{task}: ranks")
    return specification(drawn)

"""The interactive picture: quality against a cost, with intervals and the Pareto line, as a Vega-Lite specification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

DATA = "points"
"""The page fills this table: id, name, family, score, low, high (in percent), cost, texts to tell, whether a point is on
the front, and how many pixels from it its name stands there: dx, dy."""
_HEIGHT = 340
_FADED = 0.25


def picture_specification(families: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return the specification of a picture whose data the page sets, and whose axes it names.

    The line joins the points that the page says to be on the front.

    Args:
        families: the name, the colour and the shape of each.
    """
    names, colours, shapes = zip(*families, strict=True) if families else ((), (), ())
    marked = alt.param(name="marked", value=None)
    points = alt.Chart(alt.NamedData(name=DATA)).encode(
        x=alt.X(
            "cost:Q",
            scale=alt.Scale(type="log", nice=False, padding=24),
            axis=alt.Axis(format="~s", tickCount=6),
        ),
        y=alt.Y("score:Q", scale=alt.Scale(zero=False, padding=12)),
    )
    front = points.transform_filter("datum.front")
    faded = alt.condition("!isValid(marked) || datum.id === marked", alt.value(1), alt.value(_FADED))
    dots = points.mark_point(
        filled=True, size=90, opacity=1, cursor="pointer", stroke="gray", strokeWidth=0.5
    ).encode(
        color=alt.Color("family:N", scale=alt.Scale(domain=names, range=colours), legend=None),
        shape=alt.Shape("family:N", scale=alt.Scale(domain=names, range=shapes), legend=None),
        opacity=faded,
        size=alt.condition("datum.id === marked", alt.value(260), alt.value(90)),
        tooltip=[alt.Tooltip(f"{field}:N", title=title) for field, title in _TOOLTIP.items()],
        description="told:N",
    )
    layers = [
        front.mark_line(
            interpolate="step-after", strokeDash=[5, 4], strokeWidth=1.5, color="gray", aria=False
        ),
        points.mark_rule(strokeWidth=1.2, color="gray", aria=False).encode(
            y="low:Q", y2="high:Q", opacity=faded
        ),
        dots,
        front.mark_text(
            align=alt.expr("datum.dx < 0 ? 'right' : 'left'"),
            dx=alt.expr("datum.dx"),
            dy=alt.expr("datum.dy"),
            fontSize=11,
            aria=False,
        ).encode(text="name:N"),
    ]
    chart = (
        alt.layer(*layers)
        .add_params(marked)
        .properties(width="container", height=_HEIGHT, background="transparent")
    )
    specification: dict[str, Any] = chart.to_dict()
    return specification


_TOOLTIP = {"name": "strategy", "family": "family", "score_text": "score", "cost_text": "cost"}

"""Render the tables of how rows serve requests under load."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from kdbench.board.figures import Group, figures_of
from kdbench.board.frames import Row, rows_of
from kdbench.render.markdown import table
from kdbench.utils import formatting
from kdbench.utils.formatting import MISSING, milliseconds, plural, with_interval

BEYOND = "beyond capacity"


@dataclass(frozen=True)
class LoadTables:
    """Latencies of the task's rows at each rate of arrivals, and with each number of clients."""

    arrivals: Markup
    clients: Markup
    capacity: str
    """The rates, as text."""
    warnings: list[str]
    reasons: list[tuple[str, str]]
    """The rows that served nothing, and why."""


@dataclass(frozen=True)
class _Column:
    heading: str
    text: Callable[[Row], str]
    value: Callable[[Row], float | None]
    """To find the best; None where the load has none."""
    is_lower_better: bool = True


def load_tables(rows: pd.DataFrame, loads: pd.DataFrame) -> LoadTables | None:
    """Return the tables of the `loads` that `rows` of one task served; None where none did."""
    listed = rows_of(rows)
    served = [load for load in rows_of(loads) if load["load"] != "none"]
    if not served:
        return None
    rates = sorted({load["rate_per_s"] for load in served if load["load"] == "arrivals"})
    clients = sorted({load["clients"] for load in served if load["load"] == "clients"})
    by_rate = {(load["strategy"], load["rate_per_s"]): load for load in served if load["load"] == "arrivals"}
    by_clients = {(load["strategy"], load["clients"]): load for load in served if load["load"] == "clients"}
    return LoadTables(
        arrivals=_table(listed, rates, by_rate, lambda rate: _of_arrivals(f"{rate:g}/s")),
        clients=_table(
            listed, clients, by_clients, lambda number: _of_clients(plural(int(number), "client"))
        ),
        capacity=", ".join(f"{rate:g}" for rate in rates),
        warnings=list(dict.fromkeys(load["warning"] for load in served if load["warning"])),
        reasons=[(load["strategy"], load["reason"]) for load in rows_of(loads) if load["load"] == "none"],
    )


def _of_arrivals(rate: str) -> list[_Column]:
    return [
        _Column(f"busy at {rate}", lambda load: formatting.share(load["utilization"]), lambda load: None),
        *(_percentile(name, f"at {rate}") for name in ("p95", "p99")),
    ]


def _of_clients(clients: str) -> list[_Column]:
    return [
        _Column(
            f"per second, {clients}",
            lambda load: with_interval(
                load["per_s"], load["low_per_s"], load["high_per_s"], formatting.three_digits
            ),
            lambda load: load["per_s"],
            is_lower_better=False,
        ),
        _percentile("p95", f", {clients}"),
    ]


def _percentile(name: str, load_name: str) -> _Column:
    def text(load: Row) -> str:
        if load["is_beyond_capacity"]:
            return BEYOND
        low, high = (load.get(f"{name}_{end}_ms") for end in ("low", "high"))  # a p99 has none
        return with_interval(load[f"{name}_ms"], low, high, milliseconds)

    heading = f"{name} ms {load_name}".replace(" ,", ",")
    return _Column(heading, text, lambda load: load[f"{name}_ms"])


def _table(
    rows: list[Row],
    loads: list[float],
    served: dict[tuple[str, float], Row],
    columns_of: Callable[[float], list[_Column]],
) -> Markup:
    """Return a table with a line per row that served, and the columns of each load."""
    leading = figures_of(Group.LEADING)
    listed = [row for row in rows if any(name == row["strategy"] for name, _ in served)]
    headings = [(figure.heading, figure.is_text) for figure in leading]
    lines = [[figure.text(row) for figure in leading] for row in listed]
    best: set[tuple[int, int]] = set()
    for load in loads:
        of_rows = [served.get((row["strategy"], load)) for row in listed]
        for column in columns_of(load):
            best |= {(place, len(headings)) for place in _best(column, of_rows)}
            headings.append((column.heading, False))
            for line, of_row in zip(lines, of_rows, strict=True):
                line.append(MISSING if of_row is None else column.text(of_row))
    return table(headings, lines, best if len(lines) > 1 else ())


def _best(column: _Column, loads: list[Row | None]) -> Collection[int]:
    values = {
        place: value
        for place, load in enumerate(loads)
        if load is not None and (value := column.value(load)) is not None
    }
    ends = (min if column.is_lower_better else max)(values.values(), default=None)
    return [place for place, value in values.items() if value == ends]

"""A plan as data and as text."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdbench.board.formatting import plural
from kdbench.config import RunConfig
from kdbench.estimate import Estimate, estimate
from kdbench.plan import Plan, PlannedCell, State
from kdbench.preflight import preflight


def plan_data(plan: Plan, config: RunConfig) -> dict[str, Any]:
    """Return `plan` as JSON has it."""
    guess = estimate(plan, config)
    return {
        "cells": [_cell_data(planned) for planned in plan.cells],
        "tasks": preflight(plan),
        "downloads": [{"name": download.name, "bytes": download.bytes} for download in plan.downloads],
        "estimated_s": None if guess is None else round(guess.seconds),
        "estimated_from": None if guess is None else guess.basis,
    }


def print_plan(plan: Plan, config: RunConfig, console: Console) -> None:
    """Print `plan`: a row a cell, then what would be fetched and how long it would take."""
    table = Table(box=None, pad_edge=False)
    for heading in ("task", "strategy", "seed", "state", ""):
        table.add_column(heading, overflow="fold")
    for planned in plan.cells:
        cell = planned.cell
        why = planned.reason or (f"added: {cell.row.added_for}" if cell.row.added_for else "")
        table.add_row(
            *(Text(str(part)) for part in (cell.task.name, cell.row.spec, cell.seed, planned.state, why))
        )
    console.print(table)
    told = [f"{plan.count(state)} {state}" for state in State if plan.count(state)]
    console.print(f"\n{plural(len(plan.cells), 'cell')}: {', '.join(told)}", soft_wrap=True)
    for name, lines in preflight(plan).items():
        console.print(f"\n{name}", soft_wrap=True)
        for line in lines:
            console.print(f"  {line}", soft_wrap=True)
    console.print()
    for download in plan.downloads:
        size = "" if download.bytes is None else f" ({download.bytes / 1e6:.1f} MB)"
        console.print(f"to be fetched: {download.name}{size}", soft_wrap=True)
    console.print(_told(estimate(plan, config)), soft_wrap=True)


def _cell_data(planned: PlannedCell) -> dict[str, Any]:
    cell = planned.cell
    return {
        "task": cell.task.name,
        "strategy": str(cell.row.spec),
        "seed": cell.seed,
        "state": str(planned.state),
        "reason": planned.reason,
        "added_for": cell.row.added_for,
        "key": planned.key,
    }


def _told(guess: Estimate | None) -> str:
    if guess is None:
        return "time: unknown until the data and the model are on this machine"
    minutes = guess.seconds / 60
    duration = f"{guess.seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min"
    return f"time: about {duration} (from {guess.basis})"

"""What a run leaves word of in its results folder while it goes on: one small file, seen whole or not at all."""

from __future__ import annotations

import json
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Literal

from kdbench.files import write_atomically
from kdbench.json_files import Part, read_json_file


class CellState(str, Enum):
    """Where a cell of a run is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    NOT_APPLICABLE = "not-applicable"


class Ending(str, Enum):
    """How a run ended."""

    DONE = "done"
    INTERRUPTED = "interrupted"
    BROKEN = "broken"
    """By an error that was no cell's."""


class Work(Part):
    """Something that a run does, and how far it is."""

    state: CellState = CellState.QUEUED
    phase: str | None = None
    done: int = 0
    total: int = 0
    """`done` of `total`, in whatever the phase counts."""
    loss: float | None = None
    losses: tuple[tuple[int, float], ...] = ()
    """Of the training loop that runs: some of its steps, each with its loss."""
    reason: str | None = None
    """Why it failed, or does not apply."""
    seconds: float | None = None
    """How long it took."""


class LiveCell(Work):
    """One cell of a run."""

    strategy: str
    task: str
    seed: int
    score: float | None = None
    """The headline metric as a fraction; None, too, where a run before this one did the cell."""


class LiveTiming(Work):
    """The latency phase of one task."""

    name: str


class LiveState(Part):
    """How a run is going."""

    schema_version: Literal[1] = 1
    budget: str
    model: str
    weights_sha256: str
    board: str
    """The folder that its boards are written to."""
    started_at: datetime
    told_at: datetime
    """When this was written: every `HEARTBEAT_S` at the latest, as long as the run lives."""
    ending: Ending | None = None
    """None while it goes on."""
    left_s: float | None = None
    """About how long the cells will still take."""
    cells: tuple[LiveCell, ...]
    timings: tuple[LiveTiming, ...] = ()


HEARTBEAT_S = 10.0


def state_path(results: Path) -> Path:
    """Return where a run leaves word in its results folder."""
    return results / "live.json"


def write_state(results: Path, state: LiveState) -> None:
    """Replace what the last run, or this one before, left."""
    told = {
        "schema_version": state.schema_version,
        **state.model_dump(mode="json", exclude_defaults=True),
    }
    write_atomically(state_path(results), json.dumps(told, ensure_ascii=False) + "\n")


def read_state(results: Path) -> tuple[LiveState | None, str | None]:
    """Return what the last run in `results` left, or why that cannot be read; neither where none left anything."""
    path = state_path(results)
    return read_json_file(LiveState, path) if path.exists() else (None, None)

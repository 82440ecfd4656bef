"""Record the state of a run in its results folder, for `kdbench watch` to read."""

from __future__ import annotations

import json
import math
import threading
import time
from contextlib import suppress
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from kdbench.config import RunConfig
from kdbench.results.fields import Moment
from kdbench.results.records import Status
from kdbench.run.executor import Progress
from kdbench.run.plan import Plan, State
from kdbench.run.progress import Watcher
from kdbench.utils.files import JsonModel, read_json_file, write_atomically
from kdbench.utils.formatting import seconds_left
from kdbench.utils.system import start_thread


class CellState(str, Enum):
    """The state of a cell of a run."""

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
    """By an error outside of the cells."""


class Work(JsonModel):
    """A part of a run and its progress."""

    state: CellState = CellState.QUEUED
    phase: str | None = None
    done: int = 0
    total: int = 0
    """`done` of `total`, in the units of the phase."""
    loss: float | None = None
    losses: tuple[tuple[int, float], ...] = ()
    """Some steps of the current training loop, each with its loss."""
    reason: str | None = None
    """Why it failed, or is not applicable."""
    seconds: float | None = None
    """Its duration."""


class LiveCell(Work):
    """One cell of a run."""

    strategy: str
    task: str
    seed: int
    score: float | None = None
    """The headline metric as a fraction; None if there is none, or an earlier run completed the cell."""


class LiveTiming(Work):
    """The latency phase of one task."""

    name: str


class LiveState(JsonModel):
    """The state of a run."""

    schema_version: Literal[1] = 1
    budget: str
    model: str
    weights_sha256: str
    board: str
    """The folder that its boards are written to."""
    started_at: Moment
    told_at: Moment
    """When this was written: at least every `HEARTBEAT_S` while the run is alive."""
    ending: Ending | None = None
    """None while the run goes on."""
    left_s: float | None = None
    """The estimated time until all cells are done."""
    cells: tuple[LiveCell, ...]
    timings: tuple[LiveTiming, ...] = ()


HEARTBEAT_S = 10.0


def state_path(results: Path) -> Path:
    """Return the file in a results folder that a run writes its state to."""
    return results / "live.json"


def write_state(results: Path, state: LiveState) -> None:
    """Write `state`, replacing the earlier one."""
    data = {"schema_version": state.schema_version, **state.model_dump(mode="json", exclude_defaults=True)}
    write_atomically(state_path(results), json.dumps(data, ensure_ascii=False) + "\n")


def read_state(results: Path) -> tuple[LiveState | None, str | None]:
    """Return the state of the last run in `results`, or why it cannot be read; (None, None) if there is no state."""
    path = state_path(results)
    return read_json_file(LiveState, path) if path.exists() else (None, None)


WRITE_INTERVAL_S = 2.0
"""The minimum time between two writes."""
MAX_LOSSES = 80

_STATES = {
    State.PENDING: CellState.QUEUED,
    State.DONE: CellState.DONE,
    State.OUTDATED: CellState.DONE,
    State.FAILED: CellState.FAILED,
    State.NOT_APPLICABLE: CellState.NOT_APPLICABLE,
}


class Recorder(Watcher):
    """A `Watcher` that writes the state from a thread of its own, so that the run never waits for the disk.

    Failures to write are ignored: they must not end a run. Remarks are left to the terminal and the board.
    """

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._started_at = datetime.now(timezone.utc)
        self._first_start: float | None = None
        self._model, self._weights_sha256 = "", ""
        self._cells: dict[str, LiveCell] = {}
        self._timings: dict[str, LiveTiming] = {}
        self._losses: dict[str, list[tuple[int, float]]] = {}
        self._pending = 0
        self._ended = 0
        self._changed = False
        self._ending: Ending | None = None

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is None:  # nothing was planned: another run may be using the folder
            return
        if self._ending is None:
            self._ending = Ending.INTERRUPTED if kind is KeyboardInterrupt else Ending.BROKEN
        self._over.set()
        self._thread.join()
        self._write()

    def end(self, ending: Ending) -> None:
        """Note how the run ended."""
        self._ending = ending

    def planned(self, plan: Plan) -> None:
        """Note the plan, or a further round of it, and start writing."""
        if plan.base is not None:
            self._model, self._weights_sha256 = plan.base.name, plan.base.sha256
        planned = {
            cell.label: LiveCell(
                strategy=str(cell.row.spec),
                task=cell.task.name,
                seed=cell.seed,
                state=_STATES[cell.state],
                reason=cell.reason,
            )
            for cell in plan.cells
        }
        with self._lock:
            self._cells |= planned
            self._pending += plan.count(State.PENDING)
        self._write()
        if self._thread is None:
            self._thread = start_thread("live state", self._keep_writing)

    def started(self, name: str) -> None:
        """Note that a cell or latency phase started."""
        self._first_start = self._first_start or time.monotonic()
        with self._lock:
            if name not in self._cells:
                self._timings[name] = LiveTiming(name=name)
            self._update(name, state=CellState.RUNNING)

    def progressed(self, name: str, progress: Progress) -> None:
        """Note the progress of a cell or latency phase."""
        loss = progress.loss if progress.loss is not None and math.isfinite(progress.loss) else None
        with self._lock:
            if loss is not None:
                self._losses[name] = _with_loss(self._losses.get(name, []), progress.done, loss)
            self._update(name, phase=progress.phase, done=progress.done, total=progress.total, loss=loss)

    def ended(
        self, name: str, status: Status, reason: str | None, score: float | None, seconds: float
    ) -> None:
        """Note the result of a cell or latency phase."""
        state = CellState.DONE if status is Status.OK else CellState.FAILED
        with self._lock:
            self._losses.pop(name, None)
            if name in self._cells:
                self._ended += 1
                self._update(name, score=score)
            self._update(name, state=state, phase=None, loss=None, reason=reason, seconds=round(seconds, 1))

    def _update(self, name: str, **changes: object) -> None:
        parts: dict[str, Any] = self._cells if name in self._cells else self._timings
        parts[name] = parts[name].model_copy(update=changes)
        self._changed = True

    def _keep_writing(self) -> None:
        last_write_s = time.monotonic()
        while not self._over.wait(WRITE_INTERVAL_S):
            if self._changed or time.monotonic() - last_write_s >= HEARTBEAT_S - WRITE_INTERVAL_S:
                last_write_s = time.monotonic()
                self._write()

    def _write(self) -> None:
        with self._lock:
            self._changed = False
            cells, timings, losses = dict(self._cells), dict(self._timings), dict(self._losses)
        elapsed_s = time.monotonic() - self._first_start if self._first_start else 0.0
        state = LiveState(
            budget=self._config.budget,
            model=self._model,
            weights_sha256=self._weights_sha256,
            board=str(self._config.board_folder.resolve()),
            started_at=self._started_at,
            told_at=datetime.now(timezone.utc),
            ending=self._ending,
            left_s=seconds_left(self._ended, self._pending, elapsed_s),
            cells=tuple(
                cell.model_copy(update={"losses": tuple(losses.get(name, ()))})
                for name, cell in cells.items()
            ),
            timings=tuple(timings.values()),
        )
        with suppress(OSError):
            write_state(self._config.results, state)


def _with_loss(losses: list[tuple[int, float]], step: int, loss: float) -> list[tuple[int, float]]:
    """Return `losses` with one more, thinned out if there are many; a step number that decreases starts a new loop."""
    if losses and step <= losses[-1][0]:
        losses = []
    elif len(losses) >= MAX_LOSSES:
        losses = losses[::2]
    return [*losses, (step, round(loss, 4))]

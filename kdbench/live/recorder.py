"""A watcher that leaves word of the run in its results folder, for `kdbench watch` to read."""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress
from datetime import datetime, timezone
from types import TracebackType

from kdbench.config import RunConfig
from kdbench.executors import Progress
from kdbench.live.state import HEARTBEAT_S, CellState, Ending, LiveCell, LiveState, LiveTiming, write_state
from kdbench.live.threads import start_thread
from kdbench.pace import seconds_left
from kdbench.plan import Plan, PlannedCell, State
from kdbench.records import Status

WRITING_S = 2.0
"""So far apart, at least, are two writings."""
MOST_LOSSES = 80

_STATES = {
    State.PENDING: CellState.QUEUED,
    State.DONE: CellState.DONE,
    State.FAILED: CellState.FAILED,
    State.NOT_APPLICABLE: CellState.NOT_APPLICABLE,
}


class Recorder:
    """Keeps what it is told, and writes it from a thread of its own, so that the run never waits for the disk.

    A disk that takes nothing ends no run for want of this file.
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
        if self._thread is None:  # nothing was planned: the folder may be another run's
            return
        if self._ending is None:
            self._ending = Ending.INTERRUPTED if kind is KeyboardInterrupt else Ending.BROKEN
        self._over.set()
        self._thread.join()
        self._write()

    def end(self, ending: Ending) -> None:
        """The run has ended by itself, or was told to."""
        self._ending = ending

    def planned(self, plan: Plan) -> None:
        """Begin to write."""
        if plan.base is not None:
            self._model, self._weights_sha256 = plan.base.name, plan.base.sha256
        self._cells = {planned.cell.label: _cell(planned) for planned in plan.cells}
        self._pending = plan.count(State.PENDING)
        self._write()
        self._thread = start_thread("live state", self._keep_writing)

    def started(self, name: str) -> None:
        """Note that a cell, or the timing of a task, began."""
        self._first_start = self._first_start or time.monotonic()
        with self._lock:
            if name not in self._cells:
                self._timings[name] = LiveTiming(name=name)
            self._update(name, state=CellState.RUNNING)

    def progressed(self, name: str, progress: Progress) -> None:
        """Note how far it is."""
        loss = progress.loss if progress.loss is not None and math.isfinite(progress.loss) else None
        with self._lock:
            if loss is not None:
                self._losses[name] = _with(self._losses.get(name, []), progress.done, loss)
            self._update(name, phase=progress.phase, done=progress.done, total=progress.total, loss=loss)

    def ended(
        self, name: str, status: Status, reason: str | None, score: float | None, seconds: float
    ) -> None:
        """Note how it ended."""
        state = CellState.DONE if status is Status.OK else CellState.FAILED
        with self._lock:
            self._losses.pop(name, None)
            if name in self._cells:
                self._ended += 1
                self._update(name, score=score)
            self._update(name, state=state, phase=None, loss=None, reason=reason, seconds=round(seconds, 1))

    def remark(self, line: str) -> None:
        """Leave remarks to the terminal and the board."""

    def _update(self, name: str, **what: object) -> None:
        if name in self._cells:
            self._cells[name] = self._cells[name].model_copy(update=what)
        else:
            self._timings[name] = self._timings[name].model_copy(update=what)
        self._changed = True

    def _keep_writing(self) -> None:
        told = time.monotonic()
        while not self._over.wait(WRITING_S):
            if self._changed or time.monotonic() - told >= HEARTBEAT_S - WRITING_S:
                told = time.monotonic()
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


def _cell(planned: PlannedCell) -> LiveCell:
    cell = planned.cell
    return LiveCell(
        strategy=str(cell.row.spec),
        task=cell.task.name,
        seed=cell.seed,
        state=_STATES[planned.state],
        reason=planned.reason,
    )


def _with(losses: list[tuple[int, float]], step: int, loss: float) -> list[tuple[int, float]]:
    """Return `losses` with one more, thinned out where they are many; a step before the last begins another loop."""
    if losses and step <= losses[-1][0]:
        losses = []
    elif len(losses) >= MOST_LOSSES:
        losses = losses[::2]
    return [*losses, (step, round(loss, 4))]

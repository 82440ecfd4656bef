"""Report the progress of a run: a live display in a terminal, or else plain lines."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kdbench.board.decision import TaskDecision
from kdbench.render.decision import state_line
from kdbench.results.records import Status
from kdbench.run.executor import Ended, Event, Progress, Remark
from kdbench.run.plan import Plan, State, outdated_remark
from kdbench.run.preflight import preflight
from kdbench.utils.formatting import plural, seconds_left

_SECONDS_BETWEEN_LINES = 30.0
LATENCY = "latency of "
"""Prefix of the name of a task's latency phase, which is not a cell."""


class Watcher:
    """Receives the events of a run, and passes those that it does not handle on to other watchers, if any."""

    _others: tuple[Watcher, ...] = ()

    def __init__(self, *others: Watcher) -> None:
        self._others = others

    def planned(self, plan: Plan) -> None:
        """The run is about to execute `plan`, all or a round of it."""
        for other in self._others:
            other.planned(plan)

    def judged(self, tasks: Sequence[TaskDecision]) -> None:
        """A round has ended, and the rows of each task were compared."""
        for other in self._others:
            other.judged(tasks)

    def started(self, name: str) -> None:
        """A cell or the latency phase of a task started."""
        for other in self._others:
            other.started(name)

    def progressed(self, name: str, progress: Progress) -> None:
        """A cell or latency phase made progress."""
        for other in self._others:
            other.progressed(name, progress)

    def ended(
        self, name: str, status: Status, reason: str | None, score: float | None, seconds: float
    ) -> None:
        """A cell or latency phase ended."""
        for other in self._others:
            other.ended(name, status, reason, score, seconds)

    def remark(self, line: str) -> None:
        """There is a remark that the user should know."""
        for other in self._others:
            other.remark(line)


def pass_on(event: Event, name: str, watcher: Watcher) -> Ended | None:
    """Return `event` if it is the end of a job; else tell the `watcher`, who knows the job as `name`."""
    if isinstance(event, Progress):
        watcher.progressed(name, event)
    elif isinstance(event, Remark):
        watcher.remark(f"{name}: {event.line}")
    else:
        return event
    return None


class Terminal(Watcher):
    """Prints the progress of a run to a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = (
            Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        )
        self._total = 0
        self._unit = "cells"
        self._failed = 0
        self._done = 0
        self._first_start: float | None = None
        self._running: dict[str, Progress | None] = {}
        self._last_line = time.monotonic()
        self._described = False
        """Whether tasks and rows were described: all of them are in the first round."""

    def __enter__(self) -> Terminal:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def planned(self, plan: Plan) -> None:
        """Print a summary of the plan; of a further round, what earlier ones have not said."""
        self._total += plan.count(State.PENDING)
        strategies = dict.fromkeys(str(cell.row.spec) for cell in plan.cells)
        states = [f"{plan.count(state)} {state}" for state in State if plan.count(state)]
        self._print(f"{plural(len(plan.cells), 'cell')} ({', '.join(states)})")
        self._print(f"  strategies: {', '.join(strategies)}")
        if remark := outdated_remark(plan):
            self.remark(remark)
        if self._described:
            return
        self._described = True
        for name, lines in preflight(plan).items():
            self._print(f"  {name}:")
            for line in lines:
                self._print(f"    {line}", "yellow" if line.startswith("!") else None)
        for row in {cell.row.spec: cell.row for cell in plan.cells}.values():
            if row.added_for is not None:
                self._print(f"  added {row.spec}: {row.added_for}")

    def judged(self, tasks: Sequence[TaskDecision]) -> None:
        """Print what is decided after a round."""
        for decision in tasks:
            self._print(f"  {state_line(decision)}")

    def searching(self, total: int, lines: Iterable[str]) -> None:
        """Print `lines` about a search of parameters, of which `total` trials and teachers are to run."""
        self._total, self._unit = total, "trials"
        for line in lines:
            self._print(f"  {line}")

    def started(self, name: str) -> None:
        """Show that a cell or the latency phase of a task started."""
        self._running[name] = None
        self._first_start = self._first_start or time.monotonic()
        self._refresh()

    def progressed(self, name: str, progress: Progress) -> None:
        """Show the progress of a cell or latency phase."""
        self._running[name] = progress
        if self._live is None and time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._print(f"   …    {name}: {_progress_text(progress)}; {self._summary()}")
        self._refresh()

    def ended(
        self, name: str, status: Status, reason: str | None, score: float | None, seconds: float
    ) -> None:
        """Print the result of a cell or latency phase."""
        del self._running[name]
        if name.startswith(LATENCY):
            number = ""
        else:
            self._done += 1
            number = f"{self._done:>3}/{self._total} "
        self._failed += status is not Status.OK
        result = f"{100 * score:.1f}" if score is not None else reason or ""
        self._print(
            f"{number}{status} {name}: {result} ({seconds:.0f} s)", None if status is Status.OK else "red"
        )
        self._refresh()

    def remark(self, line: str) -> None:
        """Print a remark that the user should know."""
        self._print(f"  ! {line}", "yellow")

    def _print(self, line: str, style: str | None = None) -> None:
        self._last_line = time.monotonic()
        self._console.print(Text(line, style or ""), soft_wrap=True)

    def _refresh(self) -> None:
        if self._live is None:
            return
        table = Table.grid(padding=(0, 2))
        for name, progress in self._running.items():
            table.add_row(Text(name), Text(_progress_text(progress)))
        table.add_row(Text(self._summary(), style="bold"))
        self._live.update(table)

    def _summary(self) -> str:
        counts = f"{self._done} of {self._total} {self._unit} done, {self._failed} failed"
        elapsed_s = time.monotonic() - self._first_start if self._first_start else 0.0
        left_s = seconds_left(self._done, self._total, elapsed_s)
        return f"{counts}, about {_duration(left_s)} left" if left_s else counts


def _progress_text(progress: Progress | None) -> str:
    if progress is None:
        return "starting"
    loss = "" if progress.loss is None else f", loss {progress.loss:.3f}"
    return f"{progress.phase} {progress.done}/{progress.total}{loss}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"

"""The real command, run in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kdbench.results.records import Record, RecordStore

PATIENCE_S = 300
"""How long a small run may take on a machine that is busy with other things."""


class Command:
    """`kdbench` on the tiny model and the toy tasks, with a folder of its own for results, boards and scratch files."""

    def __init__(self, folder: Path, *, model: Path, plugins: list[Path], cache: Path) -> None:
        self.folder = folder
        self.results = folder / "results"
        self.board = folder / "board"
        self.scratch = folder / "scratch"
        self.scratch.mkdir(parents=True, exist_ok=True)
        self._marker = f"KDBENCH_TEST={uuid.uuid4()}"
        name, value = self._marker.split("=")
        self.environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("KDBENCH")},
            name: value,
            "KDBENCH_CACHE": str(cache),
            "TMPDIR": str(self.scratch),
            "OMP_NUM_THREADS": "1",
        }
        self.settings = ["--budget", "smoke", "--model", str(model), "--threads", "1", "--no-drawings"]
        self.settings += ["--results", str(self.results), "--board", str(self.board)]
        for plugin in plugins:
            self.settings += ["--plugin", str(plugin)]

    def line(self, verb: str, *arguments: object) -> list[str]:
        """Return the command line of `verb` with the shared settings."""
        return [sys.executable, "-m", "kdbench", verb, *self.settings, *map(str, arguments)]

    def run(
        self, *arguments: object, verb: str = "run", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the command to its end; `variables` are added to its environment."""
        return subprocess.run(
            self.line(verb, *arguments),
            cwd=self.folder,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def start(self, *arguments: object, verb: str = "run", **variables: str) -> Started:
        """Start a command in a process group of its own, as a shell does, and return at once."""
        return Started(self, self.line(verb, *arguments), {**self.environment, **variables})

    def records(self) -> dict[tuple[str, str, int], Record]:
        """Return the records by strategy, task and seed; there may be nothing else among them."""
        found, problems = RecordStore(self.results).load()
        assert problems == []
        return {(record.strategy.label, record.task.name, record.seed): record for record in found}

    def kill(self) -> None:
        """End whatever a failing test left running."""
        for process in self.processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def processes(self) -> list[int]:
        """Return the processes that the command started, however deep, and that still run."""
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if self._is_ours(path)]

    def _is_ours(self, process: Path) -> bool:
        try:
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            return state != "Z" and self._marker.encode() in (process / "environ").read_bytes().split(b"\0")
        except OSError:
            return False  # it ended while it was looked at, or is another user's


class Started:
    """A run that goes on."""

    def __init__(self, command: Command, line: list[str], environment: dict[str, str]) -> None:
        self._output = command.scratch / f"output-{uuid.uuid4().hex}"
        with self._output.open("wb") as file:
            self._process = subprocess.Popen(
                line,
                cwd=command.folder,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text(encoding="utf-8")

    def is_over(self) -> bool:
        """Return whether it has ended."""
        return self._process.poll() is not None

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds while it runs."""
        give_up = time.monotonic() + PATIENCE_S
        while not condition():
            assert not self.is_over(), f"it ended before: {self.output}"
            assert time.monotonic() < give_up, f"waited in vain: {self.output}"
            time.sleep(0.05)

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send it a signal: to its first process alone, or to the whole group, as Ctrl-C does."""
        (os.killpg if group else os.kill)(self._process.pid, number)

    def end(self) -> tuple[int, str]:
        """Wait for its end and return exit code and output."""
        return self._process.wait(PATIENCE_S), self.output


def comes_true(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Return whether `condition` holds before `seconds` are over."""
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.05)
    return True

"""End a small run again and again, in every way, at random moments, and check each time what it has left.

Each run is forked off this process, which has the libraries loaded, and trains in one process; it is ended at a random
moment, or at a random step of writing, by SIGKILL, SIGTERM, SIGINT, or a power cut (see `helpers.power`). After each:

- every cell that was reported as done has its record and its answers, as the undisturbed run had them;
- none is run a second time;
- what SIGTERM and SIGINT end says so in one line and exits with 130.

Whenever a run gets to its end, its records and answers are those of the undisturbed run, and nothing half-written is left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from helpers.power import Disk

from kdbench.api.predictions import Predictions
from kdbench.cli.main import main
from kdbench.errors import KdbenchError
from kdbench.results.paths import CellFiles
from kdbench.results.records import RecordStore
from kdbench.run import cell, runner  # noqa: F401 - loaded before the runs are forked off
from kdbench.utils import files

WAYS = ("kill", "term", "int", "cut")
SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT, "cut": signal.SIGKILL}
DONE = re.compile(r"(?m)^ *\d+/\d+ ok (.+?): ")
LONGEST_S = 4.0


class Series:
    """A run in `folder` that is ended again and again."""

    def __init__(self, folder: Path, line: list[str], draw: random.Random, forget: str | None) -> None:
        self._folder = folder
        self._line = line
        self._draw = draw
        self._forget = forget
        self._number = 0
        self.ended: Counter[str] = Counter()
        self.violations: list[str] = []
        self.whole = 0
        """How often a run got to its end."""
        self._begin()
        self._steps = 0
        self._run(None, 0, count=True)
        self._expected = self._left()
        self._steps = int((self._folder / "steps").read_text())
        self._begin()

    def end(self, way: str) -> None:
        """End the run once in a `way`; where it is over before, begin anew until it is not."""
        while True:
            by_step = self._draw.random() < 0.7
            moment = self._draw.randrange(1, self._steps) if by_step else self._draw.uniform(0, LONGEST_S)
            code, output = self._run(SIGNALS[way], moment)
            if code == 0:
                self._check_end()
                self._begin()
                continue
            lost = self._disk.cut(self._draw) if way == "cut" else []
            self.ended[way] += 1
            self._check(way, code, output, lost)
            return

    def finish(self) -> None:
        """Let the run get to its end."""
        code, output = self._run(None, 0)
        if code != 0:
            self.violations.append(f"exit code {code} at the end: {output[-500:]}")
        self._check_end()

    def _begin(self) -> None:
        self._number += 1
        self._place = self._folder / str(self._number)
        self._results = self._place / "results"
        self._cache = self._place / "cache"
        self._disk = Disk(self._place / "aside", self._results, self._cache)
        self._disk.settle()
        self._reported: Counter[str] = Counter()

    def _run(self, number: signal.Signals | None, moment: float, count: bool = False) -> tuple[int, str]:
        """Run the command, and end it by the signal `number` at the `moment`: a step of writing, or a time in seconds."""
        log = self._place / "output"
        child = os.fork()
        if child == 0:
            self._be_run(log, number if isinstance(moment, int) else None, int(moment), count)
        if number is not None and isinstance(moment, float):
            give_up = time.monotonic() + moment
            while time.monotonic() < give_up:
                pid, status = os.waitpid(child, os.WNOHANG)
                if pid:
                    return self._told(log, status)
                time.sleep(0.005)
            os.kill(child, number)
        return self._told(log, os.waitpid(child, 0)[1])

    def _told(self, log: Path, status: int) -> tuple[int, str]:
        output = log.read_text(errors="replace")
        self._reported.update(DONE.findall(output))
        return os.waitstatus_to_exitcode(status), output

    def _be_run(self, log: Path, number: signal.Signals | None, step: int, count: bool) -> None:
        code, steps = 1, 0

        def take_step() -> None:
            nonlocal steps
            steps += 1
            if number is not None and steps == step:
                os.kill(os.getpid(), number)

        try:
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            os.environ["KDBENCH_CACHE"] = str(self._cache)
            sys.argv = [*self._line, "--results", str(self._results), "--board", str(self._place / "board")]
            force = files.force
            if self._forget is not None:
                names = self._forget == "names"
                files.force = lambda path: None if path.is_dir() is names else force(path)
            with self._disk.recorded(take_step):
                main()
        except SystemExit as end:
            code = int(end.code or 0)
            if count:
                (self._folder / "steps").write_text(str(steps))
        finally:
            sys.stdout.flush()
            os._exit(code)

    def _left(self) -> dict[str, object]:
        """Return the quality and the answers of each cell."""
        left: dict[str, object] = {}
        found, problems = RecordStore(self._results).load()
        self.violations += problems
        for record in found:
            label = f"{record.strategy.label} on {record.task.name}, seed {record.seed}"
            paths = CellFiles(self._results, record.key)
            try:
                answers = [Predictions.load(path) for path in (paths.predictions, paths.noisy_predictions)]
            except KdbenchError as error:
                self.violations.append(f"{label}: {error}")
                continue
            left[label] = record.quality, [one.logits.tolist() for one in answers]
        return left

    def _check(self, way: str, code: int, output: str, lost: list[str]) -> None:
        where = f"{way} number {sum(self.ended.values())}"
        left = self._left()
        for label, times in self._reported.items():
            if left.get(label) != self._expected[label]:
                self.violations.append(f"{where}: {label} was done, and is lost; {lost}")
            if times > 1:
                self.violations.append(f"{where}: {label} was run {times} times")
        if way in ("kill", "cut") and code != -signal.SIGKILL:
            self.violations.append(f"{where}: exit code {code}: {output[-1000:]}")
        if way in ("term", "int") and (code != 130 or "Traceback" in output or "interrupted" not in output):
            self.violations.append(f"{where}: exit code {code}: {output[-1000:]}")

    def _check_end(self) -> None:
        self.whole += 1
        left = self._left()
        if left != self._expected:
            self.violations.append(f"the end of run {self._number} differs")
        rest = [path for part in (self._results, self._cache) for path in part.rglob("*.kdbench-partial")]
        if rest:
            self.violations.append(f"left behind: {rest}")


def go() -> None:
    """Do what the arguments say, and print the counts and what was wrong as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--plugin", required=True)
    parser.add_argument("--times", type=int, default=25, help="of each way")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--strategy", default="vanilla-kd")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--forget", choices=("contents", "names"), help="what is not forced to the disk, as a test"
    )
    given = parser.parse_args()
    words = ["--budget", "smoke", "--model", given.model, "--plugin", given.plugin, "--task", "toy-sentiment"]
    words += ["--strategy", given.strategy, "--executor", "inline", "--threads", "1", "--no-drawings"]
    draw = random.Random(given.seed)
    ways = given.ways.split(",") * given.times
    draw.shuffle(ways)
    series = Series(given.folder, ["kdbench", "run", *words], draw, given.forget)
    for way in ways:
        series.end(way)
        print(way, sum(series.ended.values()), len(series.violations), file=sys.stderr, flush=True)
        if given.forget and series.violations:
            break
    if not given.forget:
        series.finish()
    print(json.dumps({"ended": series.ended, "whole": series.whole, "violations": series.violations}))


if __name__ == "__main__":
    go()

"""What a run left is emptied, cut in half or removed, file by file: the same command says so and gives the same board.

`KDBENCH_TEST_DAMAGE=every` damages every file in every way (some minutes), else one of each kind in one way.
"""

import os
import re
import shutil
from itertools import cycle
from pathlib import Path

import pandas as pd
import pytest
from helpers.small_run import Nobody

from kdbench.api.predictions import Predictions
from kdbench.config import RunConfig
from kdbench.plugins import load_plugins
from kdbench.results.paths import CellFiles
from kdbench.results.records import RecordStore
from kdbench.run.runner import run
from kdbench.utils.remarks import remarks_to
from kdbench.utils.sealed import CHECKSUMS, damage

pytestmark = pytest.mark.slow

WAYS = ("emptied", "halved", "removed")
UNHEARD = r"\.lock$|live\.json$|/logs/|/tensorboard/"
"""Files that no later run reads."""
COSTS = r"_s$|_ms|latency|speedup|tokeni|peak|busy|memory|front|back_end|calls"
ALIKE = r"[0-9a-f]{16,}|(?<=artifact/)[^/]*json|(?<=/)[^/]*(?=\.(npy|arrow|lock|log)$)|(?<=tensorboard/).*"
"""Parts of names in which files of one kind differ."""


class Told(Nobody):
    """A watcher that remembers which cells started and what was remarked."""

    def __init__(self):
        self.lines = []
        self.starts = []

    def started(self, name):
        self.starts.append(name)

    def remark(self, line):
        self.lines.append(line)


class Ran:
    """A small run in a folder of its own, with a cache there, that can be done again."""

    def __init__(self, folder, model, plugin):
        self.folder = folder
        settings = {
            "task": ["toy-sentiment"],
            "strategy": ["vanilla-kd", "linear-probe"],
            "budget": "smoke",
            "model": str(model),
            "results": folder / "results",
            "board": folder / "board",
            "cache_dir": folder / "cache",
            "executor": "inline",
            "drawings": False,
            "plugins": {"modules": [str(plugin)]},
        }
        self.config = RunConfig.model_validate(settings)
        self._registry = load_plugins([str(plugin)])

    def go(self):
        """Run, and return what was told; nothing may fail."""
        told = Told()
        with remarks_to(told.remark):
            outcome = run(self.config, self._registry, told)
        assert (outcome.failed, outcome.latency_failures) == (0, [])
        told.lines += outcome.board.problems
        return told

    def board(self):
        """Return all of the board's table that does not depend on measured costs, and the answers behind it."""
        rows = pd.read_csv(self.config.board_folder / "toy-sentiment.csv").set_index("strategy")
        table = rows[[name for name in rows if not re.search(COSTS, name)]].fillna("").to_dict("index")
        answers = {path.name: path.read_bytes() for path in self.config.results.glob("predictions/*")}
        return {**table, **answers}

    def files(self):
        """Return the files of results and cache, relative to the folder."""
        below = (path for part in ("results", "cache") for path in (self.folder / part).rglob("*"))
        return sorted(str(path.relative_to(self.folder)) for path in below if path.is_file())

    def unsound(self):
        """Return what of results and cache is still damaged."""
        sealed = {path.parent for path in self.folder.rglob(CHECKSUMS)}
        found = [f"{folder}: {damaged}" for folder in sealed if (damaged := damage(folder))]
        for path in self.config.results.glob("predictions/*"):
            Predictions.load(path)
        return [*found, *RecordStore(self.config.results).load()[1]]

    def forget_distilled(self):
        """Remove the record and the model of a row that learns from the teacher, so that it needs the teacher again."""
        for record in RecordStore(self.config.results).load()[0]:
            if record.strategy.label == "vanilla-kd":
                RecordStore(self.config.results).path(record.key).unlink()
                CellFiles(self.config.results, record.key).remove_model()


@pytest.fixture(scope="module")
def ran(tmp_path_factory, tiny_model, toy_plugin):
    made = Ran(tmp_path_factory.mktemp("damaged"), tiny_model, toy_plugin)
    made.go()
    return made


def damaged(path, way):
    """Damage the file at `path`."""
    content = path.read_bytes()
    path.unlink()  # another file takes its place: this process may have mapped the old one
    if way != "removed":
        path.write_bytes(content[: len(content) // 2] if way == "halved" else b"")


def cases(files):
    """Return the files to damage, each with the ways."""
    if os.environ.get("KDBENCH_TEST_DAMAGE") == "every":
        return [(file, way) for file in files for way in WAYS]
    kinds = {re.sub(ALIKE, "*", file): file for file in files}
    return list(zip(kinds.values(), cycle(WAYS)))


def test_the_board_is_the_same_whatever_was_damaged(ran):
    expected = ran.board()
    for file, way in cases(ran.files()):
        path = ran.folder / file
        if not path.exists():  # the repair of another took it away, or gave it another name
            continue
        if "/teachers/" in file:
            ran.forget_distilled()
        had_content = path.stat().st_size > 0
        damaged(path, way)
        told = ran.go()
        assert ran.board() == expected, (file, way)
        assert ran.unsound() == [], (file, way)
        if had_content and not re.search(UNHEARD, file) and (path.name != CHECKSUMS or way != "removed"):
            assert path.exists(), (file, way)
            assert any(path.name in line or path.stem in line for line in told.lines) or was_taken_up(
                file, way, told
            ), (file, way, told.lines)


def was_taken_up(file, way, told):
    """Return whether the run simply went on from there: a record or a timing that is gone is one never made."""
    return way == "removed" and (
        ("/records/" in file and len(told.starts) == 1) or ("/timings/" in file and len(told.starts) == 1)
    )


def test_a_clock_that_was_wrong_changes_nothing(ran):
    expected = ran.board()
    store = RecordStore(ran.config.results)
    for number, record in enumerate(store.load()[0]):
        years = 30 if number % 2 else -30
        moment = record.finished_at.replace(year=record.finished_at.year + years)
        store.put(record.model_copy(update={"finished_at": moment}))
    ran.forget_distilled()
    assert ran.go().starts == ["vanilla-kd on toy-sentiment, seed 0"]
    assert ran.board() == expected


def test_a_model_that_was_deleted_as_a_whole_is_not_missed(ran):
    (key, *_) = (path.stem for path in ran.config.results.glob("records/*"))
    folder = CellFiles(ran.config.results, key).folder
    kept = shutil.move(folder, Path(ran.folder) / "kept")
    assert ran.go().starts == ["latency of toy-sentiment"]
    shutil.move(kept, folder)

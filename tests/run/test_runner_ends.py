"""A run is killed, interrupted and cut off from power at random moments: nothing that was done is lost, and the end is one.

`KDBENCH_TEST_KILLS=100` ends it so often; `tests/helpers/kills.py` says what is checked.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import helpers.kills
import pytest

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("KDBENCH_TEST_KILLS", "0"))
"""In all, in four ways; by default there are one power cut and one Ctrl-C of a smaller run."""


@pytest.fixture
def series(tmp_path, tiny_model, toy_plugin):
    """Run the series in a process of its own, whose forks have only what it has loaded; return what it found."""

    def run(*arguments):
        command = [sys.executable, "-m", "helpers.kills", "--folder", tmp_path, "--model", tiny_model]
        command += ["--plugin", toy_plugin, *arguments]
        path = os.pathsep.join(str(folder) for folder in Path(helpers.kills.__file__).parents[1:3])
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            list(map(str, command)), env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_nothing_is_lost_and_the_board_is_that_of_an_undisturbed_run(series):
    size = (
        ["--times", -(-KILLS // 4)]
        if KILLS
        else ["--times", 1, "--ways", "cut,int", "--strategy", "linear-probe"]
    )
    found = series(*size)
    assert found["violations"] == []
    assert sum(found["ended"].values()) >= max(KILLS, 2)
    assert found["whole"] >= 1


@pytest.mark.skipif(not KILLS, reason="KDBENCH_TEST_KILLS asks for it")
@pytest.mark.parametrize("forgotten", ["contents", "names"])
def test_what_is_not_forced_to_the_disk_is_found_missing(series, forgotten):
    assert series("--times", 10, "--ways", "cut", "--forget", forgotten)["violations"] != []

import math
import signal
import threading
from contextlib import suppress
from dataclasses import replace

import pytest
from helpers.commands import comes_true

from kdbench.live.recorder import MAX_LOSSES, CellState, Ending, Recorder, read_state, state_path
from kdbench.results.records import Status
from kdbench.run.executor import Progress
from kdbench.run.plan import make_plan

CELL = "finetune on toy-sentiment, seed 0"


@pytest.fixture
def config(make_config):
    made = make_config(strategy=["finetune", "linear-probe"])
    made.results.mkdir()
    return made


@pytest.fixture
def plan(config, registry):
    return make_plan(config, registry, fetch=True)


def state(config):
    found, problem = read_state(config.results)
    assert problem is None
    return found


def cell(config, label=CELL):
    return next(
        one for one in state(config).cells if label == f"{one.strategy} on {one.task}, seed {one.seed}"
    )


def test_nothing_is_written_before_there_is_a_plan_since_the_folder_may_be_another_runs(config):
    with pytest.raises(ValueError, match="no such strategy"), Recorder(config):
        raise ValueError("no such strategy")
    assert not state_path(config.results).exists()


def test_a_cell_goes_from_queued_by_running_to_its_score(config, plan):
    with Recorder(config) as recorder:
        recorder.planned(plan)
        assert {one.state for one in state(config).cells} == {CellState.QUEUED}
        assert state(config).ending is None
        assert state(config).model == "tiny-bert"
        recorder.started(CELL)
        recorder.progressed(CELL, Progress("job", "training", 3, 6, 0.75))
        assert comes_true(lambda: cell(config).done == 3)
        running = cell(config)
        assert (running.state, running.phase, running.total) == (CellState.RUNNING, "training", 6)
        assert (running.loss, running.losses) == (0.75, ((3, 0.75),))
        recorder.ended(CELL, Status.OK, None, 0.5, 12.34)
        recorder.end(Ending.DONE)
    ended = cell(config)
    assert (ended.state, ended.score, ended.seconds, ended.losses) == (CellState.DONE, 0.5, 12.3, ())
    assert state(config).ending is Ending.DONE
    # One of two cells has ended, so that the other takes as long again.
    assert state(config).left_s is not None


def test_a_failed_cell_has_its_reason_and_the_timing_of_a_task_is_no_cell(config, plan):
    with Recorder(config) as recorder:
        recorder.planned(plan)
        recorder.started(CELL)
        recorder.ended(CELL, Status.TIMEOUT, "took longer than 5 s", None, 5.0)
        recorder.started("latency of toy-sentiment")
        recorder.ended("latency of toy-sentiment", Status.FAILED, "no luck", None, 1.0)
    assert (cell(config).state, cell(config).reason) == (CellState.FAILED, "took longer than 5 s")
    (timing,) = state(config).timings
    assert (timing.name, timing.state, timing.reason) == (
        "latency of toy-sentiment",
        CellState.FAILED,
        "no luck",
    )
    assert len(state(config).cells) == 2


@pytest.mark.parametrize(
    ("error", "ending"), [(KeyboardInterrupt, Ending.INTERRUPTED), (OSError, Ending.BROKEN)]
)
def test_a_run_that_is_ended_from_outside_says_so(config, plan, error, ending):
    with suppress(error), Recorder(config) as recorder:
        recorder.planned(plan)
        raise error
    assert state(config).ending is ending


def test_a_curve_stays_short_begins_anew_with_each_loop_and_has_no_infinite_loss(config, plan):
    with Recorder(config) as recorder:
        recorder.planned(plan)
        recorder.started(CELL)
        for step in range(1, 1001):
            recorder.progressed(CELL, Progress("job", "training", step, 1000, 1 / step))
        recorder.progressed(CELL, Progress("job", "training", 1001, 1001, math.inf))
        assert comes_true(lambda: cell(config).done == 1001)
        steps = [step for step, _ in cell(config).losses]
        assert MAX_LOSSES // 2 <= len(steps) <= MAX_LOSSES
        assert steps == sorted(set(steps))
        assert (steps[0], steps[-1]) == (1, 1000)
        recorder.progressed(CELL, Progress("job", "training", 1, 5, 2.0))
        assert comes_true(lambda: cell(config).losses == ((1, 2.0),))


def test_a_folder_that_takes_no_file_ends_no_run(config, plan):
    state_path(config.results).mkdir()
    with Recorder(config) as recorder:
        recorder.planned(plan)
        recorder.started(CELL)
    assert state_path(config.results).is_dir()


def test_its_thread_leaves_ctrl_c_to_the_run_and_ends_with_it(config, plan):
    with Recorder(config) as recorder:
        recorder.planned(plan)
        (thread,) = (one for one in threading.enumerate() if one.name == "live state")
        signal.pthread_kill(thread.ident, 0)  # it lives
    assert not thread.is_alive()


def test_what_is_no_such_file_is_told_in_a_line(config):
    state_path(config.results).write_text('{"schema_version": 2}')
    found, problem = read_state(config.results)
    assert found is None
    assert "schema 1" in problem


def test_a_further_round_adds_its_cells_to_those_of_the_first(config, plan):
    later = replace(plan, cells=[replace(one, seed=1) for one in plan.cells])
    with Recorder(config) as recorder:
        recorder.planned(plan)
        for one in plan.cells:
            recorder.started(one.label)
            recorder.ended(one.label, Status.OK, None, 0.5, 1.0)
        recorder.planned(later)
        threads = [thread for thread in threading.enumerate() if thread.name == "live state"]
        assert len(threads) == 1
        assert [one.seed for one in state(config).cells] == [0, 0, 1, 1]
        assert cell(config).state is CellState.DONE
        assert cell(config, CELL.replace("seed 0", "seed 1")).state is CellState.QUEUED
        assert state(config).left_s is not None

"""Jobs in this very process end with the statuses that they have elsewhere."""

import os

import pytest

from kdbench.results.records import Status
from kdbench.run.executor import Ended, InlineExecutor, Job, Progress, Stage


@pytest.fixture
def run(tmp_path):
    """Run stages, given as ``(function, argument)``, as one job; return what was told of it, and its log."""

    def run_job(*stages):
        executor = InlineExecutor()
        made = tuple(Stage(f"helpers.stages:{function}", argument) for function, argument in stages)
        log = tmp_path / "logs" / "job.log"
        executor.start(Job("job", made, log))
        return executor.poll(0), log

    return run_job


def test_stages_run_one_after_another_in_this_process(run, tmp_path):
    stage = ("note_process", str(tmp_path / "pids"))
    events, _ = run(stage, stage)
    assert [event.status for event in events] == [Status.OK]
    assert (tmp_path / "pids").read_text() == f"{os.getpid()} {os.getppid()}\n" * 2


def test_every_progress_is_told_before_the_end_and_once(run):
    events, _ = run(("count", "3"))
    assert [event.done for event in events[:-1]] == [1, 2, 3]
    assert events[0] == Progress("job", "counting", 1, 3, 1.0)
    assert isinstance(events[-1], Ended)


@pytest.mark.parametrize(
    ("stage", "reason"),
    [(("raise_error", "bad\nluck"), "ValueError: bad luck"), (("exit_politely", "3"), "SystemExit: 3")],
)
def test_a_stage_that_fails_ends_its_job_and_leaves_its_traceback(run, tmp_path, stage, reason):
    events, log = run(stage, ("note_process", str(tmp_path / "pids")))
    assert [(event.status, event.reason) for event in events] == [(Status.FAILED, reason)]
    assert "Traceback" in log.read_text()
    assert not (tmp_path / "pids").exists()


def test_the_log_of_an_earlier_failure_does_not_outlive_a_success(run, tmp_path):
    _, log = run(("raise_error", "bad luck"))
    run(("note_process", str(tmp_path / "pids")))
    assert not log.exists() or "bad luck" not in log.read_text()


def test_what_happened_is_told_once(tmp_path):
    executor = InlineExecutor()
    executor.start(Job("job", (Stage("helpers.stages:count", "1"),), tmp_path / "log"))
    assert len(executor.poll(0)) == 2
    assert executor.poll(0) == []
    executor.stop()

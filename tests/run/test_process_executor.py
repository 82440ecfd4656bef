"""Jobs in processes of their own, and what becomes of them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest
from helpers.commands import PATIENCE_S, comes_true

from kdbench.results.records import Status
from kdbench.run.executor import Ended, Job, Progress, Stage
from kdbench.run.process_executor import ProcessExecutor

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]


@pytest.fixture
def executor():
    executor = ProcessExecutor(workers=2, threads=2)
    yield executor
    executor.stop()


@pytest.fixture
def job(tmp_path):
    """Make a job of stages given as ``function`` or ``(function, argument[, environment])``."""

    def make(*stages, name="job", timeout_s=None):
        stages = [(stage, "") if isinstance(stage, str) else stage for stage in stages]
        made = tuple(Stage(f"helpers.stages:{function}", *rest) for function, *rest in stages)
        return Job(name, made, tmp_path / "logs" / f"{name}.log", timeout_s)

    return make


def run(executor, *jobs):
    """Start `jobs` and return all that was told of them, and how each ended, by id."""
    for job in jobs:
        executor.start(job)
    return wait_for(executor, {job.id for job in jobs})


def wait_for(executor, ids):
    events = []
    give_up = time.monotonic() + PATIENCE_S
    while {event.job_id for event in events if isinstance(event, Ended)} != ids:
        assert time.monotonic() < give_up, f"not ended after {PATIENCE_S} s; so far {events}"
        events += executor.poll(0.2)
    return events, {event.job_id: event for event in events if isinstance(event, Ended)}


def is_running(pid):
    """Return whether the process `pid` runs; one that only waits to be collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def noted_pids(path):
    return [int(line.split()[0]) for line in path.read_text().splitlines()]


def test_a_stage_that_returns_is_ok(executor, job, tmp_path):
    _, ended = run(executor, job(("note_process", str(tmp_path / "pids"))))
    assert (ended["job"].status, ended["job"].reason) == (Status.OK, None)
    assert ended["job"].seconds > 0


def test_temporary_files_may_go_where_no_socket_can(tmp_path):
    long = tmp_path / ("folder" * 20)
    long.mkdir()
    script = f"""
        from pathlib import Path
        from kdbench.run.executor import Job, Stage
        from kdbench.run.process_executor import ProcessExecutor

        executor = ProcessExecutor()
        executor.start(Job("job", (Stage("helpers.stages:note_process", {str(tmp_path / "pids")!r}),), Path("log"), None))
        while not (events := executor.poll(1)):
            pass
        print(events[0].status.value)
    """
    environment = {**os.environ, "TMPDIR": str(long), "PYTHONPATH": str(TESTS)}
    ran = subprocess.run(
        [sys.executable, "-c", dedent(script)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (ran.stdout, ran.stderr) == ("ok\n", "")
    assert noted_pids(tmp_path / "pids")


def test_each_stage_runs_in_a_process_of_its_own(executor, job, tmp_path):
    pids = tmp_path / "pids"
    run(executor, job(*[("note_process", str(pids))] * 3))
    assert len({os.getpid(), *noted_pids(pids)}) == 4


def test_an_exception_is_told_by_type_and_message_and_its_traceback_is_in_the_log(executor, job):
    failing = job(("raise_error", "bad\nluck"))
    _, ended = run(executor, failing)
    assert (ended["job"].status, ended["job"].reason) == (Status.FAILED, "ValueError: bad luck")
    log = failing.log.read_text()
    assert "Traceback" in log
    assert "in raise_error" in log


def test_a_message_of_any_length_becomes_a_line_that_a_table_can_hold(executor, job):
    _, ended = run(executor, job(("raise_error", "so " * 10_000)))
    assert len(ended["job"].reason) <= 300
    assert ended["job"].reason.startswith("ValueError: so so")


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (("exit_politely", "3"), "SystemExit: 3"),
        (("exit_at_once", "3"), "exit code 3"),
        (("exit_at_once", "0"), None),
        (("kill_itself", ""), "SIGKILL, as the system does when memory runs out"),
    ],
)
def test_a_process_that_leaves_early_is_told_by_how_it_left(executor, job, stage, said):
    _, ended = run(executor, job(stage))
    if said is None:
        assert ended["job"].status is Status.OK
    else:
        assert ended["job"].status is Status.FAILED
        assert said in ended["job"].reason


def test_a_job_that_dies_is_told_even_if_a_process_that_it_forked_lives_on(executor, job, tmp_path):
    orphan = tmp_path / "orphan"
    _, ended = run(executor, job(("leave_a_child_behind", str(orphan))))
    assert "SIGKILL" in ended["job"].reason
    assert comes_true(lambda: not is_running(noted_pids(orphan)[0]))


def test_what_a_stage_prints_goes_to_the_log_of_its_job_alone(executor, job, capfd):
    first, second = job(("print_lines", "1"), name="first"), job(("print_lines", "2"), name="second")
    run(executor, first, second)
    assert sorted(first.log.read_text().split("\n")) == ["", "err 1", "out 1"]
    assert sorted(second.log.read_text().split("\n")) == ["", "err 2", "out 2"]
    assert capfd.readouterr() == ("", "")


def test_a_stage_cannot_take_the_terminal_s_input(executor, job, tmp_path):
    _, ended = run(executor, job(("call_a_program", str(tmp_path / "read"))))
    assert ended["job"].status is Status.OK
    assert (tmp_path / "read").read_text() == ""


def test_the_log_of_an_earlier_try_is_replaced(executor, job):
    again = job(("print_lines", "once"))
    run(executor, again)
    run(executor, again)
    assert again.log.read_text().count("out once") == 1


def test_no_stage_follows_one_that_failed(executor, job, tmp_path):
    _, ended = run(executor, job(("exit_at_once", "4"), ("note_process", str(tmp_path / "pids"))))
    assert ended["job"].status is Status.FAILED
    assert not (tmp_path / "pids").exists()


def test_a_job_that_hangs_ends_at_its_limit_and_its_process_is_gone(executor, job, tmp_path):
    pids = tmp_path / "pids"
    executor.start(job(("hang", str(pids)), timeout_s=2))
    _, ended = wait_for(executor, {"job"})
    assert (ended["job"].status, ended["job"].reason) == (Status.TIMEOUT, "took longer than 2 s")
    assert 2 <= ended["job"].seconds < 20
    assert not pids.exists() or not is_running(noted_pids(pids)[0])


def test_the_limit_counts_for_all_stages_together(executor, job, tmp_path):
    pids = tmp_path / "pids"
    _, ended = run(executor, job(("count_slowly", "20"), ("hang", str(pids)), timeout_s=2.5))
    assert (ended["job"].status, ended["job"].reason) == (Status.TIMEOUT, "took longer than 2.5 s")
    assert 2.5 <= ended["job"].seconds < 20


def test_as_many_jobs_run_at_once_as_there_are_workers(executor, job, tmp_path):
    (tmp_path / "meeting").mkdir()
    stage = ("meet", str(tmp_path / "meeting"))
    _, ended = run(executor, job(stage, name="first"), job(stage, name="second"))
    assert executor.capacity == 2
    assert [ended[name].reason for name in ("first", "second")] == [None, None]


def test_one_job_s_end_leaves_the_others_running(executor, job):
    events, ended = run(
        executor, job("kill_itself", name="dying"), job(("count_slowly", "30"), name="living")
    )
    assert [ended[name].status for name in ("dying", "living")] == [Status.FAILED, Status.OK]
    assert Progress("living", "counting", 30, 30, None) in events


def test_progress_arrives_in_order_before_the_end_and_its_last_step_always(executor, job):
    events, _ = run(executor, job(("count", "2000")))
    steps = [event.done for event in events[:-1]]
    assert steps == sorted(steps)
    assert events[-2] == Progress("job", "counting", 2000, 2000, 1 / 2000)
    assert isinstance(events[-1], Ended)
    assert len(steps) < 2000  # a table is not redrawn for every step of a fast loop


def test_poll_returns_after_its_time_where_nothing_happens(executor):
    started = time.monotonic()
    assert executor.poll(0.1) == []
    assert time.monotonic() - started < 10


def test_stop_leaves_no_process_and_tells_nothing_more(executor, job, tmp_path):
    pids = tmp_path / "pids"
    executor.start(job(("hang", str(pids)), name="first"))
    executor.start(job(("hang", str(pids)), name="second"))
    assert comes_true(lambda: pids.exists() and len(noted_pids(pids)) == 2, PATIENCE_S)
    executor.stop()
    assert not any(is_running(pid) for pid in noted_pids(pids))
    assert executor.poll(0.1) == []


def test_a_stage_with_an_environment_has_it_before_torch_loads_and_no_other_stage_has(
    executor, job, tmp_path
):
    own, plain = tmp_path / "own.json", tmp_path / "plain.json"
    before = os.environ.get("OMP_NUM_THREADS")
    _, ended = run(
        executor,
        job(("note_environment", str(own), {"OMP_NUM_THREADS": "1"}), name="own"),
        job(("note_environment", str(plain)), name="plain"),
    )
    assert [ended[name].reason for name in ("own", "plain")] == [None, None]
    assert json.loads(own.read_text()) == {"torch was loaded": False, "variable": "1", "threads": 1}
    seen = json.loads(plain.read_text())
    assert (seen["threads"], seen["variable"]) == (2, before)
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_the_processes_end_when_their_parent_is_killed(tmp_path):
    pids = tmp_path / "pids"
    parent = tmp_path / "parent.py"
    parent.write_text(
        dedent(
            f"""
            from pathlib import Path
            from kdbench.run.executor import Job, Stage
            from kdbench.run.process_executor import ProcessExecutor

            if __name__ == "__main__":
                executor = ProcessExecutor(workers=2)
                for name, environment in (("forked", {{}}), ("fresh", {{"OMP_NUM_THREADS": "1"}})):
                    stage = Stage("helpers.stages:hang", {str(pids)!r}, environment)
                    executor.start(Job(name, (stage,), Path({str(tmp_path)!r}) / name))
                while True:
                    executor.poll(10)
            """
        )
    )
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    process = subprocess.Popen([sys.executable, str(parent)], env=environment)
    try:
        assert comes_true(lambda: pids.exists() and len(noted_pids(pids)) == 2, PATIENCE_S)
        assert all(is_running(pid) for pid in noted_pids(pids))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert comes_true(lambda: not any(is_running(pid) for pid in noted_pids(pids)))

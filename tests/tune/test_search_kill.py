"""A search that is killed goes on where it was; that no process outlives a kill, the tests of runs show."""

import signal

import pytest
from helpers.commands import Command

from kdbench import TaskKind
from kdbench.api.spec import parse_spec
from kdbench.results.tuning import StudyStore

pytest.importorskip("optuna")
pytestmark = pytest.mark.slow

STRATEGY = "hard-labels[init=base,layers=1]"


@pytest.fixture
def command(tmp_path, tiny_model, toy_plugin, cache_dir):
    command = Command(tmp_path, model=tiny_model, plugins=[toy_plugin], cache=cache_dir)
    command.settings += ["--task", "toy-sentiment", "--strategy", STRATEGY, "--executor", "inline"]
    yield command
    command.kill()


def test_finished_trials_outlive_a_kill_and_the_others_are_those_of_an_undisturbed_search(
    command, registry, call, monkeypatch, cache_dir
):
    from kdbench.tune.sampler import suggest
    from kdbench.tune.space import StudySpace

    def finished():
        return {
            path: path.stat().st_mtime_ns for path in command.results.glob("tuning/studies/*/trials/*.json")
        }

    begun = command.start("--trials", 4, "--repeats", 1, verb="tune")
    begun.wait_until(finished)
    begun.signal(signal.SIGKILL)
    begun.end()
    before = finished()
    monkeypatch.setenv("KDBENCH_CACHE", str(cache_dir))
    code, printed, errors = call("tune", *command.settings, "--trials", "4")
    assert code == 0, errors
    assert f"{4 - len(before)}/{4 - len(before)} ok" in printed
    after = finished()
    assert {path: after[path] for path in before} == before
    (result,) = StudyStore(command.results).load()
    space = StudySpace(registry.strategy(parse_spec(STRATEGY)), [TaskKind.SEQUENCE_CLASSIFICATION])
    assert [trial.params for trial in result.trials] == [
        suggest(space, [], number) for number in (1, 2, 3, 4)
    ]
    assert None not in [trial.score for trial in result.trials]
    assert (
        len([line for line in printed.splitlines() if line.startswith(f" {STRATEGY}")]) == 1
    )  # of the table
    assert (command.results / "tuning" / "smoke" / "toy-sentiment.md").is_file()

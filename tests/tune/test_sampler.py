"""The choice of a trial's parameters."""

import math
from datetime import datetime, timezone

import pytest

from kdbench import TaskKind
from kdbench.api.spec import parse_spec
from kdbench.errors import UsageError
from kdbench.results.tuning import Trial
from kdbench.tune import sampler
from kdbench.tune.sampler import check_optuna, needed_trials, suggest
from kdbench.tune.space import SPREAD_TRIALS, StudySpace

SPREAD = range(2, 2 + SPREAD_TRIALS)


@pytest.fixture(autouse=True)
def _with_optuna():
    pytest.importorskip("optuna")


@pytest.fixture
def space(registry):
    def make(strategy):
        return StudySpace(registry.strategy(parse_spec(strategy)), [TaskKind.SEQUENCE_CLASSIFICATION])

    return make


def search(space, score, trials):
    """Search in this process, and return the trials."""
    done = []
    for number in range(1, trials + 1):
        params = suggest(space, done[: needed_trials(number)], number)
        done.append(
            Trial(
                study="s",
                number=number,
                params=params,
                score=score(params),
                seconds=1,
                finished_at=datetime(2026, 11, 3, tzinfo=timezone.utc),
            )
        )
    return done


def test_the_first_trial_is_the_defaults(space):
    assert suggest(space("lora"), [], 1) == {}


def test_the_next_ones_put_one_rate_into_every_eighth_of_the_range(space):
    lora = space("lora")
    bounds = lora.declared["learning_rate"]
    rates = [suggest(lora, [], number)["learning_rate"] for number in SPREAD]
    places = [math.log(rate / bounds.low) / math.log(bounds.high / bounds.low) for rate in rates]
    for eighth, place in enumerate(sorted(places)):
        assert eighth - 0.01 < 8 * place < eighth + 1.01  # rates have three digits


def test_several_parameters_are_crossed(space):
    points = [suggest(space("vanilla-kd"), [], number) for number in SPREAD]
    assert {"learning_rate", "temperature", "alpha"} == set(points[0])
    for name in points[0]:
        assert len({point[name] for point in points}) == len(points)


def test_a_search_begun_again_makes_the_same_choices(space):
    def score(params):
        return -abs(math.log(params.get("learning_rate", 1e-4) / 3e-4))

    first, again = search(space("pkd"), score, 13), search(space("pkd"), score, 13)
    assert [trial.params for trial in first] == [trial.params for trial in again]
    assert needed_trials(1 + SPREAD_TRIALS) == 0
    assert needed_trials(2 + SPREAD_TRIALS) == 1 + SPREAD_TRIALS


def test_later_trials_learn_from_the_earlier_ones_beyond_the_range(space):
    """The best rate is far above the range: the trials go there."""
    lora = space("lora")
    done = search(lora, lambda params: -abs(math.log(params.get("learning_rate", 2e-3) / 0.1)), 16)
    assert max(trial.params["learning_rate"] for trial in done[1:9]) < 0.016
    best = max(done, key=lambda trial: trial.score)
    assert 0.03 < best.params["learning_rate"] < 0.3


@pytest.mark.parametrize("strategy", ["minilm", "multi-task", "bilstm-kd"])
def test_trials_may_all_fail_and_defaults_may_have_no_number(space, strategy):
    done = search(space(strategy), lambda params: None, 11)
    declared = space(strategy).declared
    assert all(value in declared[name] for trial in done for name, value in trial.params.items())


def test_without_optuna_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(sampler.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs Optuna.*pip install 'kdbench\[tune\]'"):
        check_optuna()

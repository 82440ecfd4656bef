"""Each check of strategies finds a strategy that breaks its promise, and passes one that keeps all."""

import sys

import helpers.broken_strategies as broken
import pytest

from kdbench.plugins import load_plugins
from kdbench.testing.laboratory import Laboratory
from kdbench.testing.report import Verdict
from kdbench.testing.strategy_checks import STRATEGY_CHECKS
from kdbench.testing.subjects import of_strategy
from kdbench.testing.trial import Case

pytestmark = pytest.mark.slow

CHECKS = {check.name: check for check in STRATEGY_CHECKS}
NEVER_BROKEN = {"import-is-light"}  # tests/testing/test_check.py has a module that is heavy
MESSAGES = {
    "contract": "search tries rank=8, which Params rejects",
    "describes-its-parameters": "rank has no description",
    "describes-its-parameters-2": "rank is a number without bounds",
    "rejects-wrong-parameters": "unknown parameter",
    "fits": "KeyError: 'no such key'",
    "fits-2": "returned None",
    "fits-3": "not today",
    "trains-within-the-budget": "it took 8 optimizer steps of 4",
    "reports-its-training": "1 optimizer steps are in no training loop",
    "stays-finite": "classifier.weight",
    "repeats-itself": "second fit with the same seed",
    "leaves-scored-examples-alone": "reads bench.task.scored",
    "saves-and-loads": "logits differ by 1.0e+00",
    "saves-and-loads-2": "training.pkl",
    "answers-every-input": "(1, 7), not (units, 3)",
    "ignores-padding": "answered alone",
    "counts-its-weights": "when it is loaded",
    "freezes-the-base": "all weights are trained",
    "freezes-the-base-2": "not of the base model",
    "stays-offline": "kdbench.invalid",
    "leaves-nothing-behind": "watcher",
    "leaves-nothing-behind-2": "notes.txt",
    "leaves-nothing-behind-3": "sleep 600",
    "leaves-global-state-alone": "torch's default dtype",
    "leaves-global-state-alone-2": "KDBENCH_BROKEN",
    "leaves-global-state-alone-3": "seeds a global random generator",
}
"""By broken strategy a part of what its check says."""


@pytest.fixture(scope="module")
def laboratory():
    registry = load_plugins([broken.__file__])
    yield Laboratory(registry)
    loaded = sys.modules[registry.strategies["fits"].item.__module__]
    loaded.ended.set()
    for process in loaded.started:
        process.kill()
        process.wait()


def subject_of(strategy, laboratory):
    case = Case("bert", (strategy.kinds and next(iter(strategy.kinds)),))
    return of_strategy(strategy, laboratory, [case])


def test_every_check_is_broken_by_a_strategy():
    found = {name.rstrip("-0123456789") for name in MESSAGES}
    assert found == CHECKS.keys() - NEVER_BROKEN
    assert {strategy.name for strategy in broken.kdbench_strategies()} == MESSAGES.keys()


@pytest.mark.parametrize("name", MESSAGES)
def test_a_broken_promise_is_found_and_named(laboratory, name):
    subject = subject_of(laboratory.registry.strategies[name].item, laboratory)
    result = CHECKS[name.rstrip("-0123456789")](subject.subject)
    assert result.verdict is Verdict.FAILED
    assert MESSAGES[name] in result.reason


def test_a_sound_strategy_passes_all_that_applies_to_it(laboratory):
    class Sound(broken.Broken):
        name = "sound"

    results = subject_of(Sound, laboratory).run().results
    assert [result.check for result in results if result.verdict is not Verdict.PASSED] == [
        "freezes-the-base"
    ]

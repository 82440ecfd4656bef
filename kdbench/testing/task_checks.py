"""Check that a task is what its contract says, on the data that it reads."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from kdbench.api.metric import check_suits, get_metric
from kdbench.api.task import Task
from kdbench.config import DataSettings
from kdbench.data import load_task, missing_downloads
from kdbench.data.fetch import local_files
from kdbench.data.loading import TaskData
from kdbench.errors import UsageError
from kdbench.plugin_checks import checked_task
from kdbench.testing.laboratory import Laboratory
from kdbench.testing.observation import Observation, observed
from kdbench.testing.plain_import import import_without_torch
from kdbench.testing.report import Check, CheckError, NotApplicableError, ensure
from kdbench.testing.trial import fine_tuned
from kdbench.training.predict import predict


class TaskSubject:
    """A task under check, and its data, read when a check first asks for them.

    Args:
        settings: where the data are; a source that would have to be downloaded is not read.
    """

    def __init__(self, task: object, laboratory: Laboratory, settings: DataSettings) -> None:
        self.task: Task = checked_task(task)
        self.laboratory = laboratory
        self.settings = settings

    @cached_property
    def data(self) -> TaskData:
        """The task's data.

        Raises:
            NotApplicableError: they are not on this machine.
        """
        self.need_files()
        return load_task(self.task, self.settings)

    @cached_property
    def second_reading(self) -> tuple[str, Observation]:
        """The fingerprint of the data when they are read anew, and what was seen meanwhile."""
        self.need_files()
        with TemporaryDirectory(dir=self.laboratory.folder) as cache:
            packages = self.settings.cache_dir / "packages"
            if packages.exists():
                (Path(cache) / "packages").symlink_to(packages)
            with observed(self.laboratory.folder) as seen:
                fingerprint = load_task(self.task, replace(self.settings, cache_dir=Path(cache))).fingerprint
        return fingerprint, seen

    def need_files(self) -> None:
        """Raise a NotApplicableError unless the data are on this machine."""
        if missing := missing_downloads(self.task, self.settings):
            raise NotApplicableError(
                f"{missing[0].name} is not fetched yet; `kdbench describe {self.task.name}` fetches it"
            )
        if "package" not in self.task.sources and not local_files(self.task, self.settings):
            raise NotApplicableError("its data are not here; name their folder by --data-dir")


def import_is_light(subject: TaskSubject) -> None:
    """Importing its module does not import torch."""
    import_without_torch(type(subject.task))


def says_where_it_comes_from(subject: TaskSubject) -> None:
    """It has a licence."""
    ensure(
        subject.task.licence.strip(),
        "licence is empty; say under which terms the data may be used, or 'internal use'",
    )


def has_metrics_that_suit(subject: TaskSubject) -> None:
    """Its metrics are registered, suit its kind and accept its labels."""
    registry, task = subject.laboratory.registry, subject.task
    ensure(task.kind in registry.kinds, f"no plugin registers its kind {str(task.kind)!r}")
    for name in (task.metric, *task.metrics):
        try:
            check_suits(name, task.kind, registry.metrics)
            get_metric(name, registry.metrics).check_labels(task.labels)
        except UsageError as error:
            raise CheckError(str(error)) from None


def reads_its_data(subject: TaskSubject) -> str | None:
    """Its data can be read, and every example is valid."""
    data = subject.data
    sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in data.splits.items())
    repeated = data.duplicates + data.near_duplicates
    also = f"; {repeated:,} of {subject.task.eval_split} also occur in train" if repeated else ""
    return sizes + also


def reads_alike_again(subject: TaskSubject) -> None:
    """Reading the data twice gives the same examples."""
    first, (again, _) = subject.data, subject.second_reading
    ensure(
        again == first.fingerprint,
        "a second reading gives other examples; draw nothing without a seed, and keep the order of files",
    )


def reads_files_alone(subject: TaskSubject) -> None:
    """Reading files that are there opens no connection, and leaves nothing behind."""
    _, seen = subject.second_reading
    ensure(not seen.connections, f"it tried to reach {', '.join(seen.connections[:3])}; declare a source")
    left = [*seen.files, *seen.threads, *seen.processes]
    ensure(not left, f"it leaves {', '.join(left[:3])} behind; delete or end it")
    ensure(not seen.changed, f"it changes {', '.join(seen.changed[:3])}; restore it, or leave it")


def can_be_trained(subject: TaskSubject) -> None:
    """A tiny model can be fine-tuned on it and scored, within the metric's range."""
    experiment = subject.laboratory.experiment_on(subject.data, "bert")
    model = fine_tuned(experiment, subject.laboratory.registry, seed=0)
    answers = predict(model, experiment.task.scored, experiment.collate, device=experiment.device)
    score = experiment.metric.of(answers, subject.task.labels)
    low, high = experiment.metric.score_range
    ensure(low <= score <= high, f"{subject.task.metric} is {score}, not within {low} to {high}")


TASK_CHECKS: tuple[Check[TaskSubject], ...] = tuple(
    map(
        Check,
        (
            import_is_light,
            says_where_it_comes_from,
            has_metrics_that_suit,
            reads_its_data,
            reads_alike_again,
            reads_files_alone,
            can_be_trained,
        ),
    )
)
"""What is checked of every task, in this order."""

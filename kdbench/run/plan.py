"""Plan a run: list its cells with their keys and states."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial

from kdbench.api.predictions import Predictions
from kdbench.api.spec import StrategySpec
from kdbench.api.strategy import JointStrategy, Strategy, spec_of
from kdbench.api.task import LocalSource, Task
from kdbench.config import RunConfig, is_answers
from kdbench.data import Download, missing_downloads
from kdbench.data.fetch import local_files
from kdbench.errors import KdbenchError, UsageError, nearest
from kdbench.hookspecs import PROJECT
from kdbench.models.base import BaseModel, missing_model_downloads, resolve_base_model
from kdbench.registry import Registered, Registry
from kdbench.results.paths import CellFiles
from kdbench.results.records import Record, RecordStore, Status, StrategyInfo
from kdbench.results.tuning import Tuning
from kdbench.run.answer_rows import answers_alone, why_not_with_answers, with_answers
from kdbench.run.keys import cell_key, study_key
from kdbench.run.provenance import model_info
from kdbench.run.teacher_rows import from_base, students_start_from_base, why_not_matched
from kdbench.run.tuned import TunedStrategies
from kdbench.training.experiment import Experiment, make_experiment, student_of
from kdbench.utils.formatting import plural
from kdbench.utils.remarks import remark


@dataclass(frozen=True)
class Row:
    """A strategy with its parameters: a row of a board."""

    strategy: Strategy
    added_for: str | None = None
    """Why the row was added although the settings do not name it."""

    @property
    def spec(self) -> StrategySpec:
        """The strategy's name with the parameters that differ from their defaults."""
        return spec_of(self.strategy)


class State(str, Enum):
    """The state of a cell before a run."""

    DONE = "done"
    OUTDATED = "done by another version"
    """Of the strategy's plugin."""
    FAILED = "failed before"
    NOT_APPLICABLE = "not applicable"
    PENDING = "pending"

    __str__ = str.__str__


@dataclass(frozen=True)
class Cell:
    """A strategy with its parameters on one task with one seed, and its state before a run."""

    row: Row
    task: Task
    seed: int
    partners: tuple[Task, ...] = ()
    """For a joint strategy, the tasks that it trains on together."""
    state: State = State.PENDING
    reason: str | None = None
    """Why it is not applicable, failed before, or is outdated."""
    key: str | None = None
    """None if data or base model are not on this machine yet."""
    keys_before: tuple[str, ...] = ()
    """For a stack, the keys of its earlier stages, first to last."""
    tuning: tuple[Tuning, ...] = ()
    """How the parameters of each tuned stage were found."""

    @property
    def label(self) -> str:
        """A readable name of the cell."""
        return f"{self.row.spec} on {self.task.name}, seed {self.seed}"


def cells_of(config: RunConfig, registry: Registry) -> list[Cell]:
    """Return the cells of a run in the order in which they should start.

    All cells of one seed come before the next seed, so that the board fills early; within a task the teacher's row
    comes first, since others wait for it; joint strategies, which need every task's teacher, come last.
    """
    rows = select_rows(config, registry)
    tasks = select_tasks(config, registry)
    cells = [
        cell_of(row, task, seed, tasks) for seed in range(config.seed_count) for task in tasks for row in rows
    ]
    if is_answers(config.teacher):
        cells = [_with_answers_or_not_applicable(cell, registry) for cell in cells]
    return sorted(cells, key=lambda cell: (cell.seed, isinstance(cell.row.strategy, JointStrategy)))


def cell_of(row: Row, task: Task, seed: int, tasks: Sequence[Task]) -> Cell:
    """Return the cell of a row on `task`, one of the `tasks` of a run; it is pending or not applicable."""
    strategy = row.strategy
    partners: tuple[Task, ...] = ()
    if isinstance(strategy, JointStrategy):
        partners = tuple(
            other for other in tasks if other.kind in strategy.kinds and strategy.applies(other) is None
        )
    reason = _reason_not_applicable(strategy, task, partners)
    return Cell(row, task, seed, partners, State.PENDING if reason is None else State.NOT_APPLICABLE, reason)


def _with_answers_or_not_applicable(cell: Cell, registry: Registry) -> Cell:
    reason = cell.reason or why_not_with_answers(cell.row.strategy, registry)
    return cell if reason is None else replace(cell, state=State.NOT_APPLICABLE, reason=reason)


def select_rows(config: RunConfig, registry: Registry) -> list[Row]:
    """Return the strategies that the settings name, preceded by the teacher's row, with every control added."""
    reason = "the base model trained on the labels" if is_answers(config.teacher) else "the teacher itself"
    teachers = [
        Row(registry.strategy(StrategySpec(name=registered.item.name)), reason)
        for registered in registry.strategies.values()
        if registered.item.is_teacher_row
    ]
    rows = {row.spec: row for row in teachers}
    for row in requested_rows(config, registry):
        if row.spec not in rows or row.added_for is None:
            rows[row.spec] = row
    return list(rows.values())


def requested_rows(config: RunConfig, registry: Registry) -> list[Row]:
    """Return the strategies that the settings name, each after its controls."""
    specs = [*registry.match_strategies(config.strategy), *_grid(config.grid)]
    if is_answers(config.teacher):
        specs = [with_answers(spec, registry) for spec in specs]
    elif students_start_from_base(config):
        specs = [from_base(spec, registry) for spec in specs]
    rows: dict[StrategySpec, Row] = {}
    for strategy in map(registry.strategy, specs):
        alone = answers_alone(strategy) if is_answers(config.teacher) else None
        if alone is not None:
            row = Row(registry.strategy(alone), f"{spec_of(strategy)} on the answers alone")
            rows.setdefault(row.spec, row)
        for control in (registry.control(strategy), registry.base_control(strategy)):
            if control is not None:
                row = Row(registry.strategy(control), f"the control of {spec_of(strategy)}")
                rows.setdefault(row.spec, row)
        rows[spec_of(strategy)] = Row(strategy)
    return list(rows.values())


def select_tasks(config: RunConfig, registry: Registry) -> list[Task]:
    """Return the tasks that the settings name.

    By default the tasks that the settings define, or else those in the data folder, or else those that are
    fetched from packages and belong to a default run.
    """
    if config.task:
        return registry.match_tasks(config.task)
    if config.tasks:
        return [registry.task(name) for name in config.tasks]
    tasks = [registered.item for registered in registry.tasks.values()]
    if config.data_dir is None:
        return [task for task in tasks if "package" in task.sources and task.in_default_run]
    if not config.data_dir.is_dir():
        raise UsageError(f"--data-dir {config.data_dir} is not a folder; name one that contains corpora")
    local = [task for task in tasks if isinstance(task.sources.get("local"), LocalSource)]
    available = [task for task in local if local_files(task, config.data)]
    if not available:
        layouts = ", ".join(task.name for task in local)
        raise UsageError(
            f"--data-dir {config.data_dir} contains none of the corpora {layouts} in its official layout"
        )
    return available


def _reason_not_applicable(strategy: Strategy, task: Task, partners: Sequence[Task]) -> str | None:
    for stage in strategy.stages:
        if task.kind not in stage.kinds:
            served = ", ".join(sorted(str(kind) for kind in stage.kinds))
            subject = f"{stage.name} " if stage is not strategy else ""
            return f"{subject}serves {served}, not {task.kind}"
        reason = stage.applies(task)
        if reason is not None:
            return reason
    if isinstance(strategy, JointStrategy) and len(partners) < 2:
        return "trains on two or more tasks together, and the run has no other task that it serves"
    return None


def _grid(grid: dict[str, dict[str, list[object]]]) -> Iterable[StrategySpec]:
    for name, values in grid.items():
        for combination in itertools.product(*values.values()):
            yield StrategySpec(name=name, params=dict(zip(values, combination, strict=True)))


@dataclass(frozen=True)
class Plan:
    """The cells of a run, their experiments, and the downloads they need."""

    cells: list[Cell]
    downloads: list[Download]
    base: BaseModel | None = None
    experiments: dict[str, Experiment] | None = None
    """By task; None if something must be fetched first."""

    def count(self, state: State) -> int:
        """Return the number of cells in `state`."""
        return sum(cell.state is state for cell in self.cells)


def make_plan(config: RunConfig, registry: Registry, *, fetch: bool) -> Plan:
    """Return the plan of a run with `config`.

    Args:
        fetch: whether to fetch missing files; otherwise all cells that could run count as pending if any is missing.

    Raises:
        UsageError: the settings name something that does not exist.
    """
    cells = cells_of(config, registry)
    tasks = {cell.task.name: cell.task for cell in cells}
    check_settings(config, registry, list(tasks.values()))
    downloads = missing_model_downloads(config.model, config.cache_dir)
    if config.teacher is not None and not is_answers(config.teacher):
        downloads += missing_model_downloads(config.teacher, config.cache_dir)
    stages = (stage for cell in cells for stage in cell.row.strategy.stages)
    for student in sorted({name for name in map(student_of, stages) if name is not None}):
        downloads += missing_model_downloads(student, config.cache_dir)
    for task in tasks.values():
        downloads += missing_downloads(task, config.data)
    if downloads and not fetch:
        return Plan(cells, downloads)
    base = resolve_base_model(config.model, config.cache_dir)
    if config.teacher is not None and downloads and not is_answers(config.teacher):
        resolve_base_model(config.teacher, config.cache_dir, "--teacher")
        cells = cells_of(config, registry)  # where students start is known now
    experiments = {name: make_experiment(config, registry, name, base) for name in tasks}
    for experiment in experiments.values():
        if experiment.answers is not None:
            remark(f"{experiment.answers.name}: {_answers_line(experiment)}")
    store = RecordStore(config.results)
    cells = _with_tuning(cells, registry, config, experiments)
    planned: dict[str, Cell] = {}
    for cell in cells:
        partners = [experiments[task.name] for task in cell.partners]
        key = cell_key(cell.row.strategy, experiments[cell.task.name], cell.seed, partners)
        # `lora` and `lora[learning_rate=…]` with the default rate have the same key and are one cell.
        earlier = cell.row.strategy.stages[:-1]
        keys_before = tuple(cell_key(stage, experiments[cell.task.name], cell.seed) for stage in earlier)
        cell = replace(cell, key=key, keys_before=keys_before)
        cell = _without_enough_labels(cell, experiments[cell.task.name])
        reason = why_not_matched(cell.row.strategy, experiments[cell.task.name], registry)
        if reason is not None and cell.state is not State.NOT_APPLICABLE:
            cell = replace(cell, state=State.NOT_APPLICABLE, reason=reason)
        if key not in planned:
            planned[key] = _with_result(cell, config, store, registry)
    return Plan(list(planned.values()), downloads, base, experiments)


def _answers_line(experiment: Experiment) -> str:
    info = model_info(experiment).answers
    assert info is not None
    return info.described(experiment.task.task.metric, experiment.task.train_examples)


def _without_enough_labels(cell: Cell, experiment: Experiment) -> Cell:
    """Return `cell`, not applicable if its task has fewer training examples than the label count."""
    labels, examples = experiment.budget.labels, experiment.task.train_examples
    if labels is None or examples >= labels or cell.state is State.NOT_APPLICABLE:
        return cell
    reason = f"the task has only {examples:,} labelled training examples"
    return replace(cell, state=State.NOT_APPLICABLE, reason=reason)


def _with_tuning(
    cells: Sequence[Cell], registry: Registry, config: RunConfig, experiments: Mapping[str, Experiment]
) -> list[Cell]:
    """Return `cells`, the tuned ones with the parameters that were found on their task."""
    tuned, found = TunedStrategies(registry, config), []
    for cell in cells:
        if cell.state is not State.NOT_APPLICABLE and any(
            stage.tuned is not None for stage in cell.row.strategy.stages
        ):
            tasks = cell.partners or (cell.task,)
            key = partial(study_key, experiments=[experiments[task.name] for task in tasks])
            strategy, tuning = tuned.look_up(cell.row.strategy, tasks, key)
            cell = replace(cell, row=replace(cell.row, strategy=strategy), tuning=tuning)
        found.append(cell)
    tuned.check()
    return found


def check_settings(config: RunConfig, registry: Registry, tasks: Sequence[Task]) -> None:
    """Refuse what only now is known to be wrong, with the plugins loaded and the `tasks` selected.

    Raises:
        UsageError: a teacher for several tasks, or a budget that names a kind of task which no plugin brings.
    """
    if config.teacher is not None and len(tasks) > 1:
        raise UsageError(
            f"--teacher applies to one task, but the run has {len(tasks)}; select one with --task"
        )
    budget, known = config.resolved_budget, list(registry.kinds)
    for field, by_kind in (("steps", budget.steps), ("batch_size", budget.batch_size)):
        for kind in by_kind:
            if kind not in known:
                raise UsageError(
                    f"budgets.{budget.name}.{field}.{kind}: no plugin brings a kind of task {kind!r}{nearest(kind, known)}"
                )


def _lost(files: CellFiles, record: Record) -> str | None:
    """Return what a finished cell lacks: predictions, or a part of its model; a model that was deleted is not missed.

    Of the model only the sizes of files are compared: reading all models of a large board would take minutes.
    """
    has_noisy = record.quality is not None and record.quality.noisy_score is not None
    for path in (files.predictions, *((files.noisy_predictions,) if has_noisy else ())):
        try:
            Predictions.load(path)
        except KdbenchError:
            return f"{path} is missing or damaged"
    return files.damage(sizes_only=True)


def _with_result(cell: Cell, config: RunConfig, store: RecordStore, registry: Registry) -> Cell:
    """Return `cell` in the state that follows from what an earlier run has left in the results folder.

    A finished cell of which a file is damaged or missing is pending, and the user is told; what is whole is used again.
    """
    assert cell.key is not None
    record, problem = store.read(cell.key)
    files = CellFiles(config.results, cell.key)
    if cell.state is State.NOT_APPLICABLE or config.overwrite == "all":
        return cell
    if record is not None:
        outdated = _other_version(record.strategy, registry.strategies[cell.row.strategy.name])
        if outdated is not None and config.overwrite == "outdated":
            return cell
        if record.status is not Status.OK:
            is_due = config.overwrite == "failed"
            return cell if is_due else replace(cell, state=State.FAILED, reason=record.reason)
        problem = _lost(files, record)
        if problem is None:
            state = State.DONE if outdated is None else State.OUTDATED
            return replace(cell, state=state, reason=outdated)
    elif problem is not None:
        problem = f"{store.path(cell.key)} is damaged: {problem}"
    else:
        problem = files.damage(sizes_only=True)
    if problem is not None:
        remark(f"{cell.label} runs again, since {problem}")
    return cell


def _other_version(recorded: StrategyInfo, installed: Registered[type[Strategy]]) -> str | None:
    """Return which version of a strategy's plugin made a record, if that is not the `installed` one.

    The record still counts: an author raises `Strategy.revision`, and so changes the key, where results change. The
    built-in strategies keep to that, so that their patch releases count as one version.
    """
    made, present = (
        (part.distribution, _release(part.distribution, part.version)) for part in (recorded, installed)
    )
    if made == present or not (recorded.version and installed.version):
        return None
    return (
        f"made by {recorded.distribution} {recorded.version}, "
        f"{installed.distribution} {installed.version} is installed"
    )


def _release(distribution: str, version: str) -> str:
    return ".".join(version.split(".")[:2]) if distribution == PROJECT else version


def outdated_remark(plan: Plan) -> str | None:
    """Return one line about the cells that another version made, and how to run them again; None without any."""
    outdated = [cell for cell in plan.cells if cell.state is State.OUTDATED]
    if not outdated:
        return None
    versions = "; ".join(dict.fromkeys(str(cell.reason) for cell in outdated))
    return f"{plural(len(outdated), 'finished cell')} of another version ({versions}); --overwrite outdated runs them again"

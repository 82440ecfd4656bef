"""Run a plan: execute its cells, store their records, and update the board after each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial

from kdbench.api.spec import StrategySpec
from kdbench.api.strategy import JointStrategy
from kdbench.board.statistics import Known
from kdbench.config import RunConfig
from kdbench.errors import KdbenchError, UsageError
from kdbench.measure.back_ends import check_back_ends
from kdbench.measure.environment import describe_environment
from kdbench.registry import Registry
from kdbench.render.write import BoardSummary, write_board
from kdbench.results.paths import PLACES_OF_FILES, CellFiles
from kdbench.results.records import Record, RecordStore, Status
from kdbench.run.cell import CellOrder
from kdbench.run.executor import Ended, Job, Stage, is_disk_full
from kdbench.run.latency_phase import run_latency_phase
from kdbench.run.lock import lock_results
from kdbench.run.plan import Cell, Plan, State, make_plan
from kdbench.run.process_executor import executor_of
from kdbench.run.progress import Watcher, pass_on
from kdbench.run.provenance import model_info, strategy_info, task_info
from kdbench.training.callbacks import check_trackers
from kdbench.training.experiment import Experiment
from kdbench.training.teacher import TeacherStore
from kdbench.utils.files import remove_folder, remove_temporary

_POLL_S = 0.5


@dataclass
class Outcome:
    """The result of a run."""

    plan: Plan
    records: list[Record] = field(default_factory=list)
    """The records of the cells that this run executed."""
    interrupted: bool = False
    latency_failures: list[str] = field(default_factory=list)
    board: BoardSummary | None = None

    @property
    def failed(self) -> int:
        """The number of cells of the plan that failed, in this run or before."""
        now = sum(record.status in (Status.FAILED, Status.TIMEOUT) for record in self.records)
        return now + self.plan.count(State.FAILED)

    @property
    def unfinished(self) -> int:
        """The number of pending cells that did not end in this run."""
        return self.plan.count(State.PENDING) - len(self.records)


def run(config: RunConfig, registry: Registry, watcher: Watcher) -> Outcome:
    """Run every pending cell of the matrix, time the models and write the boards.

    Ctrl-C ends it early; finished cells are kept, and the same call resumes from there.

    Raises:
        UsageError: the settings are invalid, or another run uses the results folder.
        KdbenchError: a file cannot be written.
    """
    check_trackers(config.report_to)
    check_back_ends(config.requested_back_ends)
    with locked_results(config):
        plan = make_plan(config, registry, fetch=True)
        return execute(config, registry, watcher, plan, [plan.cells])


@contextmanager
def locked_results(config: RunConfig) -> Iterator[None]:
    """Lock the results folder of a run, and explain what the disk refuses meanwhile.

    Raises:
        UsageError: another run uses the results folder.
        KdbenchError: a file cannot be written.
    """
    try:
        with lock_results(config.results):
            yield
    except OSError as error:  # a full disk, or a folder that disappeared
        raise KdbenchError(
            f"cannot write {error.filename or config.results} ({error.strerror or error}); fix that and run the same "
            "command again: finished cells are kept"
        ) from error


def execute(
    config: RunConfig,
    registry: Registry,
    watcher: Watcher,
    plan: Plan,
    rounds: Iterable[Sequence[Cell]],
    known: Known | None = None,
) -> Outcome:
    """Run the pending cells of each round, time the models and write the boards; the results folder is locked.

    Args:
        config: the settings.
        registry: the plugins.
        watcher: told of each round and cell.
        plan: the plan of which all rounds are parts.
        rounds: the cells of each round; the next one is asked for when those of the last have ended.
        known: cached results of boards, to which new ones are added.
    """
    return _Run(config, registry, watcher, plan, known or Known()).go(rounds)


class _Run:
    def __init__(
        self, config: RunConfig, registry: Registry, watcher: Watcher, plan: Plan, known: Known
    ) -> None:
        self._config = config
        self._registry = registry
        self._watcher = watcher
        self._store = RecordStore(config.results)
        self._outcome = Outcome(replace(plan, cells=[]))
        self._waiting: list[Cell] = []
        self._running: dict[str, Cell] = {}
        self._ended: list[Cell] = []
        self._teacher_failures: dict[tuple[str, int], str] = {}
        """By task and seed, why training the teacher failed; no other cell tries again."""
        self._known = known
        self._executor = executor_of(config)

    def go(self, rounds: Iterable[Sequence[Cell]]) -> Outcome:
        try:
            for cells in rounds:
                self._run_round(cells)
            if self._config.resolved_budget.labels is None:
                self._outcome.latency_failures = run_latency_phase(
                    self._config, self._outcome.plan, self._executor, self._watcher
                )
        except KeyboardInterrupt:
            self._outcome.interrupted = True
        finally:
            self._executor.stop()
        self._draw(last=True)
        return self._outcome

    def _run_round(self, cells: Sequence[Cell]) -> None:
        plan = self._outcome.plan
        self._outcome.plan = replace(plan, cells=[*plan.cells, *cells])
        self._waiting = [cell for cell in cells if cell.state is State.PENDING]
        self._watcher.planned(replace(plan, cells=list(cells)))
        self._clear_overwritten()
        for cell in cells:
            if cell.state is State.NOT_APPLICABLE and self._store.get(_key(cell)) is None:
                self._put(cell, Status.NOT_APPLICABLE, cell.reason)
        while self._waiting or self._running:
            self._start_ready_cells()
            for event in self._executor.poll(_POLL_S):
                cell = self._running[event.job_id]
                ended = pass_on(event, cell.label, self._watcher)
                if ended is not None:
                    self._end(cell, ended)

    def _clear_overwritten(self) -> None:
        """Delete the results of cells to run again, and temporary files that a killed run left behind.

        Of a finished cell of which something is lost, what is whole is kept, and its record until another replaces it.
        """
        remove_temporary(self._config.results, *PLACES_OF_FILES)
        remove_temporary(self._config.board_folder, "*", "pictures/*")
        overwrite = self._config.overwrite
        for cell in self._waiting:
            record = self._store.get(_key(cell))
            has_failed = record is not None and record.status is not Status.OK
            is_outdated = record is not None and overwrite == "outdated"
            if has_failed or is_outdated or overwrite == "all":
                self._store.path(_key(cell)).unlink(missing_ok=True)
                CellFiles(self._config.results, _key(cell)).remove_model()
        for cell in self._waiting:
            is_outdated = overwrite == "all" or (overwrite == "outdated" and is_teachers_row(cell))
            # A teacher that an earlier round has trained anew is kept.
            if is_outdated and not any(_same_teacher(cell, other) for other in self._ended):
                remove_folder(self._teacher(cell).folder)

    def _start_ready_cells(self) -> None:
        for cell in list(self._waiting):
            if len(self._running) >= self._executor.capacity:
                return
            if self._must_wait(cell):
                continue
            self._waiting.remove(cell)
            self._running[_key(cell)] = cell
            self._watcher.started(cell.label)
            reason = self._prerequisite_failure(cell)
            if reason is not None:
                self._end(cell, Ended(_key(cell), Status.FAILED, reason, 0.0))
            else:
                self._executor.start(self._job(cell))

    def _prerequisite_failure(self, cell: Cell) -> str | None:
        """Return why something that the cell needs failed in this run, or None."""
        reason = self._teacher_failures.get((cell.task.name, cell.seed))
        if reason is not None and any(stage.uses_teacher() for stage in cell.row.strategy.stages):
            return f"its teacher failed: {reason}"
        before = _key_before(cell)
        for record in self._outcome.records:
            if record.key == before and record.status is not Status.OK:
                return f"{record.strategy.label}, which it starts from, failed: {record.reason}"
        return None

    def _must_wait(self, cell: Cell) -> bool:
        """Return whether the cell needs what another cell is producing: its teacher, earlier stages, the joint models."""
        strategy = cell.row.strategy
        before = _key_before(cell)
        return any(
            (self._trains_teacher(other) and _same_teacher(other, cell))
            or _key(other) == before
            or (isinstance(strategy, JointStrategy) and other.row.strategy is strategy)
            for other in self._running.values()
        ) or any(_key(other) == before for other in self._waiting)

    def _trains_teacher(self, cell: Cell) -> bool:
        """Return whether the cell trains or loads what others learn from; with a file of answers, none does."""
        return is_teachers_row(cell) and self._experiment(cell).answers is None

    def _job(self, cell: Cell) -> Job:
        key = _key(cell)
        order = CellOrder(
            config=self._config,
            spec=cell.row.spec,
            task=cell.task.name,
            seed=cell.seed,
            key=key,
            partners=tuple(task.name for task in cell.partners),
            tuning=cell.tuning,
        ).model_dump_json()
        stages = (Stage("kdbench.run.cell:train_cell", order), Stage("kdbench.run.cell:score_cell", order))
        return Job(key, stages, CellFiles(self._config.results, key).log, self._config.timeout)

    def _end(self, cell: Cell, ended: Ended) -> None:
        del self._running[ended.job_id]
        record = self._store.get(ended.job_id) if ended.status is Status.OK else None
        if ended.reason is not None and is_disk_full(ended.reason):
            # Not the cell's fault: no record is written, so that the same command runs it when there is space.
            raise KdbenchError(
                f"{cell.label}: {ended.reason}; free some space and run the same command again: finished cells "
                "are kept"
            )
        if record is None:
            status = Status.FAILED if ended.status is Status.OK else ended.status
            record = self._put(cell, status, ended.reason or "its record disappeared from the results folder")
        self._outcome.records.append(record)
        self._ended.append(cell)
        if self._trains_teacher(cell) and not self._teacher(cell).exists():
            self._teacher_failures[cell.task.name, cell.seed] = record.reason or "for an unknown reason"
        self._remove_models_of_further_seeds()
        if not any(_same_teacher(cell, other) for other in (*self._waiting, *self._running.values())):
            self._teacher(cell).remove_states()
        score = record.quality.score if record.quality else None
        self._watcher.ended(cell.label, record.status, record.reason, score, ended.seconds)
        for line in (*record.warnings, *self._registry.cell_finished(record)):
            self._watcher.remark(f"{cell.label}: {line}")
        self._draw()

    def _remove_models_of_further_seeds(self) -> None:
        """Delete models of seeds > 0 that no cell starts from: one model per row is timed and can be exported.

        At a label count none is: its models are as large and as fast as those of the whole budget.
        """
        kept = 1 if self._config.resolved_budget.labels is None else 0
        unfinished = (*self._waiting, *self._running.values())
        needed = {key for cell in unfinished for key in (_key(cell), *cell.keys_before)}
        for cell in self._ended:
            if cell.seed >= kept:
                for key in {_key(cell), *cell.keys_before} - needed:
                    CellFiles(self._config.results, key).remove_model()

    def _put(self, cell: Cell, status: Status, reason: str | None) -> Record:
        """Write the record of a cell that has no result."""
        record = Record(
            key=_key(cell),
            status=status,
            reason=reason,
            strategy=strategy_info(self._registry, cell.row.spec),
            task=task_info(self._experiment(cell).task, self._registry.metrics),
            model=model_info(self._experiment(cell)),
            budget=self._config.resolved_budget,
            seed=cell.seed,
            tuning=cell.tuning,
            environment=describe_environment(),
            finished_at=datetime.now(timezone.utc),
        )
        self._store.put(record)
        return record

    def _experiment(self, cell: Cell) -> Experiment:
        assert self._outcome.plan.experiments is not None  # since a run fetches everything
        return self._outcome.plan.experiments[cell.task.name]

    def _teacher(self, cell: Cell) -> TeacherStore:
        return TeacherStore(self._experiment(cell), cell.seed)

    def _draw(self, last: bool = False) -> None:
        pending = [*self._running.values(), *self._waiting]
        try:
            self._outcome.board = write_board(
                self._config.results,
                self._config.board_folder,
                budget=self._config.budget,
                model=self._outcome.plan.base.sha256 if self._outcome.plan.base else None,
                columns=partial(self._registry.board_columns, warn=self._watcher.remark),
                metrics=self._registry.metrics,
                pending=[(str(cell.row.spec), cell.task.name) for cell in pending],
                known=self._known,
                cache=self._config.drawings_cache if last else None,
                margin=self._config.margin_share,
                price=self._config.price_per_answer,
            )
        except UsageError:
            return  # no cell has ended yet


def _key(cell: Cell) -> str:
    assert cell.key is not None  # since a run fetches everything that keys depend on
    return cell.key


def is_teachers_row(cell: Cell) -> bool:
    """Return whether `cell` is that of its task's and seed's teacher."""
    return cell.row.strategy.is_teacher_row and cell.row.spec == StrategySpec(name=cell.row.strategy.name)


def _same_teacher(cell: Cell, other: Cell) -> bool:
    return cell.task is other.task and cell.seed == other.seed


def _key_before(cell: Cell) -> str | None:
    """Return the key of the cell that a stack's last stage starts from."""
    return cell.keys_before[-1] if cell.keys_before else None

"""Run in rounds: seeds for rows that are open, until each task is decided; `kdbench.stats.sequential` says what that is.

The grid is planned once, with `--max-seeds` seeds. The first round runs the first seeds of every row; after each round,
every task is judged, and the next one adds a seed to the rows that are worth it. What a round runs follows from the
records of the earlier ones alone: a run that was interrupted goes through the same rounds again, whose cells are done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kdbench.api.strategy import JointStrategy
from kdbench.board.decision import Savings, TaskDecision
from kdbench.board.load import load_cells
from kdbench.board.statistics import Known
from kdbench.config import RunConfig
from kdbench.errors import UsageError
from kdbench.measure.back_ends import check_back_ends
from kdbench.registry import Registry
from kdbench.results.records import Record, RecordStore
from kdbench.run.plan import Cell, Plan, State, make_plan
from kdbench.run.progress import Watcher
from kdbench.run.runner import Outcome, execute, is_teachers_row, locked_results
from kdbench.stats.sequential import Design
from kdbench.training.callbacks import check_trackers


def design_of(config: RunConfig) -> Design:
    """Return what the settings fix before the first look.

    Raises:
        UsageError: they leave no room for a look.
    """
    first, last = config.seed_count, config.most_seeds
    if first < 2:
        raise UsageError(
            "--until-decided needs two seeds to begin with; set --seeds 2 or more, or leave it out"
        )
    if last < first:
        raise UsageError(
            f"--max-seeds {last} is fewer than the {first} seeds that every row begins with; raise it, or set --seeds"
        )
    return Design(config.margin_share, first, last)


def plan_grid(config: RunConfig, registry: Registry, *, fetch: bool) -> Plan:
    """Return the plan of the full grid, in which every row has `--max-seeds` seeds.

    Raises:
        UsageError: the settings leave no room for a look, or name something that does not exist.
    """
    design_of(config)
    return make_plan(config.model_copy(update={"seeds": config.most_seeds}), registry, fetch=fetch)


@dataclass(frozen=True)
class Decided:
    """The result of a run until decided."""

    outcome: Outcome
    tasks: tuple[TaskDecision, ...]
    savings: Savings


def run_until_decided(config: RunConfig, registry: Registry, watcher: Watcher) -> Decided:
    """Run rounds until every task is decided, nothing worth a seed is left, or the last seed is run; then as `run`.

    Raises:
        UsageError: the settings are invalid, or another run uses the results folder.
        KdbenchError: a file cannot be written.
    """
    check_trackers(config.report_to)
    check_back_ends(config.requested_back_ends)
    with locked_results(config):
        rounds = Rounds(config, registry, watcher, plan_grid(config, registry, fetch=True))
        outcome = execute(config, registry, watcher, rounds.grid, rounds, rounds.known)
        return Decided(outcome, tuple(rounds.tasks.values()), rounds.savings())


class Rounds:
    """The rounds of a run; iterating yields the cells of each, and judges their records before the next."""

    def __init__(self, config: RunConfig, registry: Registry, watcher: Watcher, grid: Plan) -> None:
        self.grid = grid
        self.known = Known()
        self._design = design_of(config)
        self.tasks = {cell.task.name: TaskDecision(cell.task.name, self._design) for cell in grid.cells}
        self._config = config
        self._registry = registry
        self._watcher = watcher
        self._asked: list[Cell] = []
        self._by_key = {cell.key: cell for cell in grid.cells}

    def __iter__(self) -> Iterator[Sequence[Cell]]:
        seeds = self._design.first_seeds
        cells = [cell for cell in self.grid.cells if cell.seed < seeds]
        while cells:
            self._asked += cells
            yield cells
            wanted = self._look(seeds)
            self._watcher.judged(tuple(self.tasks.values()))
            seeds += 1
            cells = self._round(wanted, seeds)

    def _look(self, seeds: int) -> dict[str, set[str]]:
        """Judge every task by the cells of all rounds so far; return by task the rows that are worth another seed."""
        loaded = load_cells(
            self._config.results,
            budget=self._config.budget,
            model=self.grid.base.sha256 if self.grid.base else None,
            keys={cell.key for cell in self._asked if cell.key is not None},
            metrics=self._registry.metrics,
        )
        cells = loaded.cells
        return {
            task: decision.look(
                cells[cells["task"] == task], seeds, self._config.results, self.known, loaded.metrics
            )
            for task, decision in self.tasks.items()
        }

    def _round(self, wanted: dict[str, set[str]], seeds: int) -> list[Cell]:
        """Return the cells that give each of the `wanted` rows `seeds` seeds, with all that they start from."""
        cells = [
            cell
            for cell in self.grid.cells
            if cell.seed < seeds and str(cell.row.spec) in wanted[cell.task.name]
        ]
        chosen: dict[str | None, Cell] = {}
        while cells:
            chosen.update((cell.key, cell) for cell in cells)
            cells = [cell for cell in self._needed_by(cells) if cell.key not in chosen]
        asked = {cell.key for cell in self._asked}
        return [cell for cell in self.grid.cells if cell.key in chosen and cell.key not in asked]

    def _needed_by(self, cells: Iterable[Cell]) -> Iterator[Cell]:
        """Yield the cells that are trained for `cells` in any case: teachers, earlier stages, the partners of joint ones.

        Run as cells of their own, they cost no more than scoring, and have a result.
        """
        for cell in cells:
            yield from (self._by_key[key] for key in cell.keys_before if key in self._by_key)
            of_seed = [other for other in self.grid.cells if other.seed == cell.seed]
            strategy = cell.row.strategy
            if any(stage.uses_teacher() for stage in strategy.stages):
                yield from (other for other in of_seed if is_teachers_row(other) and other.task is cell.task)
            if isinstance(strategy, JointStrategy):
                yield from (
                    other
                    for other in of_seed
                    if other.row.strategy is strategy and other.state is not State.NOT_APPLICABLE
                )

    def savings(self) -> Savings:
        """Return what the rounds so far did not run."""
        store = RecordStore(self._config.results)
        applicable = [cell for cell in self.grid.cells if cell.state is not State.NOT_APPLICABLE]
        asked = {cell.key for cell in self._asked}
        left = [cell for cell in applicable if cell.key not in asked]
        seconds: dict[tuple[str, str], list[float]] = {}
        for cell in self._asked:
            if cell.key is not None and (record := store.get(cell.key)) is not None:
                row = (cell.task.name, str(cell.row.spec))
                seconds.setdefault(row, []).append(self._own_seconds(cell, record, store))
        means = {row: sum(own) / len(own) for row, own in seconds.items()}
        return Savings(
            cells=len(left),
            of_cells=len(applicable),
            train_s=sum(means.get((cell.task.name, str(cell.row.spec)), 0.0) for cell in left),
            max_seeds=self._design.max_seeds,
        )

    def _own_seconds(self, cell: Cell, record: Record, store: RecordStore) -> float:
        """Return the seconds of training of `cell` alone; those of an earlier stage that is a cell count there."""
        if record.cost is None:
            return 0.0
        before = store.get(cell.keys_before[-1]) if cell.keys_before else None
        earlier = before.cost.train_s if before is not None and before.cost is not None else 0.0
        return max(0.0, record.cost.train_s - earlier)

"""Give tuned rows the parameters that ``kdbench tune`` found."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from kdbench.api.spec import StrategySpec
from kdbench.api.strategy import Strategy, spec_of
from kdbench.api.task import Task
from kdbench.config import RunConfig
from kdbench.errors import UsageError
from kdbench.registry import Registry
from kdbench.results.tuning import StudyStore, Tuning

Tuned = tuple[Strategy, tuple[Tuning, ...]]
"""A strategy with the parameters that were found, and how those of each tuned stage were found."""


class TunedStrategies:
    """Looks tuned strategies up in the results folder, and collects those that are missing there."""

    def __init__(self, registry: Registry, config: RunConfig) -> None:
        self._registry = registry
        self._budget = config.budget
        self._store = StudyStore(config.results)
        self._found: dict[tuple[StrategySpec, tuple[str, ...]], Tuned] = {}
        self._missing: dict[StrategySpec, None] = {}
        self._tasks: dict[str, None] = {}

    def look_up(
        self, strategy: Strategy, tasks: Sequence[Task], study_key: Callable[[Strategy], str]
    ) -> Tuned:
        """Return `strategy` with the parameters found on `tasks`, and how; unchanged where they are missing.

        The same strategy and tasks give the same object. `study_key` returns the key of an untuned strategy's study.

        Raises:
            UsageError: a stage that is to be tuned has no parameter to search.
        """
        spec = spec_of(strategy)
        key = spec, tuple(task.name for task in tasks)
        if key not in self._found:
            stages, tunings = [], []
            for stage in spec.stages:
                tuning = None if stage.tuned is None else self._tuning(stage, tasks, study_key)
                stages.append(stage if tuning is None else stage.model_copy(update={"tuned": tuning.params}))
                tunings += [] if tuning is None else [tuning]
            self._found[key] = self._registry.strategy(StrategySpec.of_stages(stages)), tuple(tunings)
        return self._found[key]

    def check(self) -> None:
        """Raise a UsageError that names the missing results and the command that makes them."""
        if not self._missing:
            return
        strategies = [word for spec in self._missing for word in ("--strategy", str(spec))]
        tasks = [word for task in self._tasks for word in ("--task", task)]
        command = shlex.join(["kdbench", "tune", "--budget", self._budget, *strategies, *tasks])
        names = ", ".join(map(str, self._missing))
        raise UsageError(
            f"no tuning result of {names} on {' or '.join(self._tasks)}; make them, with the same model, data and results "
            f"folder: {command}"
        )

    def _tuning(
        self, stage: StrategySpec, tasks: Sequence[Task], study_key: Callable[[Strategy], str]
    ) -> Tuning | None:
        start = stage.untuned
        strategy = self._registry.strategy(start)
        if not any(name not in start.params for task in tasks for name in strategy.search_space(task.kind)):
            raise UsageError(f"strategy '{stage}': there is nothing to tune; leave 'tuned' out")
        result = self._store.get(study_key(strategy))
        if result is None or not result.trials:
            self._missing[start] = None
            self._tasks |= dict.fromkeys(task.name for task in tasks)
            return None
        if result.best is None:
            raise UsageError(
                f"strategy '{stage}': every trial of {result.study.label} failed ({result.trials[0].reason}); mend that "
                "and run 'kdbench tune --overwrite failed'"
            )
        return result.tuning(stage.name, result.best)

"""Plan a search: one study per strategy and task, or per joint strategy, with what each trial is scored on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kdbench.api.spec import StrategySpec, parse_spec
from kdbench.api.strategy import Strategy, Transform
from kdbench.api.task import Task
from kdbench.config import RunConfig, is_answers
from kdbench.data.splitting import TUNING_EXAMPLES
from kdbench.errors import UsageError
from kdbench.models.base import BaseModel, resolve_base_model
from kdbench.registry import Registry
from kdbench.results.tuning import SearchResult, Study, StudyStore, Trial
from kdbench.run.keys import TUNING_SEEDS, study_key
from kdbench.run.plan import Row, State, cell_of, check_settings, requested_rows, select_tasks
from kdbench.training.experiment import Experiment, make_experiment
from kdbench.tune.space import StudySpace
from kdbench.tune.trial import tuning_experiment


@dataclass
class Search:
    """A study, its search space and its trials so far."""

    study: Study
    spec: StrategySpec
    strategy: Strategy
    space: StudySpace
    trials: dict[int, Trial] = field(default_factory=dict)
    """By number."""

    @property
    def result(self) -> SearchResult:
        """The study with its trials in the order of their numbers."""
        return SearchResult(self.study, [self.trials[number] for number in sorted(self.trials)])

    @property
    def needs_teacher(self) -> bool:
        """Whether the strategy learns from the teacher, starts from it, or changes it."""
        starts_from_it = getattr(self.strategy.params, "init", None) == "teacher"
        return self.strategy.uses_teacher() or starts_from_it or isinstance(self.strategy, Transform)


@dataclass(frozen=True)
class SearchPlan:
    """The searches of one command, and what the user should know of them."""

    searches: list[Search]
    experiments: dict[str, Experiment]
    """By task, the experiment of its trials."""
    remarks: list[str]
    """Why strategies that the settings name are not searched."""


def plan_searches(config: RunConfig, registry: Registry, repeats: int | None) -> SearchPlan:
    """Return a search for each strategy that the settings name, and for their controls, on each task.

    Of a stack, only the stages that are to be tuned are searched, each as a strategy of its own.

    Args:
        repeats: how many seeds each trial is trained with; by default as many as make 1,000 scored examples, at most 5.

    Raises:
        UsageError: the teacher is a file of answers, nothing is left to search, or an earlier search had another number of repeats.
    """
    if is_answers(config.teacher):
        raise UsageError(
            f"--teacher {config.teacher}: parameters cannot be searched with a file of answers; leave it out here, or name a"
            " model"
        )
    tasks = select_tasks(config, registry)
    check_settings(config, registry, tasks)
    base = resolve_base_model(config.model, config.cache_dir)
    setting_up = _SettingUp(config, registry, base, repeats)
    for row in requested_rows(config, registry):
        if row.added_for is not None:
            setting_up.remarks.append(f"added {row.spec.untuned}: {row.added_for}")
        stages = [stage for stage in row.spec.stages if not row.spec.then or stage.tuned is not None]
        if not stages:
            setting_up.remarks.append(f"{row.spec}: a stack is searched stage by stage; mark those to tune")
        for spec in (stage.untuned for stage in stages):
            for task in tasks:
                cell = cell_of(Row(registry.strategy(spec)), task, TUNING_SEEDS[0], tasks)
                if cell.state is State.NOT_APPLICABLE:
                    setting_up.remarks.append(f"{spec} on {task.name}: {cell.reason}")
                else:
                    setting_up.add(spec, cell.partners or (task,))
    if not setting_up.searches:
        raise UsageError(
            f"there is nothing to search for {', '.join(config.strategy)}; name other strategies"
        )
    return SearchPlan(list(setting_up.searches.values()), setting_up.tuning, setting_up.remarks)


class _SettingUp:
    def __init__(self, config: RunConfig, registry: Registry, base: BaseModel, repeats: int | None) -> None:
        self._config = config
        self._registry = registry
        self._base = base
        self._repeats = repeats
        self._store = StudyStore(config.results)
        self._boards: dict[str, Experiment] = {}
        self.tuning: dict[str, Experiment] = {}
        self.searches: dict[str, Search] = {}
        self.remarks: list[str] = []

    def add(self, spec: StrategySpec, tasks: Sequence[Task]) -> None:
        """Add the search of `spec` on `tasks`, one or those trained jointly, unless it is there or has no space."""
        strategy = self._registry.strategy(spec)
        space = StudySpace(strategy, [task.kind for task in tasks])
        if not space.declared:
            self.remarks.append(f"{spec} on {'+'.join(task.name for task in tasks)}: nothing to search")
            return
        key = study_key(strategy, [self._of(self._boards, task) for task in tasks])
        if key in self.searches:
            return
        study = self._study(key, spec, tasks, self._repeats)
        known = self._store.get(key)
        if known is None:  # it is new, or its description was lost
            trials = self._store.trials(key)
            repeats = (len(scores) for trial in trials for scores in trial.scores.values())
            known = SearchResult(self._study(key, spec, tasks, next(repeats, self._repeats)), trials)
            self._store.put_study(known.study)
        if not known.trials and self._repeats is not None:
            self._store.put_study(study)
            known = SearchResult(study, ())
        elif known.study.seeds != study.seeds and self._repeats is not None:
            raise UsageError(
                f"{study.label}: the trials so far have {len(known.study.seeds)} repeats; leave --repeats out, or delete "
                f"{self._store.folder(key)} to begin anew"
            )
        by_number = {trial.number: trial for trial in known.trials}
        self.searches[key] = Search(known.study, spec, strategy, space, by_number)

    def _study(self, key: str, spec: StrategySpec, tasks: Sequence[Task], repeats: int | None) -> Study:
        experiments = [self._of(self.tuning, task) for task in tasks]
        examples = min(experiment.task.scored_examples for experiment in experiments)
        repeats = repeats or min(len(TUNING_SEEDS), math.ceil(TUNING_EXAMPLES / examples))
        return Study(
            key=key,
            strategy=str(spec),
            tasks=tuple(task.name for task in tasks),
            metrics=tuple(task.metric for task in tasks),
            budget=self._config.budget,
            model=self._base.name,
            weights_sha256=self._base.sha256,
            seeds=TUNING_SEEDS[:repeats],
            validation_examples=examples,
            is_unseen=not any(_is_validated_on(experiment) for experiment in experiments),
        )

    def _of(self, experiments: dict[str, Experiment], task: Task) -> Experiment:
        """Return the experiment of `task` among those of boards or those of trials, set up at first use."""
        if task.name not in experiments:
            set_up = tuning_experiment if experiments is self.tuning else make_experiment
            experiments[task.name] = set_up(self._config, self._registry, task.name, self._base)
        return experiments[task.name]


def _is_validated_on(experiment: Experiment) -> bool:
    """Return whether training validates on the examples that trials are scored on."""
    task = experiment.task
    same_split = task.scored_split == task.validation_split
    return same_split and not set(task.scored["example"][:]).isdisjoint(task.validation["example"][:])


def known_searches(config: RunConfig, registry: Registry, others: Sequence[Search]) -> list[Search]:
    """Return the newest search of each strategy and task in the results folder that is none of `others`.

    They are those of the same budget and base model as `others`, whose strategies and tasks are registered.
    """
    taken = {search.study.label for search in others}
    newest: dict[str, SearchResult] = {}
    for result in StudyStore(config.results).load():
        study = result.study
        same = all(
            (study.budget, study.weights_sha256) == (other.study.budget, other.study.weights_sha256)
            for other in others
        )
        if same and result.trials and study.label not in taken:
            newest[study.label] = max(newest.get(study.label, result), result, key=_last_end)
    return [found for result in newest.values() if (found := _search_of(result, registry))]


def _last_end(result: SearchResult) -> datetime:
    return max(trial.finished_at for trial in result.trials)


def _search_of(result: SearchResult, registry: Registry) -> Search | None:
    try:
        spec = parse_spec(result.study.strategy)
        strategy = registry.strategy(spec)
        space = StudySpace(strategy, [registry.task(task).kind for task in result.study.tasks])
    except UsageError:  # its plugin is not installed, or has other parameters now
        return None
    return Search(result.study, spec, strategy, space, {trial.number: trial for trial in result.trials})

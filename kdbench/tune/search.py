"""Run the trials of a search in worker processes, each as soon as the trials that it learns from have ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from kdbench.config import RunConfig
from kdbench.errors import KdbenchError
from kdbench.registry import Registry
from kdbench.results.paths import PLACES_OF_FILES
from kdbench.results.records import Status
from kdbench.results.tuning import StudyStore, Trial
from kdbench.run.executor import Ended, Job, Stage, is_disk_full
from kdbench.run.lock import lock_results
from kdbench.run.process_executor import executor_of
from kdbench.run.progress import Terminal, pass_on
from kdbench.training.teacher import TeacherStore
from kdbench.tune.sampler import needed_trials, suggest
from kdbench.tune.studies import Search, SearchPlan, plan_searches
from kdbench.tune.trial import TrialOrder
from kdbench.utils.files import remove_temporary
from kdbench.utils.formatting import plural

_POLL_S = 0.5

_Teacher = tuple[str, int]
"""A task and the seed of its teacher."""


@dataclass
class Outcome:
    """The result of a search."""

    searches: list[Search]
    failures: list[str] = field(default_factory=list)
    """A line for each trial and teacher that failed now."""
    unfinished: int = 0
    interrupted: bool = False

    @property
    def unequal(self) -> list[str]:
        """A line for each task on which not all strategies have equally many trials and repeats."""
        effort: dict[str, set[tuple[int, int]]] = {}
        for search in self.searches:
            counts = len(search.trials), len(search.study.seeds)
            effort.setdefault("+".join(search.study.tasks), set()).add(counts)
        return [
            f"{task}: the strategies have {' or '.join(f'{trials} x {repeats}' for trials, repeats in sorted(counts))} "
            "trials x repeats, not all the same"
            for task, counts in effort.items()
            if len(counts) > 1
        ]


def search(
    config: RunConfig, registry: Registry, terminal: Terminal, *, trials: int, repeats: int | None
) -> Outcome:
    """Run the missing ones of `trials` trials of every strategy on every task that the settings name.

    Ctrl-C ends it early; finished trials are kept, and the same call resumes from there.

    Raises:
        UsageError: the settings are invalid, or another run uses the results folder.
        KdbenchError: a file cannot be written.
    """
    try:
        with lock_results(config.results):
            remove_temporary(config.results, *PLACES_OF_FILES)
            plan = plan_searches(config, registry, repeats)
            return _Running(config, plan, terminal, trials).go()
    except OSError as error:
        raise KdbenchError(
            f"cannot write {error.filename or config.results} ({error.strerror or error}); fix that and run the same "
            "command again: finished trials are kept"
        ) from error


@dataclass(frozen=True)
class _Work:
    """A trial, or the training of the teacher that the trials on a task need."""

    name: str
    search: Search
    order: TrialOrder
    is_teacher: bool = False

    @property
    def id(self) -> str:
        """A name that no other work has."""
        teacher = f"teacher-{self.order.tasks[0]}-{self.order.seeds[0]}"
        what = teacher if self.is_teacher else f"{self.order.number:04}"
        return f"{self.order.study}/{what}"


class _Running:
    def __init__(self, config: RunConfig, plan: SearchPlan, terminal: Terminal, trials: int) -> None:
        self._config = config
        self._remarks = plan.remarks
        self._terminal = terminal
        self._store = StudyStore(config.results)
        self._outcome = Outcome(plan.searches)
        self._clear()
        # Of every study first trial 1, then trial 2 …: an interrupted search has tried equally many of each.
        self._waiting = [
            (search, number)
            for number in range(1, trials + 1)
            for search in plan.searches
            if number not in search.trials
        ]
        self._teachers = self._missing_teachers(plan)
        """By task and seed, a search that needs this teacher, which is not trained yet."""
        self._running: dict[str, _Work] = {}
        self._executor = executor_of(config)

    def go(self) -> Outcome:
        """Run everything that is missing."""
        self._terminal.searching(len(self._waiting) + len(self._teachers), [*self._lines(), *self._remarks])
        try:
            while self._waiting or self._running:
                self._start_ready()
                for event in self._executor.poll(_POLL_S):
                    work = self._running[event.job_id]
                    ended = pass_on(event, work.name, self._terminal)
                    if ended is not None:
                        self._end(work, ended)
        except KeyboardInterrupt:
            self._outcome.interrupted = True
        finally:
            self._executor.stop()
        running = sum(not work.is_teacher for work in self._running.values())
        self._outcome.unfinished = len(self._waiting) + running
        return self._outcome

    def _clear(self) -> None:
        """Delete the trials that the settings say are to run again."""
        overwrite = self._config.overwrite
        for search in self._outcome.searches:
            for trial in list(search.trials.values()):
                if overwrite == "all" or (overwrite == "failed" and trial.score is None):
                    self._store.remove(trial)
                    del search.trials[trial.number]

    def _lines(self) -> list[str]:
        """Return for each study what is searched, and what a trial is scored on."""
        lines = []
        for study, space in ((search.study, search.space) for search in self._outcome.searches):
            unseen = "" if study.is_unseen else ", which training validates on, too"
            lines.append(
                f"{study.label}: {', '.join(f'{name} {values}' for name, values in space.declared.items())}; scored on "
                f"{plural(study.validation_examples, 'validation example')}{unseen}, "
                f"{plural(len(study.seeds), 'repeat')} (seeds from {study.seeds[0]})"
            )
        return lines

    def _missing_teachers(self, plan: SearchPlan) -> dict[_Teacher, Search]:
        needed: dict[_Teacher, Search] = {}
        for search, _ in self._waiting:
            for task, seed in _teachers_of(search):
                if not TeacherStore(plan.experiments[task], seed).exists():
                    needed.setdefault((task, seed), search)
        return needed

    def _start_ready(self) -> None:
        for (task, seed), search in self._teachers.items():
            order = self._order(search, 0, {}).model_copy(update={"tasks": (task,), "seeds": (seed,)})
            work = _Work(f"the teacher of {task}, seed {seed}", search, order, is_teacher=True)
            if len(self._running) < self._executor.capacity and work.id not in self._running:
                self._start(work, "train_teacher")
        for search, number in list(self._waiting):
            if len(self._running) >= self._executor.capacity:
                return
            if self._is_ready(search, number):
                self._waiting.remove((search, number))
                earlier = [search.trials[before] for before in range(1, needed_trials(number) + 1)]
                params = suggest(search.space, earlier, number)
                name = f"{search.study.label}, trial {number}{_shown(params)}"
                order = self._order(search, number, params)
                self._start(_Work(name, search, order), "run_trial")

    def _is_ready(self, search: Search, number: int) -> bool:
        if not self._teachers.keys().isdisjoint(_teachers_of(search)):
            return False
        return all(before in search.trials for before in range(1, needed_trials(number) + 1))

    def _order(self, search: Search, number: int, params: dict[str, Any]) -> TrialOrder:
        return TrialOrder(
            config=self._config,
            study=search.study.key,
            number=number,
            strategy=search.spec,
            params=params,
            tasks=search.study.tasks,
            seeds=search.study.seeds,
        )

    def _start(self, work: _Work, function: str) -> None:
        self._running[work.id] = work
        self._terminal.started(work.name)
        folder, _, what = work.id.partition("/")
        log = self._store.folder(folder) / "logs" / f"{what}.log"
        stage = Stage(f"kdbench.tune.trial:{function}", work.order.model_dump_json())
        self._executor.start(Job(work.id, (stage,), log, self._config.timeout))

    def _end(self, work: _Work, ended: Ended) -> None:
        del self._running[work.id]
        if ended.reason is not None and is_disk_full(ended.reason):
            raise KdbenchError(
                f"{work.name}: {ended.reason}; free some space and run the same command again: finished trials are kept"
            )
        if work.is_teacher:
            self._end_teacher((work.order.tasks[0], work.order.seeds[0]), ended)
            self._terminal.ended(work.name, ended.status, ended.reason, None, ended.seconds)
            return
        trial = self._trial(work.order, ended)
        work.search.trials[trial.number] = trial
        status = Status.FAILED if trial.score is None and ended.status is Status.OK else ended.status
        self._terminal.ended(work.name, status, trial.reason, trial.score, ended.seconds)
        if trial.score is None:
            self._outcome.failures.append(f"{work.name}: {trial.reason}")

    def _trial(self, order: TrialOrder, ended: Ended) -> Trial:
        """Return the trial that a process wrote; or write one without a score."""
        trial = self._store.trial(order.study, order.number) if ended.status is Status.OK else None
        if trial is None:
            trial = Trial(
                study=order.study,
                number=order.number,
                params=order.params,
                reason=ended.reason or "its result disappeared from the results folder",
                seconds=ended.seconds,
                finished_at=datetime.now(timezone.utc),
            )
            self._store.put(trial)
        return trial

    def _end_teacher(self, teacher: _Teacher, ended: Ended) -> None:
        """Let the trials that need the teacher start; if it failed they cannot, and another command tries again."""
        del self._teachers[teacher]
        if ended.status is Status.OK:
            return
        self._outcome.failures.append(f"the teacher of {teacher[0]}, seed {teacher[1]}: {ended.reason}")
        self._waiting = [
            (search, number) for search, number in self._waiting if teacher not in _teachers_of(search)
        ]


def _teachers_of(search: Search) -> list[_Teacher]:
    """Return the teachers that the trials of `search` need."""
    if not search.needs_teacher:
        return []
    return [(task, seed) for task in search.study.tasks for seed in search.study.seeds]


def _shown(params: dict[str, Any]) -> str:
    return f" ({', '.join(f'{name}={value}' for name, value in params.items())})" if params else " (defaults)"

"""Look up what plugins provide: strategies, tasks, kinds of task, metrics, and hooks that observe a run."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pluggy
from pydantic import ValidationError
from pydantic_core import to_json

from kdbench.api.kinds import TaskKind
from kdbench.api.metric import Metric
from kdbench.api.params import Params, StudentParams, params_of
from kdbench.api.spec import StrategySpec, parse_spec
from kdbench.api.strategy import JointStrategy, Strategy, Transform
from kdbench.api.task import Task
from kdbench.errors import UsageError, did_you_mean, nearest, one_line

if TYPE_CHECKING:
    import pandas as pd

    from kdbench.results.records import Record

_T = TypeVar("_T")


@dataclass(frozen=True)
class Registered(Generic[_T]):
    """A strategy class, task, kind of task or metric, and the distribution that provides it."""

    item: _T
    distribution: str
    version: str


@dataclass(frozen=True)
class PluginInfo:
    """The contents and the problems of one plugin."""

    name: str
    distribution: str
    version: str
    strategies: list[str] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    metrics: list[str] = field(default_factory=list)
    hooks: list[str] = field(default_factory=list)
    """The observing hooks that it implements."""
    errors: list[str] = field(default_factory=list)
    """One line per problem; the valid parts are registered all the same."""

    def __str__(self) -> str:
        return f"plugin {self.name!r} of {self.distribution} {self.version}".rstrip()

    @property
    def error(self) -> str | None:
        """All problems of the plugin in one line, or None."""
        return "; ".join(self.errors) or None


@dataclass(frozen=True)
class Registry:
    """Everything that the installed and the named plugins provide, in loading order."""

    strategies: dict[str, Registered[type[Strategy]]]
    tasks: dict[str, Registered[Task]]
    plugins: list[PluginInfo]
    hook: pluggy.HookRelay = field(repr=False)
    kinds: dict[str, Registered[TaskKind]] = field(default_factory=dict)
    registered_metrics: dict[str, Registered[Metric]] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """The problems of all plugins, one line each."""
        return [f"{plugin}: {error}" for plugin in self.plugins for error in plugin.errors]

    def strategy(self, spec: StrategySpec) -> Strategy:
        """Return the strategy that `spec` names, with validated parameters; for a stack its last stage.

        A transform named alone is applied to the fine-tuned base model.

        Raises:
            UsageError: unknown strategy or parameter, a value of wrong type or out of range, or a stage that cannot
                follow another.
        """
        stages = [self._stage(stage) for stage in spec.stages]
        if isinstance(stages[0], Transform):
            stages.insert(0, self._fine_tuned_base(stages[0]))
        for previous, stage in itertools.pairwise(stages):
            if not isinstance(stage, Transform):
                raise UsageError(
                    f"strategy '{spec}': {stage.name!r} is not a transform; what follows '+' must be one of "
                    f"{', '.join(name for name, registered in self.strategies.items() if issubclass(registered.item, Transform))}"
                )
            if isinstance(previous, Transform) and previous.terminal:
                raise UsageError(f"strategy '{spec}': nothing can follow {previous.name!r}; put it last")
            if isinstance(previous, JointStrategy):
                raise UsageError(
                    f"strategy '{spec}': no transform can follow the joint strategy {previous.name!r}"
                )
            stage.after = previous
        return stages[-1]

    def _stage(self, spec: StrategySpec) -> Strategy:
        kind = _known(spec.name, self.strategies, "strategy").item
        all_params = spec.model_copy(update={"params": {**spec.params, **(spec.tuned or {})}})
        strategy = kind(_validated(all_params, kind.Params))
        strategy.tuned = spec.tuned
        return strategy

    def _fine_tuned_base(self, transform: Strategy) -> Strategy:
        for registered in self.strategies.values():
            if registered.item.is_teacher_row:
                return registered.item(registered.item.Params())
        raise UsageError(
            f"strategy {transform.name!r} changes a fitted model, and no plugin provides fine-tuning of the base; "
            f"name one before it: 'strategy+{transform.name}'"
        )

    def control(self, strategy: Strategy) -> StrategySpec | None:
        """Return the control that `strategy` is compared with on a board, or None if it names none.

        A tuned strategy has a tuned control: otherwise the difference would be that of the tuning.

        Raises:
            UsageError: it names a control that no plugin provides.
        """
        if strategy.control is None:
            return None
        named = strategy.control
        spec = parse_spec(named) if isinstance(named, str) else StrategySpec(name=named.name)
        if spec.name not in self.strategies:
            raise UsageError(
                f"strategy {strategy.name!r} is compared with the control {spec.name!r}, which no plugin provides"
                f"{nearest(spec.name, list(self.strategies))}"
            )
        control = self.strategies[spec.name].item
        tuned: dict[str, Any] | None = {} if strategy.tuned is not None and _is_searched(control) else None
        if spec.params:
            return spec.model_copy(update={"tuned": tuned})
        inherited = params_of(strategy.params, control.Params)
        given = {name: value for name, value in inherited.items() if name not in (strategy.tuned or {})}
        return StrategySpec(name=spec.name, params=given, tuned=tuned)

    def base_control(self, strategy: Strategy) -> StrategySpec | None:
        """Return the control of `strategy` started from the base model: what one would have without a teacher.

        None unless `control` starts from the teacher's layers, which are part of what the teacher gives; a student of
        another width starts from random weights, one of its own checkpoint from that.
        """
        control = self.control(strategy)
        if control is None:
            return None
        params = self.strategy(control).params
        has_own_start = isinstance(params, StudentParams) and any(
            own is not None for own in (params.hidden_size, params.intermediate_size, params.student)
        )
        if getattr(params, "init", None) != "teacher" or has_own_start:
            return None
        return control.model_copy(update={"params": {**control.params, "init": "base"}})

    def task(self, name: str) -> Task:
        """Return the task called `name`.

        Raises:
            UsageError: there is none.
        """
        return _known(name, self.tasks, "task").item

    def kind(self, name: str) -> TaskKind:
        """Return the kind of task called `name`.

        Raises:
            UsageError: no plugin provides it.
        """
        return _known(name, self.kinds, "kind of task").item

    @property
    def metrics(self) -> dict[str, Metric]:
        """The metrics by name."""
        return {name: registered.item for name, registered in self.registered_metrics.items()}

    @property
    def learning_from_logits(self) -> list[str]:
        """The names of the strategies that learn from a teacher's logits and need nothing else of it."""
        return [name for name, known in self.strategies.items() if known.item.teacher_outputs == "logits"]

    def match_strategies(self, patterns: Iterable[str]) -> list[StrategySpec]:
        """Return the strategies that match any of `patterns`, in order of registration, without duplicates.

        A pattern is a name or a glob such as ``tinybert*``, optionally with parameters: ``lora[r=16]``, ``*[dropout=0.2]``,
        ``*[tuned]``. A glob leaves out strategies that run `on_request`.

        Raises:
            UsageError: a pattern has no match, or sets a parameter that one of its matches lacks or rejects.
        """
        specs = [parse_spec(pattern) for pattern in patterns]
        matches = [
            pattern.model_copy(update={"name": name})
            for pattern in specs
            for name in _matches(pattern.name, self.strategies, "strategy")
            # A glob such as `*[tuned]` means those that have something to tune.
            if name == pattern.name
            or (
                not self.strategies[name].item.on_request
                and (pattern.tuned is None or _is_searched(self.strategies[name].item))
            )
        ]
        for spec in matches:
            self.strategy(spec)
        order = list(self.strategies)
        return sorted(dict.fromkeys(matches), key=lambda spec: order.index(spec.name))

    def match_tasks(self, patterns: Iterable[str]) -> list[Task]:
        """Return the tasks that match any of `patterns` (names or globs), in order of registration, without duplicates.

        Raises:
            UsageError: a pattern has no match.
        """
        matches = {name for pattern in patterns for name in _matches(pattern, self.tasks, "task")}
        return [registered.item for name, registered in self.tasks.items() if name in matches]

    def cell_finished(self, record: Record) -> list[str]:
        """Pass `record` to every plugin that observes cells; return one line per plugin that failed."""
        warnings: list[str] = []
        for _ in _call_each(self.hook.kdbench_cell_finished, lambda: {"record": record}, warnings.append):
            pass  # what an observer returns is ignored
        return warnings

    def board_columns(self, table: pd.DataFrame, *, warn: Callable[[str], object]) -> list[pd.DataFrame]:
        """Return the columns that plugins add to `table`; call `warn` with one line per plugin that failed."""
        added: list[pd.DataFrame] = []
        taken: set[object] = set(table.columns)
        hook = self.hook.kdbench_board_columns
        # Each plugin gets a copy: it cannot change the board's own columns or what the next plugin sees.
        for plugin, columns in _call_each(hook, lambda: {"table": table.copy()}, warn):
            problem = _column_problem(columns, table, taken)
            if problem is not None:
                warn(f"{plugin}: {problem}")
            elif columns is not None:
                added.append(columns)
                taken.update(columns.columns)
        return added


def _is_searched(strategy: type[Strategy]) -> bool:
    return any(strategy.search_space(kind) for kind in strategy.kinds)


def _known(name: str, registered: Mapping[str, Registered[_T]], what: str) -> Registered[_T]:
    if name not in registered:
        raise UsageError(f"unknown {what} {name!r}{nearest(name, list(registered))}")
    return registered[name]


def _matches(pattern: str, names: Iterable[str], what: str) -> list[str]:
    names = list(names)
    matches = [name for name in names if fnmatchcase(name, pattern)]
    if not matches:
        raise UsageError(f"no {what} matches {pattern!r}{nearest(pattern, names)}")
    return matches


def _validated(spec: StrategySpec, params: type[Params]) -> Params:
    known = list(params.model_fields)
    for name in spec.params:
        if name not in known:
            raise UsageError(
                f"strategy {spec.name!r} has no parameter {name!r}{did_you_mean(name, known)}; "
                f"it has: {', '.join(sorted(known))}"
            )
    try:
        # Strict JSON mode accepts a list for a tuple, but neither true nor "8" for a number: one value, one spelling.
        return params.model_validate_json(to_json(spec.params), strict=True)
    except ValidationError as error:
        raise UsageError(f"strategy {spec.name!r}: {'; '.join(_problems(error, spec))}") from None


def _problems(error: ValidationError, spec: StrategySpec) -> Iterator[str]:
    """Yield one message per invalid parameter; the messages of a union's branches are joined by 'or'."""
    messages: dict[str, list[str]] = {}
    for problem in error.errors():
        name = str(problem["loc"][0]) if problem["loc"] else ""
        message = re.sub(r"^\w+ should ", "must ", problem["msg"])
        messages.setdefault(name, []).append(message.removeprefix("Value error, "))
    for name, alternatives in messages.items():
        text = " or ".join(dict.fromkeys(alternatives)).replace(" or must be ", " or ")
        yield f"{name} {text}, got {spec.params[name]!r}" if name in spec.params else text


def _call_each(
    hook: pluggy.HookCaller, arguments: Callable[[], Mapping[str, object]], warn: Callable[[str], object]
) -> Iterator[tuple[str, Any]]:
    """Yield each plugin's name and answer; for one that raises call `warn` with a line, and go on."""
    for impl in hook.get_hookimpls():
        try:
            given = arguments()
            answer = impl.function(*(given[name] for name in impl.argnames))
        except (Exception, SystemExit) as error:
            warn(f"{impl.plugin_name}: {one_line(error)}")
        else:
            yield impl.plugin_name, answer


def _column_problem(columns: object, table: pd.DataFrame, taken: set[object]) -> str | None:
    import pandas as pd

    if columns is None:
        return None
    if not isinstance(columns, pd.DataFrame):
        return f"returned {type(columns).__name__}, not a DataFrame"
    if not columns.index.equals(table.index):
        return "returned a table with another index than the board's"
    if taken & set(columns.columns):
        return f"returned columns that the board has: {', '.join(sorted(map(str, taken & set(columns.columns))))}"
    return None

"""Check what plugins provide: one error names every problem of a strategy, task, kind of task or metric."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeGuard, TypeVar, get_args

from kdbench.api.bench import TeacherOutput
from kdbench.api.metric import Metric
from kdbench.api.params import Params
from kdbench.api.search import Choice, Range
from kdbench.api.strategy import Strategy
from kdbench.api.task import RESERVED_TASK_NAMES, HubSource, LocalSource, PackageSource, Task, TaskKind
from kdbench.errors import UsageError, one_line, shown

_T = TypeVar("_T")

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SOURCE_TYPES: Mapping[str, type] = {"package": PackageSource, "local": LocalSource, "hub": HubSource}


def checked_strategy(candidate: object) -> type[Strategy]:
    """Return `candidate` (of an instance its class) if it is a valid Strategy, else raise a UsageError."""
    cls = candidate if isinstance(candidate, type) else type(candidate)
    if not issubclass(cls, Strategy):
        raise UsageError(f"{shown(candidate)} is not a Strategy")
    _raise_if_any("strategy", cls, _strategy_problems(cls))
    return cls


def checked_task(candidate: object) -> Task:
    """Return `candidate` (of a class an instance) if it is a valid Task, else raise a UsageError."""
    return _checked_instance(candidate, Task, "task", _task_problems)  # type: ignore[type-abstract]


def checked_kind(candidate: object) -> TaskKind:
    """Return `candidate` (of a class an instance) if it is a valid TaskKind, else raise a UsageError."""
    return _checked_instance(candidate, TaskKind, "kind", _kind_problems)  # type: ignore[type-abstract]


def checked_metric(candidate: object) -> Metric:
    """Return `candidate` (of a class an instance) if it is a valid Metric, else raise a UsageError."""
    return _checked_instance(candidate, Metric, "metric", _metric_problems)  # type: ignore[type-abstract]


def _checked_instance(
    candidate: object, base: type[_T], what: str, problems: Callable[[_T], Iterator[str]]
) -> _T:
    if isinstance(candidate, type) and issubclass(candidate, base):
        if problem := next(_abstract_problems(candidate), None):
            raise UsageError(f"{shown(candidate)} {problem}")
        candidate = candidate()
    if not isinstance(candidate, base):
        raise UsageError(f"{shown(candidate)} is not a {base.__name__}")
    _raise_if_any(what, type(candidate), problems(candidate))
    return candidate


def _raise_if_any(what: str, cls: type, problems: Iterator[str]) -> None:
    if text := "; ".join(problems):
        raise UsageError(f"{what} {cls.__module__}.{cls.__qualname__}: {text}")


def _abstract_problems(cls: type) -> Iterator[str]:
    missing: frozenset[str] = getattr(cls, "__abstractmethods__", frozenset())
    if missing:
        yield f"does not implement {', '.join(sorted(missing))}"


def _strategy_problems(strategy: type[Strategy]) -> Iterator[str]:
    yield from _name_problems(strategy)
    yield from _line_problems(strategy, "title", "citation", "family")
    kinds: object = strategy.kinds
    if not (isinstance(kinds, (set, frozenset)) and kinds and all(isinstance(k, TaskKind) for k in kinds)):
        yield f"kinds must be a set of TaskKind, not {shown(kinds)}"
    else:
        yield from _rate_problems(strategy.learning_rates, kinds)
    if strategy.teacher_outputs not in (None, *get_args(TeacherOutput)):
        yield f"teacher_outputs must be one of {', '.join(get_args(TeacherOutput))} or None, not {shown(strategy.teacher_outputs)}"
    yield from _abstract_problems(strategy)
    params: object = strategy.Params
    if not (isinstance(params, type) and issubclass(params, Params)):
        yield f"Params must be a subclass of kdbench.Params, not {shown(params)}"
        return
    try:
        defaults = params()
    except Exception as error:
        yield f"Params() must work without arguments, every parameter needs a default: {one_line(error)}"
        return
    yield from _search_problems(strategy.search, defaults)


_RATED_KINDS = (
    TaskKind.SEQUENCE_CLASSIFICATION,
    TaskKind.SEQUENCE_REGRESSION,
    TaskKind.TOKEN_CLASSIFICATION,
)


def _rate_problems(rates: object, kinds: set[Any] | frozenset[Any]) -> Iterator[str]:
    if not isinstance(rates, Mapping):
        yield f"learning_rates must be a mapping from TaskKind to a number, not {shown(rates)}"
        return
    for kind in sorted(kinds):
        if kind not in rates and kind not in _RATED_KINDS:
            continue  # `default_rate` scales that of sequence classification
        rate = rates.get(kind)
        if not (isinstance(rate, (int, float)) and rate > 0):
            yield f"learning_rates must have a positive number for {kind}"


def _search_problems(search: object, defaults: Params) -> Iterator[str]:
    if not isinstance(search, Mapping):
        yield f"search must map parameters to a Range or a Choice, not {shown(search)}"
        return
    for name, values in search.items():
        if name not in type(defaults).model_fields or name in defaults.without_effect:
            yield f"search names {name!r}, which is no parameter that has an effect"
        elif not isinstance(values, (Range, Choice)):
            yield f"search[{name!r}] must be a Range or a Choice, not {shown(values)}"
        elif (default := getattr(defaults, name)) is not None and default not in values:
            yield f"search[{name!r}], {values}, does not contain the default {default!r}"


def _task_problems(task: Task) -> Iterator[str]:
    yield from _name_problems(task)
    if getattr(task, "name", None) in RESERVED_TASK_NAMES:
        yield f"name must not be {task.name!r}, the name of a board's file"
    yield from _line_problems(task, "title", "metric", "eval_split")
    if getattr(task, "eval_split", None) == "train":
        yield "eval_split must not be 'train'"
    if not _is_tuple_of_text(task.metrics):
        yield f"metrics must be a tuple of names, not {shown(task.metrics)}"
    kind: object = getattr(task, "kind", None)
    if not isinstance(kind, TaskKind):
        yield f"kind must be a TaskKind, not {shown(kind)}"
    else:
        yield from _label_problems(task.labels, kind)
    yield from _source_problems(getattr(task, "sources", None))


def _kind_problems(kind: TaskKind) -> Iterator[str]:
    yield from _name_problems(kind)
    yield from _line_problems(kind, "metric")
    yield from _abstract_problems(type(kind))  # a subclass of str can be instantiated all the same


def _metric_problems(metric: Metric) -> Iterator[str]:
    yield from _name_problems(metric)
    kinds: object = getattr(metric, "kinds", None)
    if not (isinstance(kinds, frozenset) and all(isinstance(kind, TaskKind) for kind in kinds)):
        yield f"kinds must be a frozenset of TaskKind, not {shown(kinds)}"
    if not metric.higher_is_better:
        yield "higher_is_better must be true; return 1 - error instead of an error"


def _label_problems(labels: object, kind: TaskKind) -> Iterator[str]:
    if not _is_tuple_of_text(labels):
        yield f"labels must be a tuple of names, not {shown(labels)}"
        return
    if len(set(labels)) < len(labels):
        yield f"labels has duplicates: {shown(labels)}"
    yield from kind.label_faults(labels)


def _source_problems(sources: object) -> Iterator[str]:
    if not isinstance(sources, Mapping) or not sources:
        yield f"sources must map one or more of {', '.join(_SOURCE_TYPES)} to a source, not {shown(sources)}"
        return
    for key, source in sources.items():
        if key not in _SOURCE_TYPES:
            yield f"sources has the unknown key {key!r}; the keys are {', '.join(_SOURCE_TYPES)}"
        elif not isinstance(source, _SOURCE_TYPES[key]):
            yield f"sources[{key!r}] must be a {_SOURCE_TYPES[key].__name__}, not {shown(source)}"


def _name_problems(candidate: object) -> Iterator[str]:
    name = getattr(candidate, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        yield f"name must be lower-case letters, digits and single dashes, not {shown(name)}"


def _line_problems(candidate: object, *attributes: str) -> Iterator[str]:
    for attribute in attributes:
        value = getattr(candidate, attribute, None)
        if not isinstance(value, str) or not value.strip() or len(value.splitlines()) > 1:
            yield f"{attribute} must be one line of text, not {shown(value)}"


def _is_tuple_of_text(value: object) -> TypeGuard[tuple[str, ...]]:
    return isinstance(value, tuple) and all(isinstance(item, str) and item for item in value)

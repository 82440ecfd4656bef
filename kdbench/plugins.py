"""Discovery: every plugin that is installed or named is loaded; a broken one is reported and never fatal."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeGuard, TypeVar, get_args

import pluggy

from kdbench import hookspecs
from kdbench.api.bench import TeacherOutput
from kdbench.api.metric import Metric, check_suits
from kdbench.api.model_classes import register_model_classes
from kdbench.api.params import Params
from kdbench.api.strategy import Strategy
from kdbench.api.task import HubSource, LocalSource, PackageSource, Task, TaskKind
from kdbench.config import RunConfig
from kdbench.data.user_tasks import UserTask
from kdbench.errors import UsageError, nearest, one_line, shown
from kdbench.registry import PluginInfo, Registered, Registry

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_WAYS: Mapping[str, type] = {"package": PackageSource, "local": LocalSource, "hub": HubSource}


def checked_strategy(found: object) -> type[Strategy]:
    """Return `found`, or the class of an instance, if it is a Strategy that can be listed and run.

    Raises:
        UsageError: names the class and everything that its contract misses.
    """
    if isinstance(found, Strategy):
        found = type(found)
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise UsageError(f"{shown(found)} is no Strategy")
    _refuse(f"strategy {found.__module__}.{found.__qualname__}", [*_strategy_faults(found)])
    return found


def checked_task(found: object) -> Task:
    """Return `found`, or an instance of a class, if it is a Task that can be listed and loaded.

    Raises:
        UsageError: names the class and everything that its contract misses.
    """
    if isinstance(found, type) and issubclass(found, Task):
        if inspect.isabstract(found):
            raise UsageError(
                f"{shown(found)} does not implement {', '.join(sorted(found.__abstractmethods__))}"
            )
        found = found()
    if not isinstance(found, Task):
        raise UsageError(f"{shown(found)} is no Task")
    _refuse(f"task {type(found).__module__}.{type(found).__qualname__}", [*_task_faults(found)])
    return found


def checked_kind(found: object) -> TaskKind:
    """Return `found` if it is a TaskKind that tasks can be of.

    Raises:
        UsageError: names the class and everything that its contract misses.
    """
    if isinstance(found, type) and issubclass(found, TaskKind):
        raise UsageError(f"{shown(found)} is no TaskKind; return an instance, {found.__name__}()")
    if not isinstance(found, TaskKind):
        raise UsageError(f"{shown(found)} is no TaskKind")
    _refuse(
        f"kind {_class_of(found)}", [*_name_faults(found), *_line_faults(found, "metric"), *_abstract(found)]
    )
    return found


def checked_metric(found: object) -> Metric:
    """Return `found` if it is a Metric that tasks can name.

    Raises:
        UsageError: names the class and everything that its contract misses.
    """
    if isinstance(found, type) and issubclass(found, Metric):
        raise UsageError(f"{shown(found)} is no Metric; return an instance, {found.__name__}()")
    if not isinstance(found, Metric):
        raise UsageError(f"{shown(found)} is no Metric")
    _refuse(f"metric {_class_of(found)}", [*_name_faults(found), *_metric_faults(found)])
    return found


def _class_of(found: object) -> str:
    return f"{type(found).__module__}.{type(found).__qualname__}"


def _abstract(found: TaskKind) -> Iterator[str]:
    # A string's subclass can be made with abstract methods left over.
    missing: frozenset[str] = getattr(type(found), "__abstractmethods__", frozenset())
    if missing:
        yield f"does not implement {', '.join(sorted(missing))}"


def _metric_faults(metric: Metric) -> Iterator[str]:
    kinds: object = getattr(metric, "kinds", None)
    if not (isinstance(kinds, frozenset) and all(isinstance(kind, TaskKind) for kind in kinds)):
        yield f"kinds must be a frozenset of TaskKind, not {shown(kinds)}"
    if not metric.higher_is_better:
        yield "higher_is_better must be true; return 1 - error in the place of an error"


def _refuse(what: str, faults: list[str]) -> None:
    if faults:
        raise UsageError(f"{what}: {'; '.join(faults)}")


def _strategy_faults(strategy: type[Strategy]) -> Iterator[str]:
    yield from _name_faults(strategy)
    yield from _line_faults(strategy, "title", "citation", "family")
    kinds: object = strategy.kinds
    if not (isinstance(kinds, (set, frozenset)) and kinds and all(isinstance(k, TaskKind) for k in kinds)):
        yield f"kinds must be a set of TaskKind, not {shown(kinds)}"
    else:
        yield from _rate_faults(strategy.learning_rates, kinds)
    if strategy.teacher_outputs not in (None, *get_args(TeacherOutput)):
        yield f"teacher_outputs must be one of {', '.join(get_args(TeacherOutput))} or None, not {shown(strategy.teacher_outputs)}"
    if inspect.isabstract(strategy):
        yield f"does not implement {', '.join(sorted(strategy.__abstractmethods__))}"
    params: object = strategy.Params
    if not (isinstance(params, type) and issubclass(params, Params)):
        yield f"Params must be a subclass of kdbench.Params, not {shown(params)}"
        return
    try:
        params()
    except Exception as error:
        yield f"Params() must work, since every parameter has a default: {one_line(error)}"


def _rate_faults(rates: object, kinds: set[Any] | frozenset[Any]) -> Iterator[str]:
    if not isinstance(rates, Mapping):
        yield f"learning_rates must be a mapping from TaskKind to a number, not {shown(rates)}"
        return
    for kind in sorted(kinds):
        if kind not in rates and kind not in list(TaskKind):
            continue  # a plugin's kind has a rate of its own, see `default_rate`
        rate = rates.get(kind)
        if not (isinstance(rate, (int, float)) and rate > 0):
            yield f"learning_rates has no positive number for {kind}"


def _task_faults(task: Task) -> Iterator[str]:
    yield from _name_faults(task)
    yield from _line_faults(task, "title", "metric", "eval_split")
    if getattr(task, "eval_split", None) == "train":
        yield "eval_split must not be 'train'"
    if not _is_tuple_of_text(task.metrics):
        yield f"metrics must be a tuple of names, not {shown(task.metrics)}"
    kind: object = getattr(task, "kind", None)
    if not isinstance(kind, TaskKind):
        yield f"kind must be a TaskKind, not {shown(kind)}"
    else:
        yield from _label_faults(task.labels, kind)
    yield from _source_faults(getattr(task, "sources", None))


def _label_faults(labels: object, kind: TaskKind) -> Iterator[str]:
    if not _is_tuple_of_text(labels):
        yield f"labels must be a tuple of names, not {shown(labels)}"
        return
    if len(set(labels)) < len(labels):
        yield f"labels names one twice: {shown(labels)}"
    yield from kind.label_faults(labels)


def _source_faults(sources: object) -> Iterator[str]:
    if not isinstance(sources, Mapping) or not sources:
        yield f"sources must map one or more of {', '.join(_WAYS)} to a source, not {shown(sources)}"
        return
    for way, source in sources.items():
        if way not in _WAYS:
            yield f"sources has the unknown way {way!r}; the ways are {', '.join(_WAYS)}"
        elif not isinstance(source, _WAYS[way]):
            yield f"sources[{way!r}] must be a {_WAYS[way].__name__}, not {shown(source)}"


def _name_faults(found: object) -> Iterator[str]:
    name = getattr(found, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        yield f"name must be lower-case letters, digits and single dashes, not {shown(name)}"


def _line_faults(found: object, *attributes: str) -> Iterator[str]:
    for attribute in attributes:
        value = getattr(found, attribute, None)
        if not isinstance(value, str) or not value.strip() or len(value.splitlines()) > 1:
            yield f"{attribute} must be one line of text, not {shown(value)}"


def _is_tuple_of_text(value: object) -> TypeGuard[tuple[str, ...]]:
    return isinstance(value, tuple) and all(isinstance(item, str) and item for item in value)


__all__ = ["MODULE", "Registry", "load_plugins"]

MODULE = "(module)"
"""Stands for the distribution of a plugin that was named and not installed."""

_HOOKS = [name for name in vars(hookspecs) if name.startswith(f"{hookspecs.PROJECT}_")]
_T = TypeVar("_T", type[Strategy], Task, TaskKind, Metric)


def load_plugins(modules: Sequence[str] = ()) -> Registry:
    """Return what the plugins of the entry-point group ``kdbench`` and of `modules` bring.

    kdbench's own come first, then the others by distribution and name, then `modules` as given. The same modules
    give the same registry in every process.

    Args:
        modules: plugins that are not installed, by dotted name or by the path of a ``.py`` file.
    """
    loading = _Loading()
    for entry in sorted(entry_points(group=hookspecs.PROJECT), key=_order):
        loading.add(PluginInfo(entry.name, *_distribution(entry)), entry.load)
    for module in modules:
        loading.add(PluginInfo(module, MODULE, ""), partial(_import, module))
    loading.drop_unanswerable()
    return Registry(
        loading.strategies,
        loading.tasks,
        loading.plugins,
        loading.manager.hook,
        loading.kinds,
        loading.metrics,
    )


def _distribution(entry: EntryPoint) -> tuple[str, str]:
    """Return name and version of what brought `entry`; a half-removed distribution has neither."""
    if entry.dist is None:
        return "(unknown)", ""
    return entry.dist.name or "(unknown)", entry.dist.version or ""


def _order(entry: EntryPoint) -> tuple[bool, str, str]:
    name, _ = _distribution(entry)
    return (name != hookspecs.PROJECT, name.lower(), entry.name)


def _import(module: str) -> object:
    if module.endswith(".py"):
        return _import_file(Path(module).expanduser().resolve())
    if not all(part.isidentifier() for part in module.split(".")):
        raise UsageError(f"{module!r} is neither a dotted module name nor the path of a .py file")
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise UsageError(
                f"there is no module {error.name!r}; put its folder on PYTHONPATH, or name the .py file"
            ) from None
        raise


def _import_file(path: Path) -> object:
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    # The folder is part of the name: two files may be called alike, and neither may hide an installed module.
    name = f"kdbench_file_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None  # the path ends with .py
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[name])
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


class _OneHook:
    """A single hook of a plugin, as pluggy takes it: one that does not fit its spec leaves the others standing."""

    def __init__(self, attribute: str, function: object) -> None:
        setattr(self, attribute, function)


class _Loading:
    """Takes in plugins one by one; whatever is wrong with one is noted in its `PluginInfo`."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(hookspecs.PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self.strategies: dict[str, Registered[type[Strategy]]] = {}
        self.tasks: dict[str, Registered[Task]] = {}
        self.kinds: dict[str, Registered[TaskKind]] = {}
        self.metrics: dict[str, Registered[Metric]] = {}
        self.plugins: list[PluginInfo] = []
        self._seen: list[object] = []

    def add(self, info: PluginInfo, load: Callable[[], object]) -> None:
        """Load a plugin and take in what is sound in it; one that already came in is passed over."""
        try:
            plugin = load()
            if any(plugin is seen for seen in self._seen):
                return
            self._seen.append(plugin)
            self._take_in(plugin, info)
        except (Exception, SystemExit) as error:
            info.errors.append(one_line(error))
        self.plugins.append(info)

    def _take_in(self, plugin: object, info: PluginInfo) -> None:
        hooks = list(self._hooks(plugin, info))
        if not hooks and not info.errors:
            info.errors.append("implements no hook of kdbench")
        for hook, function in hooks:
            if hook == "kdbench_strategies":
                self._collect(hook, function, checked_strategy, self.strategies, info.strategies, info)
            elif hook == "kdbench_tasks":
                self._collect(hook, function, checked_task, self.tasks, info.tasks, info)
            elif hook == "kdbench_model_classes":
                self._register_model_classes(hook, function, info)
            elif hook == "kdbench_kinds":
                self._collect(hook, function, checked_kind, self.kinds, info.kinds, info)
            elif hook == "kdbench_metrics":
                self._collect(hook, function, checked_metric, self.metrics, info.metrics, info)
            else:
                info.hooks.append(hook)

    def drop_unanswerable(self) -> None:
        """Drop the tasks whose kind or metrics no plugin brings; asked when all are loaded, in whatever order."""
        metrics = {name: found.item for name, found in self.metrics.items()}
        for info in self.plugins:
            for name in list(info.tasks):
                try:
                    _check_answerable(self.tasks[name].item, self.kinds, metrics)
                except UsageError as error:
                    info.errors.append(str(error))
                    info.tasks.remove(name)
                    del self.tasks[name]

    def _hooks(self, plugin: object, info: PluginInfo) -> Iterator[tuple[str, Callable[[], object]]]:
        """Register the hooks of `plugin` that fit their specs, and yield each with its function."""
        for attribute in dir(plugin):
            options = self.manager.parse_hookimpl_opts(plugin, attribute)
            if options is None:
                if attribute in _HOOKS:
                    info.errors.append(f"{attribute} lacks its mark; write @hookimpl above it")
                continue
            hook = options.get("specname") or attribute
            function = getattr(plugin, attribute)
            if hook not in _HOOKS:
                info.errors.append(f"{hook} is no hook of kdbench{nearest(hook, _HOOKS)}")
            elif options.get("wrapper") or options.get("hookwrapper"):
                info.errors.append(
                    f"{attribute} is a wrapper; kdbench calls each plugin's hooks on their own"
                )
            else:
                try:
                    self.manager.register(_OneHook(attribute, function), name=f"{info}, {attribute}")
                except pluggy.PluginValidationError:
                    passed = ", ".join(inspect.signature(getattr(hookspecs, hook)).parameters)
                    info.errors.append(
                        f"{attribute}{inspect.signature(function)} asks for what the hook does not pass; "
                        f"it passes ({passed})"
                    )
                else:
                    yield hook, function

    def _register_model_classes(self, hook: str, function: Callable[[], Any], info: PluginInfo) -> None:
        try:
            register_model_classes(function())
        except (Exception, SystemExit) as error:
            info.errors.append(f"{hook}: {one_line(error)}")

    def _collect(
        self,
        hook: str,
        function: Callable[[], object],
        check: Callable[[object], _T],
        into: dict[str, Registered[_T]],
        names: list[str],
        info: PluginInfo,
    ) -> None:
        """Add the sound ones of what `function` returns to `into` and their names to `names`."""
        try:
            returned = function()
            if isinstance(returned, str) or not isinstance(returned, Iterable):
                raise UsageError(f"returned {shown(returned)}, not a list")
            for found in returned:
                self._add(found, check, into, names, info)
        except (Exception, SystemExit) as error:
            info.errors.append(f"{hook}: {one_line(error)}")

    def _add(
        self,
        found: object,
        check: Callable[[object], _T],
        into: dict[str, Registered[_T]],
        names: list[str],
        info: PluginInfo,
    ) -> None:
        try:
            item = check(found)
        except (Exception, SystemExit) as error:
            info.errors.append(one_line(error))
            return
        if item.name in into:
            taken_by = f"{into[item.name].distribution} {into[item.name].version}".rstrip()
            info.errors.append(f"the name {item.name!r} is taken by {taken_by}; choose another")
            return
        into[item.name] = Registered(item, info.distribution, info.version)
        names.append(item.name)


def _check_answerable(task: Task, kinds: Iterable[str], metrics: Mapping[str, Metric]) -> None:
    """Make sure that the kind and the metrics of `task` are registered and suit each other."""
    kinds = list(kinds)
    if task.kind not in kinds:
        hint = nearest(task.kind, kinds)
        raise UsageError(f"task {task.name!r}: no plugin registers its kind {str(task.kind)!r}{hint}")
    for name in (task.metric, *task.metrics):
        try:
            check_suits(name, task.kind, metrics)
        except UsageError as error:
            raise UsageError(f"task {task.name!r}: {error}") from None


_SETTINGS = "(settings)"
"""Stands for the distribution of a task that the settings describe."""


def load_registry(config: RunConfig) -> Registry:
    """Return what the plugins bring and the tasks of the settings.

    Raises:
        UsageError: a table takes the name of another task, or describes none that could run.
    """
    registry = load_plugins(config.plugins.modules)
    tasks: dict[str, Registered[Task]] = dict(registry.tasks)
    for name, table in config.tasks.items():
        if name in tasks:
            raise UsageError(
                f"[tasks.{name}]: task {name!r} is {tasks[name].distribution}'s; choose another name"
            )
        task = UserTask(name, table, Path.cwd(), config.cache_dir)
        _check_answerable(task, registry.kinds, registry.metrics)
        tasks[name] = Registered(checked_task(task), _SETTINGS, "")
    return dataclasses.replace(registry, tasks=tasks)

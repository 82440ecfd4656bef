"""Load every installed or named plugin and validate what it provides; a broken one is reported, never fatal."""

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

__all__ = ["MODULE", "Registry", "load_plugins"]

MODULE = "(module)"
"""The distribution shown for a plugin that was named and is not installed."""
_SETTINGS = "(settings)"
"""The distribution shown for a task that the settings define."""

_T = TypeVar("_T", type[Strategy], Task, TaskKind, Metric)
_HOOKS = [name for name in vars(hookspecs) if name.startswith(f"{hookspecs.PROJECT}_")]
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SOURCE_TYPES: Mapping[str, type] = {"package": PackageSource, "local": LocalSource, "hub": HubSource}


def checked_strategy(candidate: object) -> type[Strategy]:
    """Return `candidate` (of an instance its class) if it is a valid Strategy.

    Raises:
        UsageError: names the class and every problem.
    """
    if isinstance(candidate, Strategy):
        candidate = type(candidate)
    if not (isinstance(candidate, type) and issubclass(candidate, Strategy)):
        raise UsageError(f"{shown(candidate)} is not a Strategy")
    _raise_if_any(f"strategy {_class_name(candidate)}", [*_strategy_problems(candidate)])
    return candidate


def checked_task(candidate: object) -> Task:
    """Return `candidate` (of a class an instance) if it is a valid Task.

    Raises:
        UsageError: names the class and every problem.
    """
    if isinstance(candidate, type) and issubclass(candidate, Task):
        if inspect.isabstract(candidate):
            raise UsageError(
                f"{shown(candidate)} does not implement {', '.join(sorted(candidate.__abstractmethods__))}"
            )
        candidate = candidate()
    if not isinstance(candidate, Task):
        raise UsageError(f"{shown(candidate)} is not a Task")
    _raise_if_any(f"task {_class_name(candidate)}", [*_task_problems(candidate)])
    return candidate


def checked_kind(candidate: object) -> TaskKind:
    """Return `candidate` if it is a valid TaskKind.

    Raises:
        UsageError: names the class and every problem.
    """
    if isinstance(candidate, type) and issubclass(candidate, TaskKind):
        raise UsageError(f"{shown(candidate)} is a class; return an instance, {candidate.__name__}()")
    if not isinstance(candidate, TaskKind):
        raise UsageError(f"{shown(candidate)} is not a TaskKind")
    _raise_if_any(
        f"kind {_class_name(candidate)}",
        [*_name_problems(candidate), *_line_problems(candidate, "metric"), *_abstract_problems(candidate)],
    )
    return candidate


def checked_metric(candidate: object) -> Metric:
    """Return `candidate` if it is a valid Metric.

    Raises:
        UsageError: names the class and every problem.
    """
    if isinstance(candidate, type) and issubclass(candidate, Metric):
        raise UsageError(f"{shown(candidate)} is a class; return an instance, {candidate.__name__}()")
    if not isinstance(candidate, Metric):
        raise UsageError(f"{shown(candidate)} is not a Metric")
    _raise_if_any(
        f"metric {_class_name(candidate)}", [*_name_problems(candidate), *_metric_problems(candidate)]
    )
    return candidate


def _class_name(candidate: object) -> str:
    cls = candidate if isinstance(candidate, type) else type(candidate)
    return f"{cls.__module__}.{cls.__qualname__}"


def _abstract_problems(candidate: TaskKind) -> Iterator[str]:
    # A subclass of str can be instantiated although it has abstract methods.
    missing: frozenset[str] = getattr(type(candidate), "__abstractmethods__", frozenset())
    if missing:
        yield f"does not implement {', '.join(sorted(missing))}"


def _metric_problems(metric: Metric) -> Iterator[str]:
    kinds: object = getattr(metric, "kinds", None)
    if not (isinstance(kinds, frozenset) and all(isinstance(kind, TaskKind) for kind in kinds)):
        yield f"kinds must be a frozenset of TaskKind, not {shown(kinds)}"
    if not metric.higher_is_better:
        yield "higher_is_better must be true; return 1 - error instead of an error"


def _raise_if_any(what: str, problems: list[str]) -> None:
    if problems:
        raise UsageError(f"{what}: {'; '.join(problems)}")


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
    if inspect.isabstract(strategy):
        yield f"does not implement {', '.join(sorted(strategy.__abstractmethods__))}"
    params: object = strategy.Params
    if not (isinstance(params, type) and issubclass(params, Params)):
        yield f"Params must be a subclass of kdbench.Params, not {shown(params)}"
        return
    try:
        params()
    except Exception as error:
        yield f"Params() must work without arguments, every parameter needs a default: {one_line(error)}"


def _rate_problems(rates: object, kinds: set[Any] | frozenset[Any]) -> Iterator[str]:
    if not isinstance(rates, Mapping):
        yield f"learning_rates must be a mapping from TaskKind to a number, not {shown(rates)}"
        return
    for kind in sorted(kinds):
        if kind not in rates and kind not in list(TaskKind):
            continue  # a plugin's kind brings its own default, see `default_rate`
        rate = rates.get(kind)
        if not (isinstance(rate, (int, float)) and rate > 0):
            yield f"learning_rates must have a positive number for {kind}"


def _task_problems(task: Task) -> Iterator[str]:
    yield from _name_problems(task)
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


def load_plugins(modules: Sequence[str] = ()) -> Registry:
    """Return the registry of everything that the plugins of entry-point group ``kdbench`` and of `modules` provide.

    Order: kdbench's own plugins, the others by distribution and name, then `modules` as given. The same modules give
    the same registry in every process.

    Args:
        modules: plugins that are not installed, by dotted name or by the path of a ``.py`` file.
    """
    loading = _Loading()
    for entry in sorted(entry_points(group=hookspecs.PROJECT), key=_order):
        loading.add(PluginInfo(entry.name, *_distribution(entry)), entry.load)
    for module in modules:
        loading.add(PluginInfo(module, MODULE, ""), partial(_import, module))
    loading.drop_unsupported_tasks()
    return Registry(
        loading.strategies,
        loading.tasks,
        loading.plugins,
        loading.manager.hook,
        loading.kinds,
        loading.metrics,
    )


def _distribution(entry: EntryPoint) -> tuple[str, str]:
    """Return name and version of the distribution of `entry`; a half-removed distribution has neither."""
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
    # The name includes a hash of the path: two files may share a name, and neither may shadow an installed module.
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
    """A pluggy plugin with one hook, so that a hook that does not match its spec does not affect the others."""

    def __init__(self, attribute: str, function: object) -> None:
        setattr(self, attribute, function)


class _Loading:
    """Loads plugins one by one; problems of a plugin are recorded in its `PluginInfo`."""

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
        """Load a plugin and register its valid parts; skip a plugin that was loaded before."""
        try:
            plugin = load()
            if any(plugin is seen for seen in self._seen):
                return
            self._seen.append(plugin)
            self._register(plugin, info)
        except (Exception, SystemExit) as error:
            info.errors.append(one_line(error))
        self.plugins.append(info)

    def _register(self, plugin: object, info: PluginInfo) -> None:
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

    def drop_unsupported_tasks(self) -> None:
        """Drop tasks whose kind or metrics no plugin provides; call it after all plugins are loaded."""
        metrics = {name: registered.item for name, registered in self.metrics.items()}
        for info in self.plugins:
            for name in list(info.tasks):
                try:
                    _check_supported(self.tasks[name].item, self.kinds, metrics)
                except UsageError as error:
                    info.errors.append(str(error))
                    info.tasks.remove(name)
                    del self.tasks[name]

    def _hooks(self, plugin: object, info: PluginInfo) -> Iterator[tuple[str, Callable[[], object]]]:
        """Register the hooks of `plugin` that match their specs, and yield each with its function."""
        for attribute in dir(plugin):
            options = self.manager.parse_hookimpl_opts(plugin, attribute)
            if options is None:
                if attribute in _HOOKS:
                    info.errors.append(f"{attribute} lacks its decorator; write @hookimpl above it")
                continue
            hook = options.get("specname") or attribute
            function = getattr(plugin, attribute)
            if hook not in _HOOKS:
                info.errors.append(f"{hook} is not a hook of kdbench{nearest(hook, _HOOKS)}")
            elif options.get("wrapper") or options.get("hookwrapper"):
                info.errors.append(
                    f"{attribute} is a hook wrapper, which kdbench does not support; write a plain hook"
                )
            else:
                try:
                    self.manager.register(_OneHook(attribute, function), name=f"{info}, {attribute}")
                except pluggy.PluginValidationError:
                    passed = ", ".join(inspect.signature(getattr(hookspecs, hook)).parameters)
                    info.errors.append(
                        f"{attribute}{inspect.signature(function)} has arguments that the hook does not pass; "
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
        """Add the valid items that `function` returns to `into` and their names to `names`."""
        try:
            returned = function()
            if isinstance(returned, str) or not isinstance(returned, Iterable):
                raise UsageError(f"returned {shown(returned)}, not a list")
            for candidate in returned:
                self._add(candidate, check, into, names, info)
        except (Exception, SystemExit) as error:
            info.errors.append(f"{hook}: {one_line(error)}")

    def _add(
        self,
        candidate: object,
        check: Callable[[object], _T],
        into: dict[str, Registered[_T]],
        names: list[str],
        info: PluginInfo,
    ) -> None:
        try:
            item = check(candidate)
        except (Exception, SystemExit) as error:
            info.errors.append(one_line(error))
            return
        if item.name in into:
            taken_by = f"{into[item.name].distribution} {into[item.name].version}".rstrip()
            info.errors.append(f"the name {item.name!r} is taken by {taken_by}; choose another")
            return
        into[item.name] = Registered(item, info.distribution, info.version)
        names.append(item.name)


def _check_supported(task: Task, kinds: Iterable[str], metrics: Mapping[str, Metric]) -> None:
    """Check that the kind and the metrics of `task` are registered and compatible."""
    kinds = list(kinds)
    if task.kind not in kinds:
        hint = nearest(task.kind, kinds)
        raise UsageError(f"task {task.name!r}: no plugin registers its kind {str(task.kind)!r}{hint}")
    for name in (task.metric, *task.metrics):
        try:
            check_suits(name, task.kind, metrics)
        except UsageError as error:
            raise UsageError(f"task {task.name!r}: {error}") from None


def load_registry(config: RunConfig) -> Registry:
    """Return the registry of all plugins plus the tasks that the settings define.

    Raises:
        UsageError: a task table has the name of another task, or is invalid.
    """
    registry = load_plugins(config.plugins.modules)
    tasks: dict[str, Registered[Task]] = dict(registry.tasks)
    for name, table in config.tasks.items():
        if name in tasks:
            raise UsageError(
                f"[tasks.{name}]: {tasks[name].distribution} has a task {name!r}; choose another name"
            )
        task = UserTask(name, table, Path.cwd(), config.cache_dir)
        _check_supported(task, registry.kinds, registry.metrics)
        tasks[name] = Registered(checked_task(task), _SETTINGS, "")
    return dataclasses.replace(registry, tasks=tasks)

"""Load every installed or named plugin; a broken one is reported, never fatal."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

import pluggy

from kdbench import hookspecs
from kdbench.api.metric import Metric, check_suits
from kdbench.api.model_classes import register_model_classes
from kdbench.api.strategy import Strategy
from kdbench.api.task import Task, TaskKind
from kdbench.config import RunConfig
from kdbench.data.user_tasks import UserTask
from kdbench.errors import UsageError, nearest, one_line, shown
from kdbench.plugin_checks import checked_kind, checked_metric, checked_strategy, checked_task
from kdbench.registry import PluginInfo, Registered, Registry
from kdbench.utils.files import content_hash, sha256, user_path

_MODULE = "(module)"
"""The distribution shown for a plugin that was named and is not installed."""
_VERSION_LENGTH = 12
"""Of the hash that stands for the version of such a plugin."""
_SETTINGS = "(settings)"
"""The distribution shown for a task that the settings define."""

_T = TypeVar("_T", type[Strategy], Task, TaskKind, Metric)
_HOOKS = [name for name in vars(hookspecs) if name.startswith(f"{hookspecs.PROJECT}_")]


def load_plugins(modules: Sequence[str] = ()) -> Registry:
    """Return the registry of everything that the plugins of entry-point group ``kdbench`` and of `modules` provide.

    `modules` are plugins that are not installed, by dotted name or by the path of a ``.py`` file. Order: kdbench's own
    plugins, the others by distribution and name, then `modules` as given; it is the same in every process.
    """
    loading = _Loading()
    for entry in sorted(entry_points(group=hookspecs.PROJECT), key=_order):
        loading.add(PluginInfo(entry.name, *_distribution(entry)), entry.load)
    for module in modules:
        loading.add(PluginInfo(module, _MODULE, ""), partial(import_plugin, module))
    return loading.registry()


def _distribution(entry: EntryPoint) -> tuple[str, str]:
    """Return name and version of the distribution of `entry`; a half-removed distribution has neither."""
    if entry.dist is None:
        return "(unknown)", ""
    return entry.dist.name or "(unknown)", entry.dist.version or ""


def _order(entry: EntryPoint) -> tuple[bool, str, str]:
    name, _ = _distribution(entry)
    return (name != hookspecs.PROJECT, name.lower(), entry.name)


def import_plugin(module: str) -> object:
    """Return the plugin that `module` names, by its dotted name or the path of its ``.py`` file.

    Raises:
        UsageError: there is none.
    """
    if module.endswith(".py"):
        return _import_file(user_path(module).resolve())
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


def _source_hash(plugin: object) -> str:
    """Return a hash of the source files of a module or package, which has no version; empty for other objects."""
    file = getattr(plugin, "__file__", None)
    if file is None:
        return ""
    path = Path(file)
    files = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
    return content_hash([sha256(source) for source in files])[:_VERSION_LENGTH]


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
        self._version = ""
        """That of the plugin being loaded: its distribution's, or a hash of its source."""

    def add(self, info: PluginInfo, load: Callable[[], object]) -> None:
        """Load a plugin and register its valid parts; skip a plugin that was loaded before."""
        try:
            plugin = load()
            if any(plugin is seen for seen in self._seen):
                return
            self._seen.append(plugin)
            self._version = info.version or _source_hash(plugin)
            self._register(plugin, info)
        except (Exception, SystemExit) as error:
            info.errors.append(one_line(error))
        self.plugins.append(info)

    def _register(self, plugin: object, info: PluginInfo) -> None:
        hooks = list(self._hooks(plugin, info))
        if not hooks and not info.errors:
            info.errors.append("implements no hook of kdbench")
        for hook, function in hooks:
            try:
                match hook:
                    case "kdbench_strategies":
                        self._collect(function(), checked_strategy, self.strategies, info.strategies, info)
                    case "kdbench_tasks":
                        self._collect(function(), checked_task, self.tasks, info.tasks, info)
                    case "kdbench_model_classes":
                        register_model_classes(function())
                    case "kdbench_kinds":
                        self._collect(function(), checked_kind, self.kinds, info.kinds, info)
                    case "kdbench_metrics":
                        self._collect(function(), checked_metric, self.metrics, info.metrics, info)
                    case _:
                        info.hooks.append(hook)
            except (Exception, SystemExit) as error:
                info.errors.append(f"{hook}: {one_line(error)}")

    def registry(self) -> Registry:
        """Return what the loaded plugins provide, without tasks whose kind or metrics none of them provides."""
        metrics = {name: registered.item for name, registered in self.metrics.items()}
        for info in self.plugins:
            for name in list(info.tasks):
                try:
                    _check_supported(self.tasks[name].item, self.kinds, metrics)
                except UsageError as error:
                    info.errors.append(str(error))
                    info.tasks.remove(name)
                    del self.tasks[name]
        return Registry(
            self.strategies, self.tasks, self.plugins, self.manager.hook, self.kinds, self.metrics
        )

    def _hooks(self, plugin: object, info: PluginInfo) -> Iterator[tuple[str, Callable[[], Any]]]:
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

    def _collect(
        self,
        provided: object,
        check: Callable[[object], _T],
        into: dict[str, Registered[_T]],
        names: list[str],
        info: PluginInfo,
    ) -> None:
        """Add the valid items of `provided` to `into` and their names to `names`."""
        if isinstance(provided, str) or not isinstance(provided, Iterable):
            raise UsageError(f"returned {shown(provided)}, not a list")
        for candidate in provided:
            try:
                item = check(candidate)
                if item.name in into:
                    taken_by = f"{into[item.name].distribution} {into[item.name].version}".rstrip()
                    raise UsageError(f"the name {item.name!r} is taken by {taken_by}; choose another")
            except (Exception, SystemExit) as error:
                info.errors.append(one_line(error))
            else:
                into[item.name] = Registered(item, info.distribution, self._version)
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
                f"[tasks.{name}]: {tasks[name].distribution} has a task {name!r}; choose another name (--task-name beside "
                "--task-file)"
            )
        task = UserTask(name, table, Path.cwd(), config.cache_dir)
        _check_supported(task, registry.kinds, registry.metrics)
        tasks[name] = Registered(checked_task(task), _SETTINGS, "")
    return dataclasses.replace(registry, tasks=tasks)

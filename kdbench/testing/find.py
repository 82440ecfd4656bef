"""Find what a user names for checking: a plugin's file, module or distribution, or one strategy, task, metric or kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kdbench.api.spec import parse_spec
from kdbench.config import DataSettings
from kdbench.errors import UsageError, nearest
from kdbench.registry import PluginInfo, Registry
from kdbench.testing.laboratory import Laboratory
from kdbench.testing.report import Report, Result, Verdict
from kdbench.testing.subjects import of_part


def reports_on(names: Iterable[str], registry: Registry, settings: DataSettings) -> Iterator[Report]:
    """Yield a report on each plugin and part that `names` mean, as it is finished; that of a plugin comes first.

    The report on a plugin says whether all that it provides is registered.

    Args:
        names: plugins (by file, module or distribution), or strategies (perhaps with parameters), tasks, metrics or kinds.

    Raises:
        UsageError: nothing has one of the names.
    """
    laboratory = Laboratory(registry)
    for plugin, parts in [found for name in names for found in _found(name, registry)]:
        if plugin is not None:
            verdict = Verdict.FAILED if plugin.error else Verdict.PASSED
            registered = Result("is-registered", verdict, plugin.error or "")
            yield Report(f"plugin {plugin.name}", (registered,))
        for part in parts:
            yield of_part(part, laboratory, settings).run()


def _found(name: str, registry: Registry) -> list[tuple[PluginInfo | None, list[Any]]]:
    """Return the plugins called `name` with their parts, or the parts called so."""
    plugins = [plugin for plugin in registry.plugins if name in (plugin.name, plugin.distribution)]
    if plugins:
        return [(plugin, list(_parts_of(plugin, registry))) for plugin in plugins]
    parts = _named(name, registry)
    if not parts:
        known = [*registry.strategies, *registry.tasks, *registry.metrics, *registry.kinds]
        raise UsageError(
            f"nothing is called {name!r}{nearest(name, known)}; name one of these, or the plugin's .py file"
        )
    return [(None, parts)]


def _parts_of(plugin: PluginInfo, registry: Registry) -> Iterator[Any]:
    yield from (registry.kinds[name].item for name in plugin.kinds)
    yield from (registry.metrics[name] for name in plugin.metrics)
    yield from (registry.tasks[name].item for name in plugin.tasks)
    yield from (registry.strategies[name].item for name in plugin.strategies)


def _named(name: str, registry: Registry) -> list[Any]:
    others = (registry.kinds, registry.registered_metrics, registry.tasks)
    parts: list[Any] = [registered[name].item for registered in others if name in registered]
    spec = parse_spec(name)
    if spec.name in registry.strategies:
        parts.append(registry.strategy(spec))
    return parts

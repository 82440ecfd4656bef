"""Build the output of `kdbench list` and `kdbench describe`: plain data, and its rendering for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kdbench.api.params import Params, default_rate
from kdbench.api.strategy import Strategy
from kdbench.api.task import LocalSource, PackageSource, Source, Task, TaskKind
from kdbench.budgets import BUDGETS, Budget
from kdbench.config import RunConfig
from kdbench.data import load_task, missing_downloads
from kdbench.data.preparing import label_counts
from kdbench.errors import UsageError, nearest
from kdbench.registry import PluginInfo, Registered, Registry

Row = dict[str, Any]
"""One strategy, task, plugin or budget as JSON."""

_COLUMNS: Mapping[str, Sequence[str]] = {
    "strategies": ("name", "title", "family", "kinds", "distribution"),
    "tasks": ("name", "title", "kind", "metrics", "sources", "distribution"),
    "plugins": ("distribution", "version", "name", "strategies", "tasks", "hooks", "error"),
    "budgets": ("name", "train_examples", "steps", "batch_size", "evaluations", "seeds", "latency_rounds"),
}
_CONSTRAINTS = {
    "minimum": ">=",
    "exclusiveMinimum": ">",
    "maximum": "<=",
    "exclusiveMaximum": "<",
    "multipleOf": "multiple of",
    "pattern": "matches",
    "minLength": "characters >=",
    "maxLength": "characters <=",
    "minItems": "items >=",
    "maxItems": "items <=",
}
_TYPES = {"null": "none", "array": "list", "object": "table"}
"""JSON Schema types by their names in TOML; other types keep their names."""


def listing(registry: Registry, what: str, budgets: Mapping[str, Budget] = BUDGETS) -> list[Row]:
    """Return a full description of every item of `what`: ``strategies``, ``tasks``, ``plugins`` or ``budgets``.

    Raises:
        UsageError: `what` is something else.
    """
    rows: Mapping[str, Callable[[], list[Row]]] = {
        "strategies": lambda: [_strategy(registered) for registered in registry.strategies.values()],
        "tasks": lambda: [_task(registered) for registered in registry.tasks.values()],
        "plugins": lambda: [_plugin(info) for info in registry.plugins],
        "budgets": lambda: [budget.model_dump(mode="json") for budget in budgets.values()],
    }
    if what not in rows:
        raise UsageError(f"cannot list {what!r}{nearest(what, list(rows))}")
    return rows[what]()


def description(
    registry: Registry,
    name: str,
    sizes: Mapping[str, Any] | None = None,
    budgets: Mapping[str, Budget] = BUDGETS,
) -> Row:
    """Return a full description of the strategy, task or budget `name`, looked up in this order.

    `sizes` is the result of `task_sizes`, if the task's data was read.

    Raises:
        UsageError: nothing has that name.
    """
    known: dict[str, Row] = {}
    for what in ("budgets", "tasks", "strategies"):
        known.update((row["name"], row) for row in listing(registry, what, budgets))
    if name not in known:
        raise UsageError(f"there is no strategy, task or budget {name!r}{nearest(name, list(known))}")
    return known[name] if sizes is None else {**known[name], "sizes": dict(sizes)}


def listing_table(what: str, rows: Sequence[Row]) -> Table:
    """Return the `rows` of `listing` as a table for the terminal."""
    table = Table(title=what, title_justify="left")
    for column in _COLUMNS[what]:
        table.add_column(column.replace("_", " "), no_wrap=column == "name", overflow="fold")
    for row in rows:
        # All kinds spelled out would make every row three lines high.
        short = {**row, "kinds": "all"} if len(row.get("kinds", ())) == len(TaskKind) else row
        table.add_row(*(_cell(short[column]) for column in _COLUMNS[what]))
    return table


def description_view(row: Row) -> RenderableType:
    """Return the result of `description` as text for the terminal."""
    facts = Table.grid(padding=(0, 2))
    for key, value in {**row, **row.get("sizes", {})}.items():
        if key not in ("parameters", "sizes"):
            facts.add_row(key.replace("_", " "), _cell(value))
    if "parameters" not in row:
        return facts
    parameters = Table(title="parameters", title_justify="left")
    for column in ("name", "type", "default", "constraints", "meaning"):
        parameters.add_column(column, no_wrap=column == "name", overflow="fold")
    for parameter in row["parameters"]:
        parameters.add_row(*(_cell(value) for value in parameter.values()))
    return Group(facts, parameters)


def _strategy(registered: Registered[type[Strategy]]) -> Row:
    strategy = registered.item
    return {
        "name": strategy.name,
        "title": strategy.title,
        "family": strategy.family,
        "citation": strategy.citation,
        "kinds": sorted(str(kind) for kind in strategy.kinds),
        "uses_teacher": strategy.uses_teacher(),
        "learning_rates": {
            str(kind): default_rate(strategy.learning_rates, kind) for kind in sorted(strategy.kinds)
        },
        "distribution": registered.distribution,
        "version": registered.version,
        "parameters": _parameters(strategy.Params),
    }


def _parameters(params: type[Params]) -> list[Row]:
    schema = params.model_json_schema()
    rows = []
    for name, field in schema["properties"].items():
        if name in params.without_effect:
            continue
        branches = field.get("anyOf", [field])
        rows.append(
            {
                "name": name,
                "type": " or ".join(_type(branch, schema) for branch in branches),
                "default": field.get("default"),
                "constraints": ", ".join(_constraints(branches)),
                "meaning": field.get("description", ""),
            }
        )
    return rows


def _type(field: Row, schema: Row) -> str:
    """Return a JSON Schema type in words; `schema` holds the definitions that `field` may refer to."""
    if "$ref" in field:
        return _type(schema["$defs"][field["$ref"].rpartition("/")[2]], schema)
    if "enum" in field:
        return " or ".join(repr(choice) for choice in field["enum"])
    if "items" in field:
        return f"list of {_type(field['items'], schema)}"
    return _TYPES.get(field.get("type", "any"), str(field.get("type", "any")))


def _constraints(branches: Sequence[Row]) -> list[str]:
    return [
        f"{words} {field[key]}" for field in branches for key, words in _CONSTRAINTS.items() if key in field
    ]


def _task(registered: Registered[Task]) -> Row:
    task = registered.item
    return {
        "name": task.name,
        "title": task.title,
        "kind": str(task.kind),
        "labels": list(task.labels),
        "metrics": list(dict.fromkeys([task.metric, *task.metrics])),
        "eval_split": task.eval_split,
        "sources": [_source(source) for source in task.sources.values()],
        "licence": task.licence,
        "citation": task.citation,
        "distribution": registered.distribution,
        "version": registered.version,
    }


def _source(source: Source) -> str:
    if isinstance(source, PackageSource):
        size = f" ({source.wheel_bytes / 1e6:.1f} MB)" if source.wheel_bytes else ""
        return f"package {source.requirement}{size}"
    if isinstance(source, LocalSource):
        return f"files under --data-dir: {', '.join(names[0] for names in source.candidates().values())}"
    return f"hub data set {source}" + (f" at {source.revision}" if source.revision else "")


def _plugin(info: PluginInfo) -> Row:
    row = asdict(info)
    del row["errors"]
    return {**row, "error": info.error}


def _cell(value: object) -> Text:
    """Return `value` as plain text, so that a plugin's markup is not interpreted."""
    if isinstance(value, Mapping):
        value = ", ".join(f"{key}: {_cell(item)}" for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        separator = "\n" if any(isinstance(item, Mapping) for item in value) else ", "
        value = separator.join(str(_cell(item)) for item in value)
    elif isinstance(value, bool):
        value = "yes" if value else "no"
    return Text("-" if value is None else str(value))


def task_sizes(task: Task, config: RunConfig) -> dict[str, Any]:
    """Return sizes of the splits, lengths, label shares and first examples of a task's data; nothing is fetched."""
    missing = missing_downloads(task, config.data)
    if missing:
        return {
            "unknown": f"not on this machine yet; a run would fetch {', '.join(load.name for load in missing)}"
        }
    data = load_task(task, config.data)
    train = data.splits["train"]
    sizes: dict[str, Any] = {
        "source": data.source,
        "fingerprint": data.fingerprint[:16],
        "examples": {name: len(rows) for name, rows in data.splits.items()},
        "scored_in_train_too": data.duplicates,
        "scored_nearly_in_train": data.near_duplicates,
        "words": _lengths(train),
    }
    if task.labels:
        counts = label_counts(task, train[task.kind.label_column])
        total = sum(counts.values())
        sizes["label_shares"] = {label: round(count / total, 4) for label, count in counts.items()}
    sizes["first_examples"] = [train[index] for index in range(min(2, len(train)))]
    return sizes


def _lengths(rows: Any) -> dict[str, int]:
    """Return percentiles of the number of words separated by white space."""
    if "words" in rows.column_names:
        lengths = [len(words) for words in rows["words"]]
    else:
        texts = [rows[name] for name in ("text", "text_pair") if name in rows.column_names]
        lengths = [sum(len(text.split()) for text in pair) for pair in zip(*texts, strict=True)]
    p50, p90, p99 = np.percentile(lengths, [50, 90, 99])
    return {"p50": round(p50), "p90": round(p90), "p99": round(p99), "longest": max(lengths)}

"""Load the table of cells that boards and comparisons are drawn from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from unicodedata import normalize

import pandas as pd

from kdbench.api.metric import Metric
from kdbench.api.task import RESERVED_TASK_NAMES
from kdbench.board.cells import tidy
from kdbench.board.sources import Source, read_results
from kdbench.errors import UsageError
from kdbench.evaluation.metrics import METRICS
from kdbench.results.records import Record
from kdbench.results.timings import Timing
from kdbench.utils.formatting import on_one_line, plural

# A task's name becomes a file's name; one in a foreign record must not lead out of the board's folder.
_FILE_NAME = re.compile(r"\w[\w.-]{0,99}")


def select(
    records: list[Record], *, budget: str, model: str | None = None, keys: Collection[str] | None = None
) -> tuple[list[Record], list[str]]:
    """Return the comparable records, ordered by task, row and seed, and lines that report those left out.

    Comparable are records of one budget, one base model, one data set per task, and one record per cell.
    Where records disagree about a task's data, metric or budget settings, those that agree with the newest are
    retained. `load_cells` says what `model` and `keys` are.
    """
    selected = None if keys is None else set(keys)
    kept = [
        record
        for record in records
        if record.budget.name == budget
        and (selected is None or record.key in selected)
        and (model is None or model in (record.model.name, record.model.weights_sha256))
    ]
    # Newest first: from here on, the first of two conflicting records is retained.
    kept.sort(key=lambda record: (record.finished_at, record.key), reverse=True)
    left_out: list[str] = []
    for rule in (_nameable, _of_one_model, _of_one_setting, _of_one_tuning, _newest_of_each_cell):
        kept = rule(kept, left_out)
    return sorted(kept, key=_cell), left_out


def _cell(record: Record) -> tuple[str, str, int]:
    return record.task.name, record.strategy.label, record.seed


def _nameable(records: list[Record], left_out: list[str]) -> list[Record]:
    kept = []
    spellings: dict[str, str] = {}
    """The newest name of those that would be one file where letters of either case name the same."""
    for record in records:
        name = record.task.name
        if not _FILE_NAME.fullmatch(name) or name.lower() in RESERVED_TASK_NAMES:
            left_out.append(
                f"left out {_describe(record)}: its task's name cannot be a file's name, or is that of a board's file"
            )
        elif (newest := spellings.setdefault(normalize("NFKC", name).casefold(), name)) != name:
            left_out.append(f"left out {_describe(record)}: its task's name is another spelling of {newest}")
        else:
            kept.append(record)
    return kept


def _of_one_model(records: list[Record], left_out: list[str]) -> list[Record]:
    kept, others = _agreeing_with_first(records, lambda record: record.model.weights_sha256)
    for name, weights in sorted({(record.model.name, record.model.weights_sha256) for record in others}):
        number = sum(record.model.weights_sha256 == weights for record in others)
        left_out.append(
            f"left out {plural(number, 'record')} of the base model {on_one_line(name)} ({weights[:8]}):"
            " a board shows one base model; name it with --model to see them"
        )
    return kept


def _of_one_setting(records: list[Record], left_out: list[str]) -> list[Record]:
    kept: list[Record] = []
    for task in sorted({record.task.name for record in records}):
        of_task = [record for record in records if record.task.name == task]
        agreeing, others = _agreeing_with_first(of_task, _setting)
        kept.extend(agreeing)
        if others:
            left_out.append(
                f"left out {plural(len(others), 'record')} of {on_one_line(task)}: measured with other data, another"
                " metric or other budget settings than the newest; run them again to see them"
            )
    return kept


def _setting(record: Record) -> Hashable:
    """Return what two scores must share to be compared; the numbers of seeds and timings are not part of it."""
    budget = json.dumps(record.budget.identity(), sort_keys=True)
    return record.task.fingerprint, record.task.metric, record.task.eval_split, budget


def _of_one_tuning(records: list[Record], left_out: list[str]) -> list[Record]:
    """Keep of a tuned row the seeds with its newest parameters: a longer search may have found others."""
    newest: dict[tuple[str, str], Record] = {}
    kept = []
    for record in records:
        row = record.task.name, record.strategy.label
        if record.tuning and newest.setdefault(row, record).strategy.params != record.strategy.params:
            left_out.append(
                f"left out {_describe(record)}: {newest[row].key} has parameters of a newer tuning"
            )
        else:
            kept.append(record)
    return kept


def _newest_of_each_cell(records: list[Record], left_out: list[str]) -> list[Record]:
    newest: dict[tuple[str, str, int], Record] = {}
    for record in records:
        kept = newest.setdefault(_cell(record), record)
        if kept is not record:
            left_out.append(
                f"left out {_describe(record)}: {kept.key} is newer and of the same strategy, task and seed"
            )
    return list(newest.values())


def _agreeing_with_first(
    records: list[Record], of: Callable[[Record], Hashable]
) -> tuple[list[Record], list[Record]]:
    values = [of(record) for record in records]
    kept = [record for record, value in zip(records, values, strict=True) if value == values[0]]
    return kept, [record for record, value in zip(records, values, strict=True) if value != values[0]]


def _describe(record: Record) -> str:
    task, strategy, seed = _cell(record)
    return on_one_line(f"record {record.key} ({strategy} on {task}, seed {seed})")


@dataclass(frozen=True)
class Loaded:
    """The comparable cells, and one line per file or record that was left out."""

    cells: pd.DataFrame
    unreadable: tuple[str, ...]
    left_out: tuple[str, ...]
    records: tuple[Record, ...]
    """The records of `cells`, in their order."""
    timings: tuple[Timing, ...]
    """All readable timings, of any cells."""
    metrics: Mapping[str, Metric] = field(default_factory=lambda: METRICS)
    """The registered metrics, with which stored predictions can be scored again."""


def load_cells(
    source: Path | Source,
    *,
    budget: str,
    model: str | None = None,
    keys: Collection[str] | None = None,
    metrics: Mapping[str, Metric] = METRICS,
) -> Loaded:
    """Return the cells of one budget and base model in a results folder, or in records that were read before.

    Args:
        source: the folder, or what was read.
        budget: the name of the budget whose records are used.
        model: the base model's name or the SHA-256 of its weights; by default that of the newest record.
        keys: the cells to use; by default all.
        metrics: the registered metrics; by default kdbench's own alone.

    Raises:
        UsageError: there are none; names what exists instead.
    """
    source = read_results(source) if isinstance(source, Path) else source
    records, left_out = select(list(source.records), budget=budget, model=model, keys=keys)
    if not records:
        raise UsageError(_nothing_to_show(source, budget, model, keys))
    conflicts = (source.conflicts.get(record.key) for record in records)
    return Loaded(
        cells=tidy(records, source.timings),
        unreadable=source.unreadable,
        left_out=(*left_out, *(line for line in conflicts if line is not None)),
        records=tuple(records),
        timings=source.timings,
        metrics=metrics,
    )


def _nothing_to_show(source: Source, budget: str, model: str | None, keys: Collection[str] | None) -> str:
    request = f"budget {budget!r}"
    if model is not None:
        request += f" and base model {model!r}"
    if keys is not None:
        request += " among the requested cells"
    existing = sorted({f"{record.model.name} at budget {record.budget.name!r}" for record in source.records})
    return (
        f"no record of {request} in {source.name} (existing: {on_one_line(', '.join(existing)) or 'none'});"
        f" make some with 'kdbench run --budget {budget}'"
    )

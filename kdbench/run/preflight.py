"""Summarize a plan before it runs: its cells, the tasks' data, downloads and an estimate of the time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import nn

from kdbench.api.bench import model_inputs
from kdbench.api.metric import Metric
from kdbench.api.strategy import Strategy, Transform
from kdbench.budgets import LabelCount
from kdbench.config import RunConfig
from kdbench.data import PreparedTask
from kdbench.data.preparing import without_scored
from kdbench.measure.environment import describe_environment
from kdbench.measure.latency import torch_threads
from kdbench.models.build import load_base
from kdbench.models.foreign import load_config
from kdbench.results.records import RecordStore
from kdbench.run.plan import Plan, State, outdated_remark
from kdbench.run.provenance import majority_score
from kdbench.training.experiment import Experiment
from kdbench.utils.formatting import plural
from kdbench.utils.system import default_threads

_MAX_LABELS_SHOWN = 6
_LARGE_SHARE = 0.05
"""Share of truncated texts or unknown tokens above which the data does not fit the model or the budget."""


def preflight(plan: Plan) -> dict[str, list[str]]:
    """Return by task a summary of its data, line by line: splits, lengths, labels and warnings.

    It is empty if data or base model are not on this machine yet.
    """
    experiments = plan.experiments or {}
    prepared = {name: experiment.task for name, experiment in experiments.items()}
    return {
        name: [*_task_lines(task, experiments[name].metrics), *_overlap_lines(task, plan, prepared)]
        for name, task in prepared.items()
    }


def _task_lines(prepared: PreparedTask, metrics: Mapping[str, Metric]) -> list[str]:
    lengths = np.asarray(prepared.train["length"][:])
    p50, p95 = np.percentile(lengths, [50, 95])
    return [
        f"{prepared.train_examples:,} train / {prepared.validation_examples:,} validation (of "
        f"{prepared.validation_split}) / {prepared.scored_examples:,} scored ({prepared.task.eval_split}) "
        f"examples from {prepared.source}",
        f"tokens per text: median {p50:.0f}, 95th percentile {p95:.0f}; {prepared.too_long_share:.1%} of texts "
        f"{_treatment(prepared)}; {prepared.unknown_share:.1%} of tokens unknown to the tokenizer",
        *_labels(prepared, metrics),
        *_warnings(prepared),
    ]


_TRUNCATED = "truncated"


def _treatment(prepared: PreparedTask) -> str:
    """Return what happens to texts that are too long."""
    if prepared.task.kind.per_word or len(set(prepared.scored["example"][:])) < len(prepared.scored):
        return "split into several rows"
    return _TRUNCATED


def _labels(prepared: PreparedTask, metrics: Mapping[str, Metric]) -> Iterator[str]:
    total = sum(prepared.label_counts.values())
    if not total:
        return
    ranked = sorted(prepared.label_counts.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{label} {count / total:.1%}" for label, count in ranked[:_MAX_LABELS_SHOWN])
    more = f" and {len(ranked) - _MAX_LABELS_SHOWN} more" if len(ranked) > _MAX_LABELS_SHOWN else ""
    majority = majority_score(prepared, metrics)
    baseline = (
        "" if majority is None else f"; always {ranked[0][0]}: {prepared.task.metric} {100 * majority:.1f}"
    )
    yield f"labels: {shown}{more}{baseline}"


def _warnings(prepared: PreparedTask) -> Iterator[str]:
    yield from (f"! {remark}" for remark in prepared.remarks)
    if prepared.too_long_share > _LARGE_SHARE and _treatment(prepared) == _TRUNCATED:
        windows = "" if prepared.paired else ", or with window_stride, which reads long texts in windows,"
        yield f"! {prepared.too_long_share:.0%} of the texts are truncated; a budget with a larger max_length{windows} avoids that"
    if prepared.unknown_share > _LARGE_SHARE:
        yield f"! {prepared.unknown_share:.0%} of the tokens are unknown; does the model know the data's language?"
    if prepared.duplicates:
        yield f"! {prepared.duplicates:,} scored examples are also in train"
    if prepared.near_duplicates:
        yield f"! {plural(prepared.near_duplicates, 'scored example')} nearly in train: most runs of three words are the same"
    absent = [label for label, count in prepared.label_counts.items() if not count]
    if absent:
        yield f"! no training example has the label {', '.join(absent)}"


def _overlap_lines(
    prepared: PreparedTask, plan: Plan, all_prepared: Mapping[str, PreparedTask]
) -> Iterator[str]:
    """Yield what a joint strategy leaves out of the task's training examples, since its other tasks score them."""
    partners = {
        task.name
        for cell in plan.cells
        if cell.task.name == prepared.task.name and cell.state is not State.NOT_APPLICABLE
        for task in cell.partners
    }
    _, messages = without_scored(prepared, [task for name, task in all_prepared.items() if name in partners])
    yield from (f"! a joint strategy is {message}" for message in messages)


_STARTUP_SECONDS = 5.0
"""Starting, loading and saving of a cell's two processes."""
_TRIAL_SECONDS = 2.0
_MIN_STEPS = 50
"""Records with fewer steps are ignored: their time is mostly startup."""


@dataclass(frozen=True)
class Estimate:
    """The estimated time of the pending cells."""

    seconds: float
    basis: str
    """What the estimate is based on."""


def estimate(plan: Plan, config: RunConfig) -> Estimate | None:
    """Return the estimated time of the pending cells of `plan`, or None if data or model are not on this machine yet.

    The tokens that each cell trains on and scores, divided by the training throughput on this machine: that of the same
    strategy's records in the results folder, or else of all records, or else of some trial steps of the base model
    with a cell's threads. Scoring a token in float32 takes about as long as training on it in bfloat16.
    """
    if plan.experiments is None:
        return None
    known = _recorded_rates(config)
    pending = [cell for cell in plan.cells if cell.state is State.PENDING]
    if not pending:
        return Estimate(0.0, "nothing is pending")
    basis = f"records in {config.results}"
    if known:
        fallback = statistics.median(known.values())
    else:
        threads = config.threads or default_threads(config.worker_count)
        fallback = _trial_rate(next(iter(plan.experiments.values())), threads)
        basis = "trial steps of the base model on this machine; smaller students are faster"
    seconds = sum(
        _STARTUP_SECONDS
        + _tokens(plan.experiments[cell.task.name], cell.row.strategy)
        / known.get(cell.row.strategy.name, fallback)
        for cell in pending
    )
    return Estimate(seconds / config.worker_count, basis)


def _recorded_rates(config: RunConfig) -> dict[str, float]:
    """Return training throughput on this hardware in tokens per second, by strategy."""
    rates: dict[str, list[float]] = {}
    for record in RecordStore(config.results).load()[0]:
        if (
            record.cost
            and record.cost.train_s
            and record.cost.steps >= _MIN_STEPS
            and record.environment.hardware == describe_environment().hardware
        ):
            rates.setdefault(record.strategy.name, []).append(record.cost.tokens / record.cost.train_s)
    return {name: statistics.median(values) for name, values in rates.items()}


def _tokens(experiment: Experiment, strategy: Strategy) -> float:
    budget, kind, task = experiment.budget, experiment.kind, experiment.task
    factor = budget.teacher_factor * _relative_size(experiment) if strategy.is_teacher_row else 1
    if isinstance(strategy, Transform):
        factor = getattr(strategy.params, "recovery", 0)  # share of the steps trained after pruning
    examples = (
        factor * budget.steps_for(kind, task.train_examples) * budget.batch_size_for(kind)
        + budget.evaluations * task.validation_examples
        + task.scored_examples
        + len(task.noisy)
    )
    return examples * float(np.mean(task.train["length"][:]))


def _relative_size(experiment: Experiment) -> float:
    """Return about how many times the operations of the base model the teacher needs: its layers times their width squared."""
    if experiment.external_teacher is None:
        return 1.0
    teacher, base = (load_config(each.base.path) for each in (experiment.of_teacher, experiment))
    sizes = [float(config.num_hidden_layers * config.hidden_size**2) for config in (teacher, base)]
    return sizes[0] / sizes[1]


def _trial_rate(experiment: Experiment, threads: int) -> float:
    """Return the throughput of training the base model in tokens per second, measured in a few steps."""
    task = experiment.task
    model: nn.Module = load_base(experiment.base.path, experiment.kind, task.task.labels, seed=0)
    model.to(experiment.device).train()
    batch_size = min(experiment.budget.batch_size_for(experiment.kind), len(task.train))
    batch = experiment.collate([task.train[i] for i in range(batch_size)])
    batch = {name: value.to(experiment.device) for name, value in batch.items()}

    def step() -> int:
        with experiment.precision:
            logits = model(**model_inputs(batch)).logits
            loss = experiment.kind.label_loss(logits, batch["labels"])
        loss.backward()  # type: ignore[no-untyped-call]
        model.zero_grad()
        return int(batch["attention_mask"].sum())

    with torch_threads(threads):
        step()  # warm-up
        tokens, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < _TRIAL_SECONDS:
            tokens += step()
    return tokens / elapsed


def totals(plan: Plan, config: RunConfig) -> dict[str, Any]:
    """Return the number of cells of `plan`, how many are pending, and the time they would take, as JSON data."""
    guess = estimate(plan, config)
    return {
        "cells": len(plan.cells),
        "pending": plan.count(State.PENDING),
        "estimated_s": None if guess is None else round(guess.seconds),
    }


def plan_data(plan: Plan, config: RunConfig) -> dict[str, Any]:
    """Return `plan` as JSON data."""
    guess = estimate(plan, config)
    return {
        "cells": [
            {
                "task": cell.task.name,
                "strategy": str(cell.row.spec),
                "seed": cell.seed,
                "state": str(cell.state),
                "reason": cell.reason,
                "added_for": cell.row.added_for,
                "key": cell.key,
            }
            for cell in plan.cells
        ],
        "tasks": preflight(plan),
        "downloads": [{"name": download.name, "bytes": download.bytes} for download in plan.downloads],
        "estimated_s": None if guess is None else round(guess.seconds),
        "estimated_from": None if guess is None else guess.basis,
    }


def print_plan(plan: Plan, config: RunConfig, console: Console) -> None:
    """Print `plan`: one row per cell, then the tasks' data, the downloads and the estimated time."""
    table = Table(box=None, pad_edge=False)
    for heading in ("task", "strategy", "seed", "state", ""):
        table.add_column(heading, overflow="fold")
    for cell in plan.cells:
        remark = cell.reason or (f"added: {cell.row.added_for}" if cell.row.added_for else "")
        table.add_row(
            *(Text(str(part)) for part in (cell.task.name, cell.row.spec, cell.seed, cell.state, remark))
        )
    console.print(table)
    console.print(f"\n{_states(plan)}", soft_wrap=True)
    if outdated := outdated_remark(plan):
        console.print(f"! {outdated}", soft_wrap=True)
    for name, lines in preflight(plan).items():
        console.print(f"\n{name}", soft_wrap=True)
        for line in lines:
            console.print(f"  {line}", soft_wrap=True)
    console.print()
    for download in plan.downloads:
        size = "" if download.bytes is None else f" ({download.bytes / 1e6:.1f} MB)"
        console.print(f"to be fetched: {download.name}{size}", soft_wrap=True)
    console.print(_time_line(estimate(plan, config)), soft_wrap=True)


def _states(plan: Plan) -> str:
    counts = [f"{plan.count(state)} {state}" for state in State if plan.count(state)]
    return f"{plural(len(plan.cells), 'cell')}: {', '.join(counts)}"


def print_at_most(grid: Plan, config: RunConfig, console: Console) -> None:
    """Print what a run until decided would take at most: the full `grid`."""
    console.print(
        f"\nThe above is the first round. With further ones, at most {config.most_seeds} seeds of every row: {_states(grid)}",
        soft_wrap=True,
    )
    console.print(_time_line(estimate(grid, config)), soft_wrap=True)


def print_counts(plans: Mapping[LabelCount, Plan], console: Console) -> None:
    """Print how many cells each label count has, and all together."""
    console.print()
    for count, plan in plans.items():
        console.print(f"label count {count}: {_states(plan)}", soft_wrap=True)
    total = sum(len(plan.cells) for plan in plans.values())
    console.print(f"{plural(len(plans), 'label count')}, {plural(total, 'cell')}", soft_wrap=True)


def _time_line(guess: Estimate | None) -> str:
    if guess is None:
        return "time: unknown until the data and the model are on this machine"
    minutes = guess.seconds / 60
    duration = f"{guess.seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min"
    return f"time: about {duration} (from {guess.basis})"

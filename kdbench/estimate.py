"""How long a run would take, from measured throughput."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from kdbench.api.strategy import Strategy, Transform
from kdbench.api.task import TaskKind
from kdbench.config import RunConfig
from kdbench.measure.environment import describe_environment
from kdbench.models.build import load_base
from kdbench.plan import Plan, State
from kdbench.results.records import RecordStore
from kdbench.training.experiment import Experiment
from kdbench.workers import default_threads

_SECONDS_OF_STARTING = 5.0
"""Of a cell's two processes: starting, loading, saving."""
_PROBE_SECONDS = 2.0
_LEAST_STEPS = 50
"""How many steps a record must have: the time of fewer is that of starting."""


@dataclass(frozen=True)
class Estimate:
    """About how long the pending cells take."""

    seconds: float
    basis: str
    """What was measured."""


def estimate(plan: Plan, config: RunConfig) -> Estimate | None:
    """Return how long the pending cells of `plan` would take, or None where data or model are not here yet.

    The tokens that each cell will train on and score, by the tokens a second that training reached here: by the
    same strategy's records in the results folder where there are any, else by all of them, else in some trial
    steps of the base model with a cell's threads. Scoring a token in float32 takes about as long as training on it in
    bfloat16.
    """
    if plan.experiments is None:
        return None
    known = _recorded_rates(config)
    pending = [planned.cell for planned in plan.cells if planned.state is State.PENDING]
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
        _SECONDS_OF_STARTING
        + _tokens(plan.experiments[cell.task.name], cell.row.strategy)
        / known.get(cell.row.strategy.name, fallback)
        for cell in pending
    )
    return Estimate(seconds / config.worker_count, basis)


def _recorded_rates(config: RunConfig) -> dict[str, float]:
    """Return tokens a second by strategy, as trained on this hardware."""
    rates: dict[str, list[float]] = {}
    for record in RecordStore(config.results).load()[0]:
        if (
            record.cost
            and record.cost.train_s
            and record.cost.steps >= _LEAST_STEPS
            and record.environment.hardware == describe_environment().hardware
        ):
            rates.setdefault(record.strategy.name, []).append(record.cost.tokens / record.cost.train_s)
    return {name: statistics.median(found) for name, found in rates.items()}


def _tokens(experiment: Experiment, strategy: Strategy) -> float:
    budget, kind, task = experiment.budget, experiment.kind, experiment.task
    factor = budget.teacher_factor if strategy.is_reference else 1
    if isinstance(strategy, Transform):
        factor = getattr(
            strategy.params, "recovery", 0
        )  # of what it cuts some of the steps are trained again
    examples = (
        factor * budget.steps_for(kind, task.train_examples) * budget.batch_size[kind]
        + budget.evaluations * task.validation_examples
        + task.scored_examples
        + len(task.noisy)
    )
    return examples * float(np.mean(task.train["length"][:]))


def _trial_rate(experiment: Experiment, threads: int) -> float:
    """Return the tokens a second that training the base model reaches with so many threads, in a few steps."""
    task = experiment.task
    model: nn.Module = load_base(experiment.base.path, experiment.kind, task.task.labels, seed=0)
    model.to(experiment.device).train()
    batch_size = min(experiment.budget.batch_size[experiment.kind], len(task.train))
    batch = experiment.collate([task.train[i] for i in range(batch_size)])
    batch.pop("id")
    if experiment.kind is TaskKind.SEQUENCE_REGRESSION:
        batch["labels"] = batch["labels"].float()
    inputs = {name: value.to(experiment.device) for name, value in batch.items()}

    def step() -> int:
        with experiment.precision:
            loss = model(**inputs).loss
        loss.backward()
        model.zero_grad()
        return int(batch["attention_mask"].sum())

    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    step()  # the first pays for setting up
    tokens, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < _PROBE_SECONDS:
        tokens += step()
    torch.set_num_threads(threads_before)
    return tokens / elapsed

"""Run a trial in a process of its own: train with the given parameters, and score on the tuning part of the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from itertools import chain
from statistics import fmean
from typing import Any

from pydantic import BaseModel
from torch import nn
from transformers import set_seed

from kdbench.api.spec import StrategySpec
from kdbench.api.strategy import JointStrategy, Strategy, Transform
from kdbench.config import RunConfig
from kdbench.data.splitting import choose_for_tuning
from kdbench.evaluation.thresholds import f1_thresholds
from kdbench.models.base import BaseModel as PretrainedModel
from kdbench.models.base import resolve_base_model
from kdbench.plugins import load_registry
from kdbench.registry import Registry
from kdbench.results.tuning import FOLDER, StudyStore, Trial
from kdbench.training.bench import TrainingBench
from kdbench.training.experiment import Experiment, make_experiment
from kdbench.training.multi_task import joint_benches
from kdbench.training.predict import predict
from kdbench.utils.system import Clock, Report, axis_seed


class TrialOrder(BaseModel):
    """The arguments of a trial's process."""

    config: RunConfig
    study: str
    number: int
    strategy: StrategySpec
    """With the parameters that the user set."""
    params: dict[str, Any] = {}
    """What the trial tries."""
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]


def tuning_experiment(config: RunConfig, registry: Registry, task: str, base: PretrainedModel) -> Experiment:
    """Return the experiment of trials on `task`: its ``scored`` rows are the tuning part, not those that boards score.

    Its teacher is its own, since that may have trained on other examples than the boards'.
    """
    experiment = make_experiment(config, registry, task, base, choose_for_tuning)
    return replace(experiment, results=config.results / FOLDER)


def train_teacher(argument: str, report: Report) -> None:
    """Train the teacher of the order's only task and seed, unless an earlier search did."""
    order = TrialOrder.model_validate_json(argument)
    registry, experiments = _opened(order)
    strategy = registry.strategy(order.strategy)
    for experiment in experiments.values():
        assert TrainingBench(experiment, strategy, order.seeds[0], report).teacher is not None


def run_trial(argument: str, report: Report) -> None:
    """Train the order's strategy once with each seed, score it, and write the trial."""
    order = TrialOrder.model_validate_json(argument)
    report("loading", 0, 1, None)
    registry, experiments = _opened(order)
    spec = order.strategy.model_copy(update={"params": {**order.strategy.params, **order.params}})
    clock = Clock()
    by_seed = []
    for count, seed in enumerate(order.seeds, start=1):
        prefix = f"seed {count} of {len(order.seeds)}, " if len(order.seeds) > 1 else ""
        strategy = registry.strategy(spec)
        by_seed.append(_scores(strategy, experiments, seed, _prefixed(report, prefix)))
    scores = {task: tuple(scores[task] for scores in by_seed) for task in order.tasks}
    taken = clock.read()
    on_cpu = all(experiment.device.type == "cpu" for experiment in experiments.values())
    StudyStore(order.config.results).put(
        Trial(
            study=order.study,
            number=order.number,
            params=order.params,
            score=fmean(chain.from_iterable(scores.values())),
            scores=scores,
            seconds=taken.wall,
            cpu_seconds=taken.cpu if on_cpu else None,
            finished_at=datetime.now(timezone.utc),
        )
    )


def _opened(order: TrialOrder) -> tuple[Registry, Mapping[str, Experiment]]:
    registry = load_registry(order.config)
    base = resolve_base_model(order.config.model, order.config.cache_dir)
    return registry, {task: tuning_experiment(order.config, registry, task, base) for task in order.tasks}


def _prefixed(report: Report, prefix: str) -> Report:
    return lambda phase, done, total, loss: report(f"{prefix}{phase}", done, total, loss)


def _scores(
    strategy: Strategy, experiments: Mapping[str, Experiment], seed: int, report: Report
) -> Mapping[str, float]:
    """Train `strategy`, and return the headline score of the deployed model on each task's tuning part."""
    models: Mapping[str, nn.Module]
    if isinstance(strategy, JointStrategy):
        benches, _ = joint_benches(experiments, strategy, seed, report)
        set_seed(axis_seed(seed, "strategy"))
        models = strategy.fit_jointly(benches)
    else:
        benches = {
            task: _bench(strategy, experiment, seed, report) for task, experiment in experiments.items()
        }
        set_seed(axis_seed(seed, "strategy"))
        models = {task: strategy.fit(bench) for task, bench in benches.items()}
    return {task: _score(strategy, models[task], bench, report) for task, bench in benches.items()}


def _bench(strategy: Strategy, experiment: Experiment, seed: int, report: Report) -> TrainingBench:
    bench = TrainingBench(experiment, strategy, seed, report)
    if not isinstance(strategy, Transform):
        return bench
    # It changes the fine-tuned teacher.
    own = experiment.of_teacher if experiment.teacher_has_own_ids else experiment
    return TrainingBench(own, strategy, seed, report, fitted=bench.teacher.requires_grad_(True))


def _score(strategy: Strategy, model: Any, bench: TrainingBench, report: Report) -> float:
    deployed = strategy.finalize(model, bench)
    experiment = bench.experiment  # with the strategy's own tokenizer, if it has one
    answers = partial(
        predict,
        deployed.to(experiment.device),
        collate=experiment.collate,
        device=experiment.device,
        precision=experiment.precision,
    )
    thresholds = None
    if experiment.kind.decides_by_thresholds:
        thresholds = f1_thresholds(answers(experiment.task.validation))
    predictions = answers(
        experiment.task.scored,
        report=lambda done, total: report("scoring", done, total, None),
        thresholds=thresholds,
    )
    return experiment.metric.of(predictions, experiment.task.task.labels)

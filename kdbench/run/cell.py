"""One cell in two stages: train and save a model; in a fresh process reload it, score it, write the record."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

import datasets
import numpy as np
from filelock import FileLock
from pydantic import BaseModel
from torch import nn
from transformers import set_seed

from kdbench.api.metric import get_metric
from kdbench.api.spec import StrategySpec
from kdbench.api.strategy import JointStrategy, Strategy, spec_of
from kdbench.config import RunConfig
from kdbench.data.preparing import overlaps
from kdbench.errors import KdbenchError, shown
from kdbench.evaluation.diagnostics import select_examples
from kdbench.evaluation.predictions import Predictions
from kdbench.measure.environment import describe_environment, peak_memory_bytes
from kdbench.measure.footprint import load_measured
from kdbench.models.artifacts import Adapter, load_artifact, save_artifact
from kdbench.models.cost import count_non_embedding, count_parameters, count_trainable, trainable_bytes
from kdbench.results.paths import CellFiles, Fit, read_fit
from kdbench.results.records import Cost, Quality, Record, RecordStore, Size, Status, TaskInfo
from kdbench.run.plan import cell_key
from kdbench.run.provenance import model_info, strategy_info, task_info
from kdbench.stats import bootstrap_interval
from kdbench.training.bench import TrainingBench
from kdbench.training.experiment import (
    Experiment,
    Opened,
    make_experiment,
    open_experiment,
    with_own_tokenizer,
)
from kdbench.training.predict import predict
from kdbench.utils.files import folder_atomically, folder_bytes
from kdbench.utils.system import Report, axis_seed

PROBE_EXAMPLES = 64
"""How many scored examples are answered before saving, to be held against the reloaded model's answers."""
_LARGEST_LOGIT_DRIFT = 1e-4
_LARGEST_SCORE_DRIFT = 1e-6


class CellOrder(BaseModel):
    """What a cell's process must know."""

    config: RunConfig
    spec: StrategySpec
    task: str
    seed: int
    key: str
    partners: tuple[str, ...] = ()
    """Of a joint strategy the tasks that it trains on together."""


def train_cell(argument: str, report: Report) -> None:
    """Fit, finalize and save one cell's model, unless an earlier run did."""
    order = CellOrder.model_validate_json(argument)
    files = CellFiles(order.config.results, order.key)
    if files.is_trained():
        return
    report("loading", 0, 1, None)
    opened = open_experiment(order.config, order.task)
    strategy = opened.registry.strategy(order.spec)
    if isinstance(strategy, JointStrategy):
        _train_jointly(strategy, order, opened, report)
    else:
        _train_alone(strategy, order, opened.experiment, files, report)


def score_cell(argument: str, report: Report) -> None:
    """Reload one cell's model, hold it against the model that was saved, score it and write its record."""
    order = CellOrder.model_validate_json(argument)
    files = CellFiles(order.config.results, order.key)
    opened = open_experiment(order.config, order.task)
    fit = read_fit(files)
    experiment = with_own_tokenizer(opened.experiment, files)
    model, compute = load_measured(files.artifact, experiment)
    _compare(
        Predictions.load(files.probe), _answer(model, experiment, _probe(experiment), report), experiment
    )
    answers = _answer(model, experiment, experiment.task.scored, report)
    answers.save(files.predictions)
    noisy = _answer(model, experiment, experiment.task.noisy, report)
    noisy.save(files.noisy_predictions)
    quality, info = _quality(answers, noisy, experiment), task_info(experiment.task, experiment.metrics)
    RecordStore(order.config.results).put(
        Record(
            key=order.key,
            status=Status.OK,
            is_teacher=fit.is_teacher,
            strategy=strategy_info(opened.registry, order.spec),
            task=info,
            model=model_info(experiment),
            budget=experiment.budget,
            seed=order.seed,
            quality=quality,
            size=fit.size,
            compute=compute,
            cost=fit.cost,
            curves=fit.curves,
            warnings=(*fit.warnings, *score_warnings(answers, quality.score, info)),
            environment=describe_environment(),
            finished_at=datetime.now(timezone.utc),
        )
    )


def _train_alone(
    strategy: Strategy, order: CellOrder, experiment: Experiment, files: CellFiles, report: Report
) -> None:
    """Train one cell, after the stages before it; these are cells of their own, and found there if they were run."""
    fitted, before = None, None
    if strategy.after is not None:
        files_before = CellFiles(order.config.results, cell_key(strategy.after, experiment, order.seed))
        _train_alone(strategy.after, order, experiment, files_before, report)
        before = read_fit(files_before)
        experiment = with_own_tokenizer(experiment, files_before)
    with _training(files) as needed:
        if not needed:
            return
        started = time.perf_counter()
        if strategy.after is not None:
            fitted = load_artifact(files_before.artifact)
        bench = TrainingBench(experiment, strategy, order.seed, report, fitted)
        bench.own_tokenizer = before is not None and before.own_tokenizer
        bench.row = str(spec_of(strategy))
        set_seed(axis_seed(order.seed, "strategy"))
        model = _checked(strategy.fit(bench), f"{strategy.name}'s fit")
        _save(model, bench, strategy, files, time.perf_counter() - started, before, report)


def _train_jointly(strategy: JointStrategy, order: CellOrder, opened: Opened, report: Report) -> None:
    """Train the cells of one joint strategy and seed on every task: whichever comes first trains for all."""
    experiments = {
        task: make_experiment(order.config, opened.registry, task, opened.experiment.base)
        for task in order.partners
    }
    files = {
        task: CellFiles(
            order.config.results,
            cell_key(strategy, experiment, order.seed, list(experiments.values())),
        )
        for task, experiment in experiments.items()
    }
    first = CellFiles(order.config.results, min(found.key for found in files.values()))
    with FileLock(f"{first.folder}.joint.lock"), _training(files[order.task]) as needed:
        if not needed:
            return
        started = time.perf_counter()
        benches = {
            task: TrainingBench(experiment, strategy, order.seed, report)
            for task, experiment in experiments.items()
        }
        for bench in benches.values():
            bench.row = str(spec_of(strategy))
        set_seed(axis_seed(order.seed, "strategy"))
        models = strategy.fit_jointly(benches)
        seconds = time.perf_counter() - started
        steps = {task: sum(run.steps for run in bench.runs) for task, bench in benches.items()}
        for task, bench in benches.items():
            model = _checked(models.get(task), f"{strategy.name}'s model for {task}")
            share = steps[task] / max(1, sum(steps.values()))
            partners = [experiment.task for experiment in experiments.values()]
            warnings = tuple(overlaps(bench.task, partners))
            _save(model, bench, strategy, files[task], share * seconds, None, report, warnings)


@contextmanager
def _training(files: CellFiles) -> Iterator[bool]:
    """Hold the cell against other processes, and tell whether it is still to be trained."""
    files.folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{files.folder}.lock"):
        yield not files.is_trained()


def _save(
    fitted: nn.Module,
    bench: TrainingBench,
    strategy: Strategy,
    files: CellFiles,
    fit_s: float,
    before: Fit | None,
    report: Report,
    warnings: tuple[str, ...] = (),
) -> None:
    """Finalize a model that took `fit_s` seconds to fit, and leave artifact, probe and notes.

    Args:
        before: the notes of a stack's earlier stages.
        warnings: what makes its scores no evidence.
    """
    started = time.perf_counter()
    # What trains nothing itself has trained what the stages before it have.
    untrained = before is not None and not bench.runs
    trainable = before.size.trainable_parameters if before and untrained else count_trainable(fitted)
    task_bytes = trainable_bytes(fitted) if strategy.freezes_base else bench.task_bytes
    adapter = Adapter.of(fitted)  # before finalize merges it
    model = _checked(strategy.finalize(fitted, bench), f"{strategy.name}'s finalize")
    experiment = bench.experiment
    with folder_atomically(files.folder) as partial:
        artifact = partial / files.artifact.name
        save_artifact(model, experiment.tokenizer, artifact)
        if adapter is not None:
            adapter.save(partial / files.adapter.name)
        artifact_bytes = folder_bytes(artifact)
        seconds = fit_s + time.perf_counter() - started
        _answer(model, experiment, _probe(experiment), report).save(partial / files.probe.name)
        fit = Fit(
            cost=_cost(bench, seconds, before.cost if before else None),
            size=Size(
                total_parameters=count_parameters(model),
                trainable_parameters=trainable,
                non_embedding_parameters=count_non_embedding(model),
                artifact_bytes=artifact_bytes,
                task_bytes=artifact_bytes if task_bytes is None else task_bytes,
            ),
            curves=(
                *(before.curves if before else ()),
                *(run.curve for run in bench.runs if run.curve is not None),
            ),
            is_teacher=bench.is_teacher,
            own_tokenizer=bench.own_tokenizer,
            warnings=warnings,
        )
        (partial / files.fit.name).write_text(fit.model_dump_json(indent=1) + "\n")


def _checked(model: object, made_by: str) -> nn.Module:
    """Return `model`, unless a plugin's author forgot to return one."""
    if not isinstance(model, nn.Module):
        raise KdbenchError(f"{made_by} returned {shown(model)}, which is no torch module")
    return model


def _probe(experiment: Experiment) -> datasets.Dataset:
    """Return the rows of some scored examples, from the shortest to the longest."""
    rows = experiment.task.scored
    by_length = np.argsort(np.asarray(rows["length"]), kind="stable")
    picked = by_length[np.unique(np.linspace(0, len(by_length) - 1, PROBE_EXAMPLES).astype(int))]
    examples = np.asarray(rows["example"])
    return rows.select(np.flatnonzero(np.isin(examples, examples[picked])))


def _answer(model: nn.Module, experiment: Experiment, rows: datasets.Dataset, report: Report) -> Predictions:
    return predict(
        model.to(experiment.device),
        rows,
        experiment.collate,
        device=experiment.device,
        report=lambda done, total: report("scoring", done, total, None),
    )


def _compare(saved: Predictions, reloaded: Predictions, experiment: Experiment) -> None:
    """Refuse a model that answers otherwise after it was saved and loaded: it is not what was trained."""
    task = experiment.task.task
    metric = experiment.metric
    logits = float(np.abs(saved.logits - reloaded.logits).max())
    before, after = metric.of(saved, task.labels), metric.of(reloaded, task.labels)
    if logits > _LARGEST_LOGIT_DRIFT or abs(before - after) > _LARGEST_SCORE_DRIFT:
        raise KdbenchError(
            f"the saved model is not the trained one: after reloading, {task.metric} on {len(saved)} examples is "
            f"{after:.6f} instead of {before:.6f} and logits differ by up to {logits:.1e}"
        )


def _quality(answers: Predictions, noisy: Predictions, experiment: Experiment) -> Quality:
    """Return the scores of `answers`, and of the `noisy` ones, which may be of fewer examples."""
    task = experiment.task.task
    headline = experiment.metric
    statistics = headline.statistics(answers, task.labels)
    low, high = bootstrap_interval(statistics[None], headline.score)
    metrics = {
        name: get_metric(name, experiment.metrics).of(answers, task.labels)
        for name in (task.metric, *task.metrics)
    }
    noisy_score = headline.of(noisy, task.labels)
    return Quality(
        score=metrics[task.metric],
        low=low,
        high=high,
        metrics=metrics,
        noisy_score=noisy_score,
        noisy_drop=headline.of(select_examples(answers, noisy.ids), task.labels) - noisy_score,
    )


def score_warnings(answers: Predictions, score: float, info: TaskInfo) -> tuple[str, ...]:
    """Return what makes the score worthless, loud enough for the board."""
    if len(answers.predicted) and (answers.predicted == answers.predicted[0]).all():
        label = repr(info.labels[int(answers.predicted[0])]) if answers.is_classification else "the same"
        return (f"answers {label} to every example",)
    if info.majority_score is not None and score <= info.majority_score:
        return (f"does not beat always answering the most frequent label ({100 * info.majority_score:.1f})",)
    return ()


def _cost(bench: TrainingBench, seconds: float, before: Cost | None) -> Cost | None:
    """Return what the cell took, the stages before it included."""
    if not bench.runs and before is None:
        return None
    flops = [run.train_flops for run in bench.runs] + ([before.train_flops] if before else [])
    counted = [one for one in flops if one is not None]
    return Cost(
        train_s=sum(run.train_s for run in bench.runs) + (before.train_s if before else 0),
        total_s=seconds + (before.total_s if before else 0),
        teacher_s=max(bench.teacher_s, before.teacher_s if before else 0),
        steps=sum(run.steps for run in bench.runs) + (before.steps if before else 0),
        examples=sum(run.examples for run in bench.runs) + (before.examples if before else 0),
        tokens=sum(run.tokens for run in bench.runs) + (before.tokens if before else 0),
        train_flops=sum(counted) if len(counted) == len(flops) else None,
        unlabelled_examples=bench.unlabelled_examples + (before.unlabelled_examples if before else 0),
        peak_memory_bytes=peak_memory_bytes(),
    )

"""Run a cell in two stages: train and save the model; in a fresh process reload it, score it and write the record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone

import datasets
import numpy as np
from pydantic import BaseModel
from torch import nn
from transformers import set_seed

from kdbench.api.predictions import Predictions
from kdbench.api.spec import StrategySpec
from kdbench.api.strategy import JointStrategy, Strategy, spec_of
from kdbench.config import RunConfig
from kdbench.data import PreparedTask
from kdbench.data.encoding import example_numbers, rows_of
from kdbench.errors import KdbenchError, shown
from kdbench.evaluation.diagnostics import select_examples
from kdbench.evaluation.thresholds import f1_thresholds
from kdbench.measure.environment import describe_environment, peak_memory_bytes
from kdbench.measure.footprint import load_measured
from kdbench.models.artifacts import Adapter, load_artifact, save_artifact
from kdbench.models.cost import count_non_embedding, count_parameters, count_trainable, trainable_bytes
from kdbench.results.fields import CellKey
from kdbench.results.paths import CellFiles, Fit, read_fit
from kdbench.results.quality import quality_of
from kdbench.results.records import Cost, Quality, Record, RecordStore, Size, Status, TaskInfo
from kdbench.results.tuning import Tuning
from kdbench.run.keys import cell_key
from kdbench.run.provenance import model_info, strategy_info, task_info
from kdbench.training.bench import TrainingBench
from kdbench.training.experiment import (
    Experiment,
    OpenedExperiment,
    make_experiment,
    open_experiment,
    with_own_tokenizer,
)
from kdbench.training.multi_task import joint_benches
from kdbench.training.predict import predict
from kdbench.utils.files import folder_bytes
from kdbench.utils.locks import locked
from kdbench.utils.sealed import discard_damaged, sealed_folder
from kdbench.utils.system import Clock, Report, Seconds, axis_seed

PROBE_EXAMPLES = 64
"""Number of scored examples predicted before saving, to compare with the reloaded model's predictions."""
_LARGEST_LOGIT_DRIFT = 1e-4
_LARGEST_SCORE_DRIFT = 1e-6


class CellOrder(BaseModel):
    """The arguments of a cell's processes."""

    config: RunConfig
    spec: StrategySpec
    task: str
    seed: int
    key: CellKey
    partners: tuple[str, ...] = ()
    """For a joint strategy, the tasks that it trains on together."""
    tuning: tuple[Tuning, ...] = ()
    """For a tuned row, how its parameters were found."""


def train_cell(argument: str, report: Report) -> None:
    """Fit, finalize and save one cell's model, unless an earlier run did."""
    order = CellOrder.model_validate_json(argument)
    files = CellFiles(order.config.results, order.key)
    if files.is_trained() and not files.damage():
        return
    report("loading", 0, 1, None)
    opened = open_experiment(order.config, order.task)
    strategy = opened.registry.strategy(order.spec)
    if isinstance(strategy, JointStrategy):
        _train_jointly(strategy, order, opened, report)
    else:
        _train_alone(strategy, order, opened.experiment, files, report)


def score_cell(argument: str, report: Report) -> None:
    """Reload one cell's model, check that saving did not change it, score it and write its record."""
    order = CellOrder.model_validate_json(argument)
    files = CellFiles(order.config.results, order.key)
    opened = open_experiment(order.config, order.task)
    fit = read_fit(files)
    experiment = with_own_tokenizer(opened.experiment, files)
    measured = load_measured(files.artifact, experiment)
    model = measured.model

    def answers(rows: datasets.Dataset) -> Predictions:
        return _predict(model, experiment, rows, report, fit.thresholds)

    _check_unchanged(Predictions.load(files.probe), answers(_probe(experiment)), experiment)
    predictions = with_groups(answers(experiment.task.scored), experiment.task)
    predictions.save(files.predictions)
    noisy = answers(experiment.task.noisy)
    noisy.save(files.noisy_predictions)
    quality, info = _quality(predictions, noisy, experiment), task_info(experiment.task, experiment.metrics)
    RecordStore(order.config.results).put(
        Record(
            key=order.key,
            status=Status.OK,
            is_teacher=fit.is_teacher and not order.tuning,
            strategy=strategy_info(opened.registry, order.spec),
            task=info,
            model=model_info(experiment),
            budget=experiment.budget,
            seed=order.seed,
            quality=quality,
            size=fit.size,
            compute=measured.compute,
            cost=fit.cost,
            curves=fit.curves,
            tuning=order.tuning,
            warnings=(
                *fit.warnings,
                *score_warnings(predictions, quality.score, info),
                *measured.remarks,
            ),
            environment=describe_environment(),
            finished_at=datetime.now(timezone.utc),
        )
    )


def _train_alone(
    strategy: Strategy, order: CellOrder, experiment: Experiment, files: CellFiles, report: Report
) -> None:
    """Train one cell and, first, the earlier stages of a stack; these are cells too, and reused if they were run."""
    fitted, previous = None, None
    if strategy.after is not None:
        previous_files = CellFiles(order.config.results, cell_key(strategy.after, experiment, order.seed))
        _train_alone(strategy.after, order, experiment, previous_files, report)
        previous = read_fit(previous_files)
        experiment = with_own_tokenizer(experiment, previous_files)
    with _locked_for_training(files, order) as needed:
        if not needed:
            return
        clock = Clock()
        if strategy.after is not None:
            fitted = load_artifact(previous_files.artifact)
        bench = TrainingBench(experiment, strategy, order.seed, report, fitted)
        bench.own_tokenizer |= previous is not None and previous.own_tokenizer
        bench.row = str(spec_of(strategy))
        set_seed(axis_seed(order.seed, "strategy"))
        model = _checked(strategy.fit(bench), f"{strategy.name}'s fit")
        _save(model, bench, strategy, files, clock.read(), previous, report)


def _train_jointly(
    strategy: JointStrategy, order: CellOrder, opened: OpenedExperiment, report: Report
) -> None:
    """Train the cells of a joint strategy and seed for all tasks; the first process to come here trains all of them."""
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
    first = CellFiles(order.config.results, min(cell_files.key for cell_files in files.values()))
    with (
        locked(first.folder.with_name(f"{first.key}.joint.lock")),
        _locked_for_training(files[order.task], order) as needed,
    ):
        if not needed:
            return
        clock = Clock()
        benches, warnings = joint_benches(experiments, strategy, order.seed, report)
        for bench in benches.values():
            bench.row = str(spec_of(strategy))
        set_seed(axis_seed(order.seed, "strategy"))
        models = strategy.fit_jointly(benches)
        taken = clock.read()
        steps = {task: sum(run.steps for run in bench.runs) for task, bench in benches.items()}
        for task, bench in benches.items():
            model = _checked(models.get(task), f"{strategy.name}'s model for {task}")
            share = steps[task] / max(1, sum(steps.values()))
            own = Seconds(share * taken.wall, None if taken.cpu is None else share * taken.cpu)
            _save(model, bench, strategy, files[task], own, None, report, warnings)


@contextmanager
def _locked_for_training(files: CellFiles, order: CellOrder) -> Iterator[bool]:
    """Lock the cell against other processes; yield whether it still has to be trained, as a damaged model has to be."""
    with locked(files.folder.with_name(f"{files.key}.lock")):
        # What is lost of the ordered cell itself was told when the run was planned.
        discard_damaged(files.folder, None if files.key == order.key else "the model of an earlier stage")
        yield not files.is_trained()


def _save(
    fitted: nn.Module,
    bench: TrainingBench,
    strategy: Strategy,
    files: CellFiles,
    fitting: Seconds,
    previous: Fit | None,
    report: Report,
    warnings: tuple[str, ...] = (),
) -> None:
    """Finalize a model whose `fitting` took these seconds, and write its artifact, probe predictions and `Fit`.

    `previous` is that of a stack's earlier stages.
    """
    clock = Clock()
    # A stage that trains nothing has the trainable parameters of the stages before it.
    untrained = previous is not None and not bench.runs
    trainable = previous.size.trainable_parameters if previous and untrained else count_trainable(fitted)
    task_bytes = trainable_bytes(fitted) if strategy.freezes_base else bench.task_bytes
    adapter = Adapter.of(fitted)  # before finalize merges it
    model = _checked(strategy.finalize(fitted, bench), f"{strategy.name}'s finalize")
    experiment = bench.experiment
    with sealed_folder(files.folder) as partial:
        artifact = partial / files.artifact.name
        save_artifact(model, experiment.tokenizer, artifact)
        if adapter is not None:
            adapter.save(partial / files.adapter.name)
        artifact_bytes = folder_bytes(artifact)
        total = fitting + clock.read()
        thresholds = None
        if experiment.kind.decides_by_thresholds:
            thresholds = f1_thresholds(_predict(model, experiment, experiment.task.validation, report))
        probe = _predict(model, experiment, _probe(experiment), report, thresholds)
        probe.save(partial / files.probe.name)
        fit = Fit(
            cost=_cost(bench, total, previous.cost if previous else None),
            size=Size(
                total_parameters=count_parameters(model),
                trainable_parameters=trainable,
                non_embedding_parameters=count_non_embedding(model),
                artifact_bytes=artifact_bytes,
                task_bytes=artifact_bytes if task_bytes is None else task_bytes,
            ),
            curves=(
                *(previous.curves if previous else ()),
                *(curve for run in bench.runs if (curve := run.costed_curve) is not None),
            ),
            is_teacher=bench.is_teacher,
            own_tokenizer=bench.own_tokenizer,
            warnings=warnings,
            thresholds=thresholds,
        )
        (partial / files.fit.name).write_text(fit.model_dump_json(indent=1) + "\n")


def _checked(model: object, made_by: str) -> nn.Module:
    """Return `model` if it is a module; a plugin may have forgotten to return one."""
    if not isinstance(model, nn.Module):
        raise KdbenchError(f"{made_by} returned {shown(model)}, which is not a torch module")
    return model


def _probe(experiment: Experiment) -> datasets.Dataset:
    """Return the rows of up to `PROBE_EXAMPLES` scored examples, evenly spaced by length."""
    rows = experiment.task.scored
    by_length = np.argsort(np.asarray(rows["length"]), kind="stable")
    picked = by_length[np.unique(np.linspace(0, len(by_length) - 1, PROBE_EXAMPLES).astype(int))]
    return rows_of(rows, example_numbers(rows)[picked])


def _predict(
    model: nn.Module,
    experiment: Experiment,
    rows: datasets.Dataset,
    report: Report,
    thresholds: tuple[float, ...] | None = None,
) -> Predictions:
    return predict(
        model.to(experiment.device),
        rows,
        experiment.collate,
        device=experiment.device,
        report=lambda done, total: report("scoring", done, total, None),
        thresholds=thresholds,
    )


def with_groups(predictions: Predictions, task: PreparedTask) -> Predictions:
    """Return the predictions of the scored examples of `task` with the groups of these, if it has any."""
    if task.scored_groups is None:
        return predictions
    places = np.searchsorted(np.sort(predictions.ids), predictions.ids)
    return replace(predictions, groups=task.scored_groups[places])


def _check_unchanged(saved: Predictions, reloaded: Predictions, experiment: Experiment) -> None:
    """Raise if a model predicts differently after saving and loading, since it is not what was trained."""
    task = experiment.task.task
    metric = experiment.metric
    logits = float(np.abs(saved.logits - reloaded.logits).max())
    before, after = metric.of(saved, task.labels), metric.of(reloaded, task.labels)
    if logits > _LARGEST_LOGIT_DRIFT or abs(before - after) > _LARGEST_SCORE_DRIFT:
        raise KdbenchError(
            f"the saved model is not the trained one: after reloading, {task.metric} on {len(saved)} examples is "
            f"{after:.6f} instead of {before:.6f} and logits differ by up to {logits:.1e}"
        )


def _quality(predictions: Predictions, noisy: Predictions, experiment: Experiment) -> Quality:
    """Return the scores of `predictions` and of the `noisy` ones, which may cover fewer examples."""
    task, headline = experiment.task.task, experiment.metric
    noisy_score = headline.of(noisy, task.labels)
    drop = headline.of(select_examples(predictions, noisy.ids), task.labels) - noisy_score
    return quality_of(predictions, task, experiment.metrics).model_copy(
        update={"noisy_score": noisy_score, "noisy_drop": drop}
    )


def score_warnings(predictions: Predictions, score: float, info: TaskInfo) -> tuple[str, ...]:
    """Return warnings for the board about a trivial model."""
    if len(predictions.predicted) and (predictions.predicted == predictions.predicted[0]).all():
        return (f"predicts {_named(predictions, info.labels)} for every example",)
    if info.majority_score is not None and score <= info.majority_score:
        return (f"does not beat always predicting the most frequent label ({100 * info.majority_score:.1f})",)
    return ()


def _named(predictions: Predictions, labels: tuple[str, ...]) -> str:
    """Return the name of the first of `predictions`."""
    first = predictions.predicted[0]
    if predictions.is_multi_label:
        given = [repr(label) for label, is_given in zip(labels, first, strict=True) if is_given]
        return ", ".join(given) or "no label"
    return repr(labels[int(first)]) if predictions.is_classification else "the same"


def _cost(bench: TrainingBench, total: Seconds, previous: Cost | None) -> Cost | None:
    """Return the training cost of the cell, including earlier stages of a stack."""
    if not bench.runs and previous is None:
        return None
    flops = [run.train_flops for run in bench.runs] + ([previous.train_flops] if previous else [])
    counted = [count for count in flops if count is not None]
    training = sum((Seconds(run.train_s, run.train_cpu_s) for run in bench.runs), Seconds(0.0, 0.0))
    teacher = bench.teacher_cost
    if previous is not None:
        training += Seconds(previous.train_s, previous.train_cpu_s)
        total += Seconds(previous.total_s, previous.total_cpu_s)
        earlier = Seconds(previous.teacher_s, previous.teacher_cpu_s)
        teacher = max(teacher, earlier, key=lambda part: part.wall)
    # On a GPU a process's own seconds say little of the work.
    on_cpu = bench.experiment.device.type == "cpu"
    return Cost(
        train_s=training.wall,
        total_s=total.wall,
        teacher_s=teacher.wall,
        train_cpu_s=training.cpu if on_cpu else None,
        total_cpu_s=total.cpu if on_cpu else None,
        teacher_cpu_s=teacher.cpu if on_cpu else None,
        steps=sum(run.steps for run in bench.runs) + (previous.steps if previous else 0),
        examples=sum(run.examples for run in bench.runs) + (previous.examples if previous else 0),
        tokens=sum(run.tokens for run in bench.runs) + (previous.tokens if previous else 0),
        train_flops=sum(counted) if len(counted) == len(flops) else None,
        unlabelled_examples=bench.unlabelled_examples + (previous.unlabelled_examples if previous else 0),
        answers=len(bench.answers_used) + (previous.answers if previous else 0),
        peak_memory_bytes=peak_memory_bytes(),
    )

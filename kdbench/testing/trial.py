"""Fit a strategy once on tiny data, as a cell does: fit, finalize, save, load; and note what a check may ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from transformers import set_seed

from kdbench.api.bench import model_inputs
from kdbench.api.spec import StrategySpec
from kdbench.api.strategy import JointStrategy, Strategy, Transform
from kdbench.api.task import TaskKind
from kdbench.data import PreparedTask
from kdbench.errors import KdbenchError, UsageError, shown
from kdbench.models.artifacts import load_artifact, save_artifact
from kdbench.models.cost import count_parameters, count_trainable
from kdbench.registry import Registry
from kdbench.testing.laboratory import Laboratory
from kdbench.testing.observation import Observation, calling, observed
from kdbench.training.bench import TrainingBench
from kdbench.training.experiment import Experiment
from kdbench.training.multi_task import joint_benches
from kdbench.training.predict import row_logits
from kdbench.utils.files import folder_bytes
from kdbench.utils.system import Report, axis_seed

Rows = list[np.ndarray]
"""The logits of each row, ``(units, outputs)``."""


@dataclass(frozen=True)
class Case:
    """The architecture and the kinds of task of one trial: one kind, or for a joint strategy all that it supports."""

    architecture: str
    kinds: tuple[TaskKind, ...]

    def __str__(self) -> str:
        return f"{self.architecture}, {' and '.join(self.kinds)}"


@dataclass(frozen=True)
class Fitted:
    """What is known of a model between `fit` and `finalize`, which may change it."""

    parameters: int
    trainable: int
    not_finite: tuple[str, ...]
    """The names of trained weights that are not finite, or, if all are, of those whose gradients are not."""
    unlike_base: tuple[str, ...]
    """The names of frozen weights that the base model does not have, where the strategy says that it freezes that."""


@dataclass(frozen=True)
class Deployed:
    """One task's model after `finalize`, and what was loaded from its files."""

    bench: TrainingBench
    model: nn.Module
    answers: Rows
    loaded: nn.Module
    loaded_answers: Rows
    stored_bytes: int


@dataclass
class Trial:
    """One fit of a strategy, observed; if it failed, `error` says where it stopped."""

    case: Case
    benches: Mapping[str, WatchedBench]
    seen: Observation
    stage: str = "fit"
    """The last stage that was begun: ``fit``, ``finalize``, ``save`` or ``load``."""
    error: Exception | None = None
    fitted: dict[str, Fitted] = field(default_factory=dict)
    deployed: dict[str, Deployed] = field(default_factory=dict)

    @property
    def refusal(self) -> str | None:
        """Why the strategy does not support this case, as its `fit` said by a UsageError; None if it does."""
        refused = isinstance(self.error, UsageError) and self.stage == "fit"
        return str(self.error) if refused else None


class WatchedBench(TrainingBench):
    """A bench that notes who reads the scored examples, which a strategy must not."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.readers: list[str] = []

    @property
    def task(self) -> PreparedTask:
        """The task, watched."""
        return cast(PreparedTask, _WatchedTask(super().task, self.readers))


class _WatchedTask:
    def __init__(self, task: PreparedTask, readers: list[str]) -> None:
        self._task = task
        self._readers = readers

    def __getattr__(self, name: str) -> Any:
        if name in ("scored", "noisy"):
            package, place = calling()
            if package not in ("kdbench", "dataclasses"):
                self._readers.append(place)
        return getattr(self._task, name)


def try_strategy(strategy: Strategy, case: Case, laboratory: Laboratory, seed: int = 0) -> Trial:
    """Fit, finalize, save and load `strategy` on the tiny tasks of `case`; an error ends the trial and is kept in it."""
    observation_of: list[Observation] = []

    def report(phase: str, step: int, steps: int, loss: float | None) -> None:
        for seen in observation_of:
            seen.report(phase, step, steps, loss)

    benches = _benches(strategy, case, laboratory, seed, report)
    folder = Path(mkdtemp(dir=laboratory.folder))
    seeds = [axis_seed(seed, axis) for axis in ("data", "init", "dropout", "strategy")]
    with observed(laboratory.folder, seeds) as seen:
        observation_of.append(seen)
        trial = Trial(case, benches, seen)
        try:
            _run(strategy, trial, seed, folder)
        except Exception as error:
            trial.error = error
    return trial


def _run(strategy: Strategy, trial: Trial, seed: int, folder: Path) -> None:
    benches = trial.benches
    set_seed(axis_seed(seed, "strategy"))
    if isinstance(strategy, JointStrategy):
        models: Mapping[str, object] = strategy.fit_jointly(benches)
    else:
        (task,) = benches
        models = {task: strategy.fit(benches[task])}
    fitted = {task: _module(models.get(task), f"fit, for {task},") for task in benches}
    trial.fitted = {task: _look_at(model, benches[task]) for task, model in fitted.items()}
    for task, bench in benches.items():
        trial.stage = "finalize"
        model = _module(strategy.finalize(fitted[task], bench), "finalize")
        trial.stage = "save"
        save_artifact(model, bench.experiment.tokenizer, folder / task)
        trial.stage = "load"
        loaded = load_artifact(folder / task)
        trial.deployed[task] = Deployed(
            bench,
            model,
            answers_of(model, bench),
            loaded,
            answers_of(loaded, bench),
            folder_bytes(folder / task),
        )


def answers_of(model: nn.Module, bench: TrainingBench, rows: Sequence[int] | None = None) -> Rows:
    """Return the logits of the scored rows, or of those numbered `rows` in one batch, as the harness computes them."""
    experiment = bench.experiment
    scored = experiment.task.scored
    chosen = scored if rows is None else scored.select(list(rows))
    model = model.to(experiment.device)
    return row_logits(model, chosen, experiment.collate, device=experiment.device)[0]


def _benches(
    strategy: Strategy, case: Case, laboratory: Laboratory, seed: int, report: Report
) -> dict[str, WatchedBench]:
    """Return the bench of each task; the teachers are trained before, so that their steps are not the strategy's."""
    experiments = {
        experiment.task.task.name: experiment
        for experiment in (laboratory.experiment(case.architecture, kind) for kind in case.kinds)
    }
    teachers = {name: fine_tuned(one, laboratory.registry, seed) for name, one in experiments.items()}
    if isinstance(strategy, JointStrategy):
        joint, _ = joint_benches(experiments, strategy, seed, report)
        return {
            name: WatchedBench(experiments[name], strategy, seed, report, data=bench.task)
            for name, bench in joint.items()
        }
    ((name, experiment),) = experiments.items()
    fitted = teachers[name] if isinstance(strategy, Transform) else None
    return {name: WatchedBench(experiment, strategy, seed, report, fitted=fitted)}


def fine_tuned(experiment: Experiment, registry: Registry, seed: int) -> nn.Module:
    """Return the fine-tuned base model, trained once: the teacher, and what a transform named alone changes."""
    (row,) = [one.item for one in registry.strategies.values() if one.item.is_teacher_row]
    strategy = registry.strategy(StrategySpec(name=row.name))
    return TrainingBench(experiment, strategy, seed, lambda *_: None).finetuned()


def _module(model: object, made_by: str) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise KdbenchError(
            f"{made_by} returned {shown(model)}, which is not a torch module; return the model"
        )
    return model


def _look_at(model: nn.Module, bench: TrainingBench) -> Fitted:
    unlike_base = _unlike_base(model, bench) if bench.strategy.freezes_base else []
    return Fitted(
        count_parameters(model),
        count_trainable(model),
        tuple(_not_finite(model, bench)),
        tuple(unlike_base),
    )


def _unlike_base(model: nn.Module, bench: TrainingBench) -> list[str]:
    known = {_bytes(weight) for weight in bench.base().state_dict().values()}
    frozen = {name: weight for name, weight in model.named_parameters() if not weight.requires_grad}
    # A single number may be a constant of the method.
    return [name for name, weight in frozen.items() if weight.numel() > 1 and _bytes(weight) not in known]


def _bytes(weight: torch.Tensor) -> bytes:
    return weight.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()


def _not_finite(model: nn.Module, bench: TrainingBench) -> list[str]:
    """Return the trained weights that are not finite, themselves or in the gradient of the loss against labels."""
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    if not trained:
        return []
    experiment = bench.experiment
    batch = experiment.collate([bench.task.train[i] for i in range(4)])
    batch = {name: value.to(experiment.device) for name, value in batch.items()}
    modes = [(module, module.training) for module in model.modules()]
    model.to(experiment.device).eval()
    with torch.enable_grad():
        loss = bench.kind.label_loss(model(**model_inputs(batch)).logits, batch["labels"])
        gradients = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
    for module, training in modes:
        module.training = training
    weights = [name for name, weight in trained.items() if not weight.isfinite().all()]
    return weights or [
        f"the gradient of {name}"
        for name, gradient in zip(trained, gradients, strict=True)
        if gradient is not None and not gradient.isfinite().all()
    ]

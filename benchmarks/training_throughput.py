"""Compare the tokens per second of kdbench's training with those of a plain `transformers.Trainer` script.

    python benchmarks/training_throughput.py --data-dir DIR [--steps 150] [--rounds 2] [--strategy finetune]

DIR holds ``glue/SST-2``. Both sides start from the same weights and train the 6-layer model (`finetune`) and a 3-layer
student (`vanilla-kd`) on the same rows for the same steps of 32. The plain script is the straightforward one: float32, the
teacher's forward pass in every step, random batches padded to their longest. The time runs from loading the model to the
end of training; kdbench's includes the teacher's logits, computed once for all passes over the rows, and a validation on
64 examples. The sides take turns.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

from kdbench.api.params import FINE_TUNING_RATES
from kdbench.api.spec import parse_spec
from kdbench.api.task import TaskKind
from kdbench.budgets import BUDGETS, Budget
from kdbench.config import RunConfig
from kdbench.data import load_task, prepare
from kdbench.evaluation.metrics import METRICS
from kdbench.models.build import keep_layers, layers_to_keep, load_base
from kdbench.registry import Registry
from kdbench.stats.intervals import bootstrap_interval
from kdbench.training.bench import TrainingBench
from kdbench.training.experiment import Experiment, open_experiment
from kdbench.training.predict import predict
from kdbench.training.teacher import TeacherStore
from kdbench.utils.system import axis_seed

KIND = TaskKind.SEQUENCE_CLASSIFICATION
STRATEGIES = ("finetune", "vanilla-kd[init=base]")
LAYERS, TEMPERATURE, ALPHA, BATCH, EPOCHS = 3, 2.0, 0.7, 32, 3


@dataclasses.dataclass(frozen=True)
class Measured:
    """One training: its tokens per second (without padding), and the trained model's accuracy on dev."""

    tokens_per_s: float
    accuracy: float
    low: float
    high: float

    def __str__(self) -> str:
        percent = f"{100 * self.accuracy:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"
        return f"{self.tokens_per_s:6.0f} tokens/s, accuracy {percent}"


class PlainTrainer(Trainer):
    """Compute the textbook loss: the teacher, if there is one, runs in every step."""

    teacher: nn.Module | None = None

    def compute_loss(self, model: nn.Module, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        outputs = model(**inputs)
        if self.teacher is None:
            return (outputs.loss, outputs) if return_outputs else outputs.loss
        with torch.no_grad():
            teacher = self.teacher(**inputs)
        soft = functional.kl_div(
            functional.log_softmax(outputs.logits / TEMPERATURE, dim=-1),
            functional.softmax(teacher.logits / TEMPERATURE, dim=-1),
            reduction="batchmean",
        )
        loss = ALPHA * TEMPERATURE**2 * soft + (1 - ALPHA) * outputs.loss
        return (loss, outputs) if return_outputs else loss


def main() -> None:
    parser = argparse.ArgumentParser(description="kdbench's training against a plain Trainer script")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--strategy", action="append", choices=STRATEGIES)
    options = parser.parse_args()
    budget = BUDGETS["standard"].model_copy(
        update={
            "train_examples": options.steps * BATCH // EPOCHS,
            "validation_examples": 64,
            "steps": {KIND: options.steps},
            "batch_size": {KIND: BATCH},
            "evaluations": 1,
        }
    )
    with tempfile.TemporaryDirectory() as results:
        experiment, registry = open_sst2(options.data_dir, Path(results), budget)
        print(f"{torch.get_num_threads()} threads, {options.steps} steps of {BATCH}, {EPOCHS} passes")
        teacher = TrainingBench(experiment, registry.strategy(parse_spec("finetune")), 0, silent).teacher
        for spec in options.strategy or STRATEGIES:
            ratios = []
            for seed in range(1, options.rounds + 1):
                ours = with_kdbench(experiment, registry, spec, seed)
                plain = with_trainer(experiment, teacher if spec != "finetune" else None, seed)
                ratios.append(ours.tokens_per_s / plain.tokens_per_s)
                print(
                    f"{spec}, seed {seed}\n  kdbench {ours}\n  plain   {plain}\n  ratio   {ratios[-1]:.2f}",
                    flush=True,
                )
            print(f"{spec}: {statistics.median(ratios):.2f}x (median of {len(ratios)} rounds)\n", flush=True)


def open_sst2(data_dir: Path, results: Path, budget: Budget) -> tuple[Experiment, Registry]:
    config = RunConfig(data_dir=data_dir, results=results)
    opened = open_experiment(config, "sst2")
    data = load_task(opened.experiment.task.task, config.data)
    task = prepare(data, budget, opened.experiment.tokenizer, config.cache_dir)
    return dataclasses.replace(opened.experiment, task=task, budget=budget), opened.registry


def with_kdbench(experiment: Experiment, registry: Registry, spec: str, seed: int) -> Measured:
    shutil.rmtree(TeacherStore(experiment).folder / "logits", ignore_errors=True)  # every round pays for them
    strategy = registry.strategy(parse_spec(spec))
    started = time.perf_counter()
    bench = TrainingBench(experiment, strategy, seed, silent)
    model = strategy.fit(bench)
    return measured(experiment, model, bench.runs[0].tokens, time.perf_counter() - started)


def with_trainer(experiment: Experiment, teacher: nn.Module | None, seed: int) -> Measured:
    rows = experiment.task.train
    tokens = EPOCHS * sum(rows["length"])
    started = time.perf_counter()
    labels = experiment.task.task.labels
    model = load_base(experiment.base.path, KIND, labels, seed=axis_seed(seed, "init"))
    if teacher is not None:
        keep_layers(model, layers_to_keep(LAYERS, model.config.num_hidden_layers))
    with tempfile.TemporaryDirectory() as scratch:
        trainer = PlainTrainer(
            model=model,
            args=TrainingArguments(
                output_dir=scratch,
                num_train_epochs=EPOCHS,
                per_device_train_batch_size=BATCH,
                learning_rate=FINE_TUNING_RATES[KIND],
                weight_decay=0.01,
                warmup_steps=round(0.1 * EPOCHS * len(rows) / BATCH),
                seed=seed,
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=rows,
            data_collator=DataCollatorWithPadding(experiment.tokenizer),
        )
        trainer.teacher = teacher
        trainer.train()
    return measured(experiment, model, tokens, time.perf_counter() - started)


def measured(experiment: Experiment, model: nn.Module, tokens: int, seconds: float) -> Measured:
    labels = experiment.task.task.labels
    answers = predict(model, experiment.task.scored, experiment.collate, device=experiment.device)
    metric = METRICS["accuracy"]
    statistics_ = metric.statistics(answers, labels)
    low, high = bootstrap_interval(statistics_[None], metric.score)
    return Measured(tokens / seconds, metric.of(answers, labels), low, high)


def silent(phase: str, done: int, total: int, loss: float | None) -> None:
    pass


if __name__ == "__main__":
    main()

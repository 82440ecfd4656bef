"""Measure training against the machine's limit, and against peers on the same batches in the same run.

    python benchmarks/training_throughput.py --make-environments      # once: TextBrewer and torchdistill, 3 GB
    python benchmarks/training_throughput.py                          # speed at two shapes of batches
    python benchmarks/training_throughput.py --accuracy [--data-dir DIR]    # what the sides learn, on real texts
    python benchmarks/training_throughput.py --float32                # either, limited to AVX2 and float32

The ceiling is the rate of matrix products of the model's shapes, in training precision. A side's time is that of its
training loops, with all work of the teacher; imports and loading are left out. kdbench's includes the teacher's logits and
hidden states, computed once for five passes over the texts, and a validation on 8 texts. Peers train in float32, as they
do by default, one process each that waits for its turn: sides take turns in every round, on the same batches of equal
lengths, from the same weights, at the same rates. Ratios are medians over the rounds, with the lowest and the highest.
`benchmarks/peers/` has the peers' scripts, and what each needed to run.

With ``--accuracy`` the texts are SST-2's (DIR holds ``glue/SST-2``) or those of rotten-tomatoes, batches of 32 as kdbench
draws them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import datasets
import torch
from _peers import ENVIRONMENTS, PEERS, Peer, make_environments
from torch.nn.functional import linear
from torch.utils.benchmark import Timer

from kdbench.api.params import StudentParams
from kdbench.api.spec import parse_spec
from kdbench.api.strategy import JointStrategy, Transform
from kdbench.api.task import TaskKind
from kdbench.budgets import BUDGETS, Budget
from kdbench.config import RunConfig
from kdbench.data import load_task, prepare
from kdbench.evaluation.metrics import METRICS
from kdbench.models.build import load_base
from kdbench.registry import Registry
from kdbench.training.bench import TrainingBench
from kdbench.training.device import has_fast_bf16
from kdbench.training.experiment import Experiment, open_experiment
from kdbench.training.predict import predict
from kdbench.training.teacher import TeacherStore
from kdbench.utils.system import usable_cores

KIND = TaskKind.SEQUENCE_CLASSIFICATION
SEED, PASSES, VALIDATED = 1, 5, 8
COMPARED: Mapping[str, Sequence[str]] = {
    "finetune[steps=budget]": ("trainer labels",),
    "vanilla-kd": ("trainer logits", "textbrewer logits", "torchdistill logits"),
    "tinybert": ("textbrewer layers",),
}
"""Per strategy the peers that do the same."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """The texts of a batch, the word pieces of a text, and the steps of a round."""

    texts: int
    pieces: int
    steps: int


SHAPES = (Shape(64, 28, 10), Shape(32, 14, 20))


@dataclasses.dataclass(frozen=True)
class Measured:
    """One training: its seconds, its counted operations and the trained model's accuracy, where they are known."""

    seconds: float
    flops: int | None = None
    accuracy: float | None = None


def main() -> None:
    options = parsed()
    if options.float32 and "ATEN_CPU_CAPABILITY" not in os.environ:
        limits = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}  # read when torch starts
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **limits})
    if options.make_environments:
        make_environments()
        return
    torch.set_num_threads(options.threads)
    bf16 = has_fast_bf16(torch.device("cpu"))
    print(f"{options.threads} threads, training in {'bfloat16' if bf16 else 'float32'}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if options.accuracy:
            compare_accuracy(options, Path(folder))
            return
        for number, shape in enumerate(SHAPES):
            compare_speed(shape, options, Path(folder, str(number)))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--make-environments", action="store_true", help="install the peers, and stop")
    parser.add_argument("--accuracy", action="store_true", help="compare what the sides learn")
    parser.add_argument("--float32", action="store_true", help="limit all sides to AVX2 and float32")
    parser.add_argument("--data-dir", type=Path, help="a folder that holds glue/SST-2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of a round; by default 10 and 20, and 300 with --accuracy")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--strategy", action="append", help="names; by default every one that trains")
    return parser.parse_args()


def ceiling(shape: Shape, dtype: torch.dtype) -> float:
    """Return the highest rate of products of the model's shapes, in operations per second."""
    rates = []
    for inner, outer in ((384, 384), (384, 1536), (1536, 384)):
        rows = shape.texts * shape.pieces
        values, weights = torch.randn(rows, inner).to(dtype), torch.randn(outer, inner).to(dtype)
        timer = Timer(
            "linear(x, w)",
            globals={"linear": linear, "x": values, "w": weights},
            num_threads=torch.get_num_threads(),
        )
        times = timer.blocked_autorange(min_run_time=0.5).times
        rates.append(2 * rows * inner * outer / min(times))
    return max(rates)


def compare_speed(shape: Shape, options: argparse.Namespace, folder: Path) -> None:
    """Print every strategy's rates at `shape`, and the ratios to the peers'."""
    shape = dataclasses.replace(shape, steps=options.steps or shape.steps)
    own = torch.bfloat16 if has_fast_bf16(torch.device("cpu")) else torch.float32
    peaks = {dtype: ceiling(shape, dtype) for dtype in (own, torch.float32)}
    told = ", ".join(f"{peak / 1e9:.0f} GFLOP/s in {dtype}" for dtype, peak in peaks.items())
    print(f"\n{shape.texts} texts of {shape.pieces} pieces, {shape.steps} steps; ceiling: {told}", flush=True)
    experiment, registry = at_shape(shape, folder)
    teacher = load_base(experiment.base.path, KIND, experiment.task.task.labels, seed=0)
    TeacherStore(experiment, SEED).save(teacher, None)  # not trained: its answers take as long
    results = rounds(experiment, registry, options, folder)
    for name, measured in results.items():
        seconds = median(one.seconds for one in measured)
        line = f"  {name:<24}{shape.texts * shape.steps / seconds:>8.0f} examples/s"
        if measured[0].flops:
            rate = measured[0].flops / seconds
            line += f"{rate / 1e9:>8.0f} GFLOP/s, {100 * rate / peaks[own]:.0f}% of the ceiling"
        print(line)
    print_ratios(results)


def compare_accuracy(options: argparse.Namespace, folder: Path) -> None:
    """Print what each side has learned from the same batches of real texts, and its time."""
    experiment, registry = real_texts(options.data_dir, folder, options.steps or 300)
    TrainingBench(experiment, registry.strategy(parse_spec("finetune")), SEED, silent).teacher  # noqa: B018  # trains it
    print(f"{experiment.task.task.name}, {len(experiment.task.scored)} scored texts", flush=True)
    options.rounds = 1
    options.strategy = options.strategy or list(COMPARED)
    results = rounds(experiment, registry, options, folder)
    for name, (measured,) in results.items():
        print(f"  {name:<24}accuracy {100 * (measured.accuracy or 0):.1f} in {measured.seconds:.0f} s")
    print_ratios(results)


def rounds(
    experiment: Experiment, registry: Registry, options: argparse.Namespace, folder: Path
) -> dict[str, list[Measured]]:
    """Return the results of all sides by name, round by round; strategies without peers run in the first alone."""
    strategies = options.strategy or [*COMPARED, *others(registry)]
    peers = {
        peer: Peer(peer, job_of(experiment, registry, strategy, folder), options.threads)
        for strategy in strategies
        for peer in COMPARED.get(strategy, ())
        if peer.split()[0] in ("trainer", *(name for name in PEERS if (ENVIRONMENTS / name).exists()))
    }
    results: dict[str, list[Measured]] = {}
    try:
        for number in range(options.rounds):
            for strategy in strategies:
                if number and strategy not in COMPARED:
                    continue
                results.setdefault(strategy, []).append(with_kdbench(experiment, registry, strategy, options))
                for peer in COMPARED.get(strategy, ()):
                    if peer in peers:
                        results.setdefault(peer, []).append(Measured(**peers[peer].train()))
    finally:
        for side in peers.values():
            side.close()
    return results


def print_ratios(results: Mapping[str, Sequence[Measured]]) -> None:
    for strategy, names in COMPARED.items():
        for peer in names:
            if peer in results:
                ratios = sorted(
                    theirs.seconds / ours.seconds
                    for ours, theirs in zip(results[strategy], results[peer], strict=True)
                )
                spread = f" [{ratios[0]:.2f}, {ratios[-1]:.2f}]" if len(ratios) > 1 else ""
                print(f"  {strategy} is {median(ratios):.2f}{spread} times as fast as {peer}", flush=True)


def others(registry: Registry) -> list[str]:
    """Return the further strategies with a training loop of their own on one task; `finetune` loads the teacher."""
    return [
        name
        for name, entry in registry.strategies.items()
        if KIND in entry.item.kinds
        and not issubclass(entry.item, (Transform, JointStrategy))
        and name not in ("finetune", "linear-probe", *COMPARED)
    ]


def with_kdbench(
    experiment: Experiment, registry: Registry, name: str, options: argparse.Namespace
) -> Measured:
    teacher = TeacherStore(experiment, SEED)
    for outputs in (*teacher.folder.glob("logits-*"), *teacher.folder.glob("states-*")):
        if outputs.is_dir():
            shutil.rmtree(outputs)  # every round pays for them
    strategy = registry.strategy(parse_spec(name))
    bench = TrainingBench(experiment, strategy, SEED, silent)
    model = strategy.fit(bench)
    outputs_s = bench.teacher_s - teacher.train_s() if bench.teacher_s else 0
    flops = [run.train_flops for run in bench.runs if run.train_flops]
    return Measured(
        sum(run.train_s for run in bench.runs) + outputs_s,
        sum(flops) or None,
        accuracy(experiment, model) if options.accuracy else None,
    )


def accuracy(experiment: Experiment, model: torch.nn.Module) -> float:
    answers = predict(model, experiment.task.scored, experiment.collate, device=experiment.device)
    return METRICS["accuracy"].of(answers, experiment.task.task.labels)


def job_of(experiment: Experiment, registry: Registry, name: str, folder: Path) -> Path:
    """Write what the peers of the strategy `name` train on and from, and return the file."""
    path = folder / f"{name}.json"
    if not path.exists():
        strategy = registry.strategy(parse_spec(name))
        bench = TrainingBench(experiment, strategy, SEED, silent)
        params = strategy.params
        student = bench.student(params) if isinstance(params, StudentParams) else bench.base()
        student.save_pretrained(folder / name)
        kd = registry.strategy(parse_spec("vanilla-kd")).params
        rows, schedule, scored = experiment.task.train, bench.schedule(), experiment.task.scored
        values = {
            "ids": rows["input_ids"][:],
            "labels": rows["labels"][:],
            "batches": schedule.batches(rows["length"]),
            "scored_ids": scored["input_ids"][:],
            "scored_labels": scored["labels"][:],
            "teacher": str(TeacherStore(experiment, SEED).folder),
            "student": str(folder / name),
            "learning_rate": schedule.learning_rate,
            "weight_decay": params.weight_decay,
            "temperature": kd.temperature,
            "alpha": kd.alpha,
            "seed": SEED,
        }
        path.write_text(json.dumps(values))
    return path


def budget_of(batch_size: int, steps: int) -> Budget:
    return BUDGETS["standard"].model_copy(
        update={
            "train_examples": batch_size * max(2, steps // PASSES),
            "validation_examples": VALIDATED,
            "steps": {KIND: steps},
            "batch_size": {KIND: batch_size},
            "evaluations": 1,
            "teacher_factor": 1,
            "max_epochs": None,
            "patience": None,
        }
    )


def real_texts(data_dir: Path | None, folder: Path, steps: int) -> tuple[Experiment, Registry]:
    """Set up SST-2 from `data_dir`, or rotten-tomatoes, with `steps` of 32 texts."""
    config = RunConfig(results=folder / "results", **({"data_dir": data_dir} if data_dir else {}))
    opened = open_experiment(config, "sst2" if data_dir else "rotten-tomatoes")
    budget = budget_of(32, steps)
    data = load_task(opened.experiment.task.task, config.data)
    task = prepare(data, budget, opened.experiment.tokenizer, config.cache_dir)
    return dataclasses.replace(opened.experiment, task=task, budget=budget), opened.registry


def at_shape(shape: Shape, folder: Path) -> tuple[Experiment, Registry]:
    """Set up batches of `shape` from the word pieces of rotten-tomatoes, all texts of one length."""
    opened = open_experiment(RunConfig(results=folder / "results"), "rotten-tomatoes")
    task, budget = opened.experiment.task, budget_of(shape.texts, shape.steps)
    pieces = [piece for text in task.train["input_ids"] for piece in text]

    def rows(count: int) -> datasets.Dataset:
        texts = [pieces[start * shape.pieces : (start + 1) * shape.pieces] for start in range(count)]
        numbers = list(range(count))
        return datasets.Dataset.from_dict(
            {
                "id": numbers,
                "example": numbers,
                "input_ids": texts,
                "labels": [number % 2 for number in numbers],
                "length": [shape.pieces] * count,
            }
        )

    task = dataclasses.replace(
        task,
        train=rows(budget.train_examples or 0),
        validation=rows(VALIDATED),
        scored=rows(0),
        unlabelled=rows(0),
    )
    return dataclasses.replace(opened.experiment, task=task, budget=budget), opened.registry


def silent(phase: str, done: int, total: int, loss: float | None) -> None:
    pass


if __name__ == "__main__":
    main()

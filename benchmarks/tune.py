"""Search for the defaults of the strategies: the same number of trials each, evaluated on the validation part only.

Every strategy gets `--trials` points of its search space below: learning rates at equal ratios between two bounds, each
with a seeded draw of the other choices that its paper leaves open. A point is trained within the budget on each task and
evaluated by the headline metric on the validation part; the scored split is never used. Joint strategies are evaluated by
the mean over tasks. Trials in the results file are not repeated, so that the search can be interrupted and resumed, and run
in several processes:

    python benchmarks/tune.py --trials 4 --task rotten-tomatoes --task twitter-ner --strategy lora --strategy pkd
    python benchmarks/tune.py --show
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from kdbench.api.spec import StrategySpec
from kdbench.api.strategy import JointStrategy, Strategy, Transform
from kdbench.config import RunConfig
from kdbench.plugins import load_registry
from kdbench.training.bench import TrainingBench
from kdbench.training.experiment import Experiment, open_experiment
from kdbench.utils.system import default_workers

RESULTS = Path(__file__).parent / "results" / "tuning.jsonl"
SEED = 1
"""The seed of head, data order and dropout; the boards' first seed is 0."""
TOGETHER = "+"
"""Between the names of tasks that are trained jointly."""

RATES: Mapping[str, tuple[float, float]] = {
    "fine-tuning": (5e-5, 4e-4),
    "control": (7e-5, 6e-4),
    "distillation": (7e-5, 6e-4),
    "parameter-efficient": (1e-3, 9e-3),
    "compression": (5e-5, 8e-4),
    "multi-task": (5e-5, 2e-4),
}
"""Bounds of the learning rate by family of strategy; for compression, of the recovery after a cut."""
OWN_RATES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("bilstm", "bilstm-kd"), (1e-3, 1e-2)),
    **dict.fromkeys(("adapter-houlsby", "adapter-pfeiffer"), (5e-4, 2e-3)),
    **dict.fromkeys(("lora", "dora"), (1e-3, 4e-3)),
    **dict.fromkeys(("adalora", "ia3", "prefix-tuning"), (3e-3, 2.7e-2)),
}
"""Bounds for strategies that train few weights, or weights that start at random."""
CHOICES: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "vanilla-kd": {"temperature": (1.0, 2.0, 4.0), "alpha": (0.5, 0.7, 0.9)},
    "pkd": {"temperature": (2.0, 5.0, 10.0), "beta": (10.0, 100.0, 500.0)},
    "distilbert": {"temperature": (1.0, 2.0, 4.0)},
    "multi-task": {"sampling": ("own", "uniform", "square-root", "annealed"), "balance": ("none", "norm")},
}
"""Further parameters that are drawn, by strategy."""


def main() -> None:
    """Run the missing trials, then show the best of each strategy."""
    arguments = _arguments()
    config = RunConfig(
        budget=arguments.budget,
        data_dir=arguments.data_dir,
        results=arguments.teachers,
        **({"task": arguments.task} if arguments.task else {}),
    )
    if not arguments.show:
        trials = [trial for trial in _trials(config, arguments) if trial not in _done(arguments.out)]
        print(f"{len(trials)} trials to do")
        orders = [(config.model_dump_json(), trial, arguments.out) for trial in trials]
        context = multiprocessing.get_context("spawn")
        with context.Pool(default_workers(), maxtasksperchild=1) as pool:
            for line in pool.imap_unordered(_try, orders, chunksize=1):
                print(line, flush=True)
    print(_best(arguments.out).to_markdown(index=False))


def _trials(config: RunConfig, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    registry = load_registry(config)
    specs = registry.match_strategies(arguments.strategy or ["*"])
    tasks = registry.match_tasks(config.task or ["*"])
    trials = []
    for number in range(arguments.trials):
        for spec in specs:
            strategy = registry.strategies[spec.name].item
            if not _has_a_rate(strategy):
                continue
            params = {**_point(spec.name, strategy.family, number, arguments.trials), **spec.params}
            served = [task.name for task in tasks if task.kind in strategy.kinds]
            if issubclass(strategy, JointStrategy):
                served = [TOGETHER.join(served)]
            trials += [
                {"strategy": spec.name, "params": params, "task": task, "budget": config.budget}
                for task in served
            ]
    return trials


def _has_a_rate(strategy: type[Strategy]) -> bool:
    """Return whether there is a rate to search: a probe has a direct solution, and most transforms train nothing."""
    if issubclass(strategy, Transform):
        recovery = strategy.Params.model_fields.get("recovery")
        return recovery is not None and bool(recovery.default)
    return strategy.name != "linear-probe"


def _point(name: str, family: str, number: int, trials: int) -> dict[str, Any]:
    """Return the parameters of trial `number` of `trials`."""
    random = np.random.default_rng([SEED, number])
    low, high = OWN_RATES.get(name, RATES.get(family, RATES["fine-tuning"]))
    rate = float(f"{np.geomspace(low, high, trials)[number]:.2g}")
    chosen = {key: random.choice(values).item() for key, values in CHOICES.get(name, {}).items()}
    return {"learning_rate": rate, **chosen}


def _try(order: tuple[str, dict[str, Any], Path]) -> str:
    text, trial, out = order
    torch.set_num_threads(1)
    opened = [
        open_experiment(RunConfig.model_validate_json(text), task) for task in trial["task"].split(TOGETHER)
    ]
    strategy = opened[0].registry.strategy(StrategySpec(name=trial["strategy"], params=trial["params"]))
    experiments = [one.experiment for one in opened]
    started = time.perf_counter()
    try:
        scores = _scores(strategy, experiments)
    except FloatingPointError:
        scores = None  # it diverged: a result, too
    result = {**trial, "validation_score": scores and fmean(scores.values())}
    if scores and len(scores) > 1:
        result["by_task"] = scores
    result["seconds"] = round(time.perf_counter() - started, 1)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a") as file:
        file.write(json.dumps(result) + "\n")
    return json.dumps(result)


def _scores(strategy: Strategy, experiments: Sequence[Experiment]) -> dict[str, float]:
    """Return the headline score on each task's validation part."""
    benches = {
        experiment.task.task.name: TrainingBench(
            experiment, strategy, SEED, _silent, _fitted(experiment, strategy)
        )
        for experiment in experiments
    }
    if isinstance(strategy, JointStrategy):
        models = dict(strategy.fit_jointly(benches))
    else:
        models = {task: strategy.fit(bench) for task, bench in benches.items()}
    return {task: bench.validation_score(models[task]) for task, bench in benches.items()}


def _fitted(experiment: Experiment, strategy: Strategy) -> nn.Module | None:
    """Return the fine-tuned base model that a transform starts from."""
    if not isinstance(strategy, Transform):
        return None
    return TrainingBench(experiment, strategy, SEED, _silent).teacher.requires_grad_(True)


def _silent(*progress: object) -> None:
    pass


def _read(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def _done(out: Path) -> list[dict[str, Any]]:
    keys = ("strategy", "params", "task", "budget")
    return [{key: result[key] for key in keys} for result in _read(out)]


def _best(out: Path) -> pd.DataFrame:
    """Return for each strategy and task the number of trials, the best of them and the worst."""
    table = pd.DataFrame(_read(out))
    if table.empty:
        return table
    table["params"] = [json.dumps(params, sort_keys=True) for params in table["params"]]
    rows = []
    for (strategy, task, budget), trials in table.groupby(["strategy", "task", "budget"]):
        scored = trials.dropna(subset=["validation_score"])
        best = scored.loc[scored["validation_score"].idxmax()]
        rows.append(
            {
                "strategy": strategy,
                "task": task,
                "budget": budget,
                "trials": len(trials),
                "best": round(100 * best["validation_score"], 1),
                "worst": round(100 * scored["validation_score"].min(), 1),
                "parameters": best["params"],
            }
        )
    return pd.DataFrame(rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strategy", action="append", help="names or globs; by default all")
    parser.add_argument("--task", action="append", help="names or globs; by default the embedded ones")
    parser.add_argument("--budget", default="standard")
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file that results are added to")
    parser.add_argument(
        "--teachers", type=Path, default=Path("results"), help="the folder that teachers are kept in"
    )
    parser.add_argument("--show", action="store_true", help="run nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()

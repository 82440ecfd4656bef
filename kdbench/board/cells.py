"""Build the table of cells from records and timings: one row per strategy, task and seed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from itertools import groupby
from typing import Any

import pandas as pd

from kdbench.board.columns import CELL_COLUMNS, POINT_COLUMNS
from kdbench.board.convergence import last_gain, not_converged
from kdbench.board.diagnostics import Behaviour
from kdbench.board.figures import FIGURES
from kdbench.board.serving import serving_columns
from kdbench.budgets import BackEnd
from kdbench.results.records import Environment, Record
from kdbench.results.timings import ModelTiming, Speed, Throughput, Timing
from kdbench.results.tuning import Tuning, params_text
from kdbench.utils.formatting import listing, percent, plural, ratio

Timed = tuple[Timing, ModelTiming]


def setting_of(timing: Timing) -> str:
    """Return what two latencies must share to be compared: batch, threads, hardware, versions of libraries."""
    return _setting(timing, timing.machine())


def _setting(timing: Timing, machine: Mapping[str, str]) -> str:
    return f"batch {timing.batch_size}, {plural(timing.threads, 'thread')}, on {listing(machine)}"


def timings_of_cells(timings: Iterable[Timing], keys: Collection[str]) -> dict[str, list[Timed]]:
    """Return for each of `keys` that was timed, by key, its newest timing in every setting.

    The first timing of each is the one to show. It is from the setting in which most of these cells of its task were
    timed; among equals, that of the newest timing. So a machine that timed a whole board is preferred to one that
    timed a part of it later.
    """
    selected = set(keys)
    by_key: dict[str, list[Timed]] = {}
    ordered = sorted(timings, key=lambda timing: (timing.task, setting_of(timing), timing.finished_at))
    for _, of_task in groupby(ordered, key=lambda timing: timing.task):
        by_setting = [
            {
                model.key: (timing, model)
                for timing in same
                for model in timing.models
                if model.key in selected
            }
            for _, same in groupby(of_task, key=setting_of)
        ]
        by_setting = [newest for newest in by_setting if newest]
        by_setting.sort(
            key=lambda newest: (len(newest), max(timing.finished_at for timing, _ in newest.values())),
            reverse=True,
        )
        for newest in by_setting:
            for key, timed in newest.items():
                by_key.setdefault(key, []).append(timed)
    return by_key


def shown_timings(timings: Iterable[Timing], keys: Collection[str]) -> dict[str, Timed]:
    """Return for each of `keys` that was timed the timing to show, the first of `timings_of_cells`."""
    return {key: timed[0] for key, timed in timings_of_cells(timings, keys).items()}


def tidy(records: Iterable[Record], timings: Iterable[Timing]) -> pd.DataFrame:
    """Return one row per strategy, task and seed, in the order given, with the `shown_timings` of timed cells."""
    listed = list(records)
    timed = shown_timings(timings, [record.key for record in listed])
    cells = [_cell(record, *timed.get(record.key, (None, None))) for record in listed]
    return pd.DataFrame(cells, columns=list(CELL_COLUMNS)).astype(CELL_COLUMNS)


def with_behaviour(cells: pd.DataFrame, behaviour: Mapping[str, Behaviour]) -> pd.DataFrame:
    """Return `cells` with the diagnostics of their predictions, which are given by cell key."""
    values = [asdict(behaviour.get(key, Behaviour())) for key in cells["key"]]
    columns = pd.DataFrame(values, index=cells.index, dtype="float64")
    return cells.assign(**columns)


def _cell(record: Record, timing: Timing | None, timed: ModelTiming | None) -> dict[str, Any]:
    task, budget, quality = record.task, record.budget, record.quality
    return {
        **_fields(record, "seed", "key", "reason", "is_teacher", "finished_at"),
        "warnings": (*record.warnings, *filter(None, [not_converged(record), _emulated_warning(timed)])),
        **_fields(
            task, "metric", "kind", "labels", "source", "fingerprint", "majority_score", "validation_split"
        ),
        **_fields(task, "train_examples", "validation_examples", "scored_examples"),
        **_fields(task, "duplicates", "near_duplicates", "too_long_share", "licence", "citation"),
        **_fields(record.strategy, "control", "base_control", "uses_teacher"),
        **_fields(budget, "teacher_factor", "max_length"),
        **_fields(quality, *_columns_from("quality")),
        **_fields(record.size, *_columns_from("size")),
        **_fields(record.compute, *_columns_from("compute")),
        **_fields(record.cost, *_columns_from("cost")),
        **_latency(timing, timed),
        **_tuning(record),
        "passes": record.cost.examples / max(1, task.train_examples) if record.cost else None,
        "last_gain": last_gain(record),
        "scored_split": task.eval_split,
        "task": task.name,
        "task_title": task.title,
        "strategy": record.strategy.label,
        "note": " ".join(filter(None, [record.strategy.note, *map(_tuned, record.tuning)])) or None,
        "derived_from": record.strategy.source,
        "status": record.status.value,
        "score": quality.score if quality else None,
        "score_low": quality.low if quality else None,
        "score_high": quality.high if quality else None,
        "model": record.model.name,
        "weights_sha256": record.model.weights_sha256,
        "given_teacher": record.model.teacher,
        "budget": budget.name,
        "steps": budget.steps_for(task.kind, task.train_examples),
        "batch_size": budget.batch_size_for(task.kind),
        "hardware": listing(record.environment.hardware),
        "software": listing(record.environment.libraries),
        "revision": _revision(record.environment),
    }


def _latency(timing: Timing | None, timed: ModelTiming | None) -> dict[str, Any]:
    if timing is None or timed is None:
        return {}
    own = timed.back_ends[0]
    int8 = [part.score_lost for part in timed.back_ends if part.back_end is BackEnd.ONNXRUNTIME_INT8]
    return {
        **_fields(timed.main, *_columns_from("point")),
        **_batches(own.throughput),
        **_best(timed),
        "back_end": own.back_end.value,
        "export_s": next(
            (part.export_s for part in timed.back_ends if part.back_end.value == _best_of(timed)), None
        ),
        "emulated": own.emulated,
        "tokenization_p50_ms": timed.tokenization.p50_ms if timed.tokenization else None,
        "onnxruntime_p50_ms": _p50_in(timed, BackEnd.ONNXRUNTIME),
        "onnxruntime_int8_p50_ms": _p50_in(timed, BackEnd.ONNXRUNTIME_INT8),
        "torch_compile_p50_ms": _p50_in(timed, BackEnd.TORCH_COMPILE),
        "openvino_p50_ms": _p50_in(timed, BackEnd.OPENVINO),
        "joules_per_1000": own.energy.joules_per_1000 if own.energy else None,
        "idle_w": own.energy.idle_w if own.energy else None,
        "energy_reason": timing.energy_reason,
        "onnxruntime_int8_lost": int8[0] if int8 else None,
        "latency_setting": setting_of(timing),
        "latency_hardware": _setting(timing, timing.environment.hardware),
        "latency_runtimes": timing.runtimes(),
        "latency_unsteady_after": timed.back_ends[0].unsteady_after,
        "latency_rounds": timing.rounds,
        "latency_processes": timing.processes,
        "latency_warning": timing.warning,
        "latency_repeat": _repeatability(timing),
        "latency_busy_share": timing.busy_share,
        **serving_columns(timing, timed.key),
    }


def _batches(own: Throughput | None) -> dict[str, Any]:
    if own is None:
        return {}
    return {
        "batch_throughput_per_s": own.per_s,
        "batch_throughput_low_per_s": own.low_per_s,
        "batch_throughput_high_per_s": own.high_per_s,
        "batch_speedup": own.speedup,
        "batch_speedup_low": own.speedup_low,
        "batch_speedup_high": own.speedup_high,
    }


_BEST = {
    Speed.SINGLE: ("best_back_end", "best_p50{}_ms", "best_speedup"),
    Speed.P95: ("best_p95_back_end", "best_p95{}_ms", "best_p95_speedup"),
    Speed.THROUGHPUT: ("best_batch_back_end", "best_batch_throughput{}_per_s", "best_batch_speedup"),
}
"""The columns of the back end, the value and the speed-up of each kind of speed."""


def _best(timed: ModelTiming) -> dict[str, Any]:
    """Return the columns of the back ends in which the model is fastest."""
    columns: dict[str, Any] = {}
    for best in timed.best:
        back_end, value, speedup = _BEST[best.speed]
        columns |= {
            back_end: best.back_end.value,
            value.format(""): best.value,
            value.format("_low"): best.low,
            value.format("_high"): best.high,
            speedup: best.speedup,
            f"{speedup}_low": best.speedup_low,
            f"{speedup}_high": best.speedup_high,
        }
        if best.speed is Speed.SINGLE:
            names = ("eager_speedup", "eager_speedup_low", "eager_speedup_high")
            columns |= {f"best_{name}": getattr(best, name) for name in names}
    return columns


def _best_of(timed: ModelTiming) -> str | None:
    best = timed.best_at(Speed.SINGLE)
    return None if best is None else best.back_end.value


def _emulated_warning(timed: ModelTiming | None) -> str | None:
    emulated = None if timed is None else timed.back_ends[0].emulated
    if emulated is None:
        return None
    return (
        f"its weights are in {emulated}, which the processor that timed it has no instructions for: it computes in another"
        " type, and its latency says nothing of a processor that has them"
    )


def _tuning(record: Record) -> dict[str, Any]:
    if not record.tuning:
        return {}
    cpu = [tuning.tuning_cpu_s for tuning in record.tuning]
    return {
        "tuning_trials": sum(tuning.trials for tuning in record.tuning),
        "tuning_s": sum(tuning.tuning_s for tuning in record.tuning),
        "tuning_cpu_s": None if None in cpu else sum(seconds for seconds in cpu if seconds is not None),
    }


def _tuned(tuning: Tuning) -> str:
    """Return a sentence on how the parameters of a stage were found."""
    repeats = f", mean of {plural(tuning.repeats, 'seed')}" if tuning.repeats > 1 else ""
    return (
        f"Tuned: {params_text(tuning.params)}, the best of {plural(tuning.trials, 'trial')} of {tuning.strategy} on"
        f" {plural(tuning.validation_examples, 'validation example')}{repeats}: {percent(tuning.score)} there, which as"
        f" the best of several is optimistic; the defaults {percent(tuning.default_score)}."
    )


def _p50_in(timed: ModelTiming, back_end: BackEnd) -> float | None:
    """Return the median time of a call with one of the task's own sentences in `back_end`."""
    points = (part.points[0] for part in timed.back_ends if part.back_end is back_end and part.points)
    return next((point.p50_ms for point in points), None)


def _repeatability(timing: Timing) -> str | None:
    repeat = timing.repeatability
    if repeat is None:
        return None
    return (
        f"the teacher, loaded twice and timed as two models, is {ratio(repeat.ratio)} as fast as itself"
        f" [{ratio(repeat.low)}, {ratio(repeat.high)}], and its median moved by {repeat.split_half:+.1%} from the first"
        " half of the rounds to the second"
    )


def _columns_from(source: str) -> list[str]:
    return [name for figure in FIGURES.values() if figure.source == source for name in figure.columns]


def _fields(part: object | None, *names: str) -> dict[str, Any]:
    """Return these fields of `part`; None for each where the part was not measured."""
    return {name: getattr(part, name, None) for name in names}


def _revision(environment: Environment) -> str | None:
    if environment.git_revision is None:
        return None
    return f"{environment.git_revision[:12]}{' with uncommitted changes' if environment.git_dirty else ''}"


def latency_points(cells: pd.DataFrame, timings: Iterable[Timing]) -> pd.DataFrame:
    """Return one row per point, timed or skipped, of each of `cells` in its newest timing of every setting.

    For each cell, the setting of `shown_timings` comes first.
    """
    timed = timings_of_cells(timings, set(cells["key"]))
    rows = [
        {"task": task, "strategy": strategy, "seed": seed, "setting": setting_of(timing)}
        | {"back_end": part.back_end.value, "device": part.device}
        | point.model_dump(exclude={"calls_ms"})
        for task, strategy, seed, key in zip(
            cells["task"], cells["strategy"], cells["seed"], cells["key"], strict=True
        )
        for timing, model in timed.get(key, ())
        for part in model.back_ends
        for point in part.points
    ]
    return pd.DataFrame(rows, columns=list(POINT_COLUMNS)).astype(POINT_COLUMNS)

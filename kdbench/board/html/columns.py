"""What the columns of the table of rows are called on the page, and how their values read."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from kdbench.board import formatting
from kdbench.board.formatting import MISSING
from kdbench.board.frames import Row


@dataclass(frozen=True)
class Shown:
    """One column of the page's table."""

    name: str
    heading: str
    text: Callable[[Row], str]
    full_text: Callable[[Row], str]
    """With its interval, where it has one."""
    at_first: bool = False
    """Whether it is shown before the reader chooses columns."""


COSTS = {
    "p50_ms": "median latency, ms",
    "p95_ms": "95th percentile of latency, ms",
    "onnxruntime_p50_ms": "median latency in ONNX Runtime, ms",
    "total_parameters": "parameters",
    "trainable_parameters": "trained parameters",
    "artifact_bytes": "size on disk, bytes",
    "flops_per_example": "FLOPs an example",
    "training_cost_s": "training with the teacher's part, s",
    "train_s": "training, s",
}
"""What quality may be drawn against, with the name of the axis, in the order of choice."""

_HEADINGS = {
    "rank": "rank",
    "score": "score",
    "share_kept": "kept",
    "control_difference": "over control",
    "control_p": "p over control",
    "control_p_holm": "p over control by Holm",
    "gap_recovered": "gap recovered",
    "front": "front",
    "total_parameters": "parameters",
    "trainable_parameters": "trainable",
    "non_embedding_parameters": "without embeddings",
    "artifact_bytes": "size",
    "task_bytes": "one more task",
    "flops_per_example": "FLOPs an example",
    "p50_ms": "p50 ms",
    "p90_ms": "p90 ms",
    "p95_ms": "p95 ms",
    "speedup": "speed-up",
    "throughput_per_s": "a second",
    "tokenization_p50_ms": "tokenizing ms",
    "onnxruntime_p50_ms": "ONNX p50 ms",
    "onnxruntime_int8_p50_ms": "ONNX int8 p50 ms",
    "onnxruntime_int8_lost": "lost in int8",
    "train_s": "training",
    "teacher_s": "teacher's part",
    "training_cost_s": "training with teacher",
    "train_flops": "training FLOPs",
    "inference_peak_bytes": "memory to answer",
    "inference_peak_gpu_bytes": "GPU memory to answer",
    "unlabelled_examples": "unlabelled",
    "noisy_score": "score with typos",
    "noisy_drop": "lost by typos",
    "label_loyalty": "label loyalty",
    "probability_loyalty": "probability loyalty",
    "calibration_error": "calibration error",
    "brier_score": "Brier score",
    "seeds": "seeds",
}
_AT_FIRST = {
    "rank",
    "score",
    "gap_recovered",
    "front",
    "total_parameters",
    "artifact_bytes",
    "p50_ms",
    "speedup",
    "training_cost_s",
}
_ELSEWHERE = {
    "strategy",
    "task",
    "status",
    "reason",
    "metric",
    "is_teacher",
    "control",
    "warnings",
    "latency_note",
    "note",
    "seed_scores",
    "tied",
    "gap_reason",
    "flops_length",
}
"""Columns that the page shows in another way: in the row's name, its details, or another column's text."""
_INTERVALS = {
    "score": ("score_low", "score_high"),
    "control_difference": ("control_difference_low", "control_difference_high"),
    "gap_recovered": ("gap_low", "gap_high"),
    "speedup": ("speedup_low", "speedup_high"),
}
_WRITE: dict[str, Callable[[Any], str]] = {
    "score": formatting.percent,
    "share_kept": formatting.share,
    "gap_recovered": formatting.share,
    "control_difference": formatting.difference,
    "label_loyalty": formatting.share,
    "probability_loyalty": formatting.share,
    "calibration_error": formatting.share,
    "brier_score": formatting.three_digits,
    "noisy_score": formatting.percent,
    "noisy_drop": formatting.difference,
    "onnxruntime_int8_lost": formatting.difference,
    "speedup": formatting.ratio,
    "unlabelled_examples": formatting.count,
}
_BY_ENDING: dict[str, Callable[[Any], str]] = {
    "_ms": formatting.milliseconds,
    "_per_s": formatting.count,
    "_s": formatting.seconds,
    "_bytes": formatting.size,
    "_parameters": formatting.count,
    "_flops": formatting.operations,
    "flops_per_example": formatting.operations,
}


def shown_columns(names: Collection[str]) -> list[Shown]:
    """Return how the columns `names` of the table of rows are shown: known ones first, all others by their own names."""
    ends = {end for name, pair in _INTERVALS.items() if name in names for end in pair}
    others = [name for name in names if name not in {*_HEADINGS, *_ELSEWHERE, *ends}]
    known = [name for name in _HEADINGS if name in names]
    return [_shown(name, names) for name in [*known, *others]]


def _shown(name: str, names: Collection[str]) -> Shown:
    by_ending = next((write for ending, write in _BY_ENDING.items() if name.endswith(ending)), None)
    write = _WRITE.get(name) or by_ending or formatting.plain
    low, high = _INTERVALS.get(name, ("", ""))

    def text(row: Row) -> str:
        value = row[name]
        # A plugin's column may hold what its name does not promise.
        return (
            MISSING if value is None else formatting.plain(value) if isinstance(value, str) else write(value)
        )

    def full_text(row: Row) -> str:
        if row[low] is None or row[high] is None:
            return text(row)
        return f"{text(row)} [{write(row[low])}, {write(row[high])}]"

    has_interval = {low, high} <= set(names)
    return Shown(
        name=name,
        heading=_HEADINGS.get(name, name.replace("_", " ")),
        text=full_text if name == "score" and has_interval else text,
        full_text=full_text if has_interval else text,
        at_first=name in _AT_FIRST,
    )

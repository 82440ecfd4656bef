"""The columns of a task's tables for readers: what each shows, as plain text, and what it means."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kdbench.board.frames import Row
from kdbench.board.rows import has_score
from kdbench.results.records import Status
from kdbench.utils import formatting
from kdbench.utils.formatting import MISSING

WARNING_SIGN = "\N{WARNING SIGN}"


@dataclass(frozen=True)
class Column:
    """One column of a table: its heading, and the text of its cell in a row."""

    heading: str
    cell: Callable[[Row], str]
    note: str = ""
    """One sentence for who does not know the heading."""
    is_text: bool = False
    short_heading: str = ""
    """The heading in the terminal; a column without one is left out there."""
    measure: str = ""
    """The column of the table of rows that says which row is best."""
    is_least_best: bool = False


def best_rows(column: Column, rows: list[Row]) -> set[int]:
    """Return the places of the best of `rows` in `column`, and of those that read alike.

    There is none where the column has no order, or all rows read alike.
    """
    if not column.measure:
        return set()
    values = {place: row[column.measure] for place, row in enumerate(rows) if has_score(row)}
    values = {place: value for place, value in values.items() if value is not None}
    texts = {place: column.cell(rows[place]).partition(" [")[0] for place in values}
    if len(set(texts.values())) < 2:
        return set()
    best = (min if column.is_least_best else max)(values, key=lambda place: values[place])
    return {place for place, text in texts.items() if text == texts[best]}


def leading_columns() -> list[Column]:
    """Return the columns that every table of a task begins with."""
    return [
        Column(
            "rank",
            _rank,
            "rows that are not shown to differ from the best of their group share a rank, as in 2=.",
            short_heading="#",
        ),
        Column(
            "strategy",
            _name,
            f"the recipe and the parameters that differ from its defaults; {WARNING_SIGN} marks a warning below.",
            is_text=True,
            short_heading="strategy",
        ),
        Column(
            "front",
            lambda row: row["front"] or "",
            "no other row is better at no more cost: of p50 latency (L), of parameters (P), of training with the"
            " teacher's part (C); what differs by noise alone pushes nobody off.",
            short_heading="LPC",
        ),
    ]


def quality_columns(rows: pd.DataFrame, metric: str) -> list[Column]:
    """Return the columns on quality of `rows`, all of one task that is scored by `metric`."""
    statuses = dict(zip(rows["strategy"], rows["status"], strict=True))
    return [
        Column(
            metric,
            _score,
            "the score in percent, a mean over seeds, with its 95% interval for other examples and seeds alike.",
            short_heading=metric,
            measure="score",
        ),
        Column(
            "kept",
            lambda row: formatting.share(row["share_kept"]),
            "the score as a share of the teacher's.",
            short_heading="kept",
            measure="share_kept",
        ),
        Column(
            "against its control",
            lambda row: _against_control(row, statuses),
            "points above the same student trained without the idea under test, with the 95% interval.",
            is_text=True,
        ),
        Column(
            "gap recovered",
            gap_recovered,
            "(score - control) / (teacher - control) with its 95% interval, where the teacher is shown to lead the"
            " control.",
        ),
        Column("seeds", lambda row: str(row["seeds"]), "how many times it was trained and scored."),
    ]


def marked(strategy: str, *, is_teacher: bool, is_warned: bool) -> str:
    """Return a row's name with the marks of the teacher and of a warning."""
    return f"{strategy}{' (teacher)' if is_teacher else ''}{f' {WARNING_SIGN}' if is_warned else ''}"


def _rank(row: Row) -> str:
    return "" if row["rank"] is None else f"{row['rank']}{'=' if row['tied'] else ''}"


def _name(row: Row) -> str:
    return marked(row["strategy"], is_teacher=row["is_teacher"], is_warned=bool(row["warnings"]))


def _score(row: Row) -> str:
    if not has_score(row):
        return str(row["status"])
    return formatting.with_interval(row["score"], row["score_low"], row["score_high"])


def gap_recovered(row: Row) -> str:
    """Return the share of the gap with its interval, where the teacher is shown to lead the control."""
    return formatting.share_with_interval(shown_gap(row), row["gap_low"], row["gap_high"])


def shown_gap(row: Row) -> float | None:
    """Return the share of the gap, where the teacher is shown to lead the control."""
    # A share of a lead that may be none, or even the control's, would say nothing.
    return None if row["gap_reason"] else row["gap_recovered"]


def _against_control(row: Row, statuses: dict[str, str]) -> str:
    """Name the control and the difference to it, or why there is none."""
    control = row["control"]
    if not control:
        return MISSING
    if row["control_difference"] is not None:
        difference = formatting.difference_with_interval(
            row["control_difference"], row["control_difference_low"], row["control_difference_high"]
        )
        return f"{difference} ({control})"
    if control not in statuses:
        return f"{control}: not run"
    return MISSING if statuses[control] == Status.OK.value else f"{control}: {statuses[control]}"


def behaviour_columns() -> list[Column]:
    """Return the columns on what answers tell beside the score."""
    return [
        Column(
            "label loyalty",
            lambda row: formatting.share(row["label_loyalty"]),
            "how often it answers as the teacher does, right or wrong (Xu et al. 2021).",
            measure="label_loyalty",
        ),
        Column(
            "probability loyalty",
            lambda row: formatting.share(row["probability_loyalty"]),
            "how near its probabilities are to the teacher's: 100% are the same (Xu et al. 2021).",
            measure="probability_loyalty",
        ),
        Column(
            "calibration error",
            lambda row: formatting.share(row["calibration_error"]),
            "how far confidence and accuracy are apart on average (ECE of 15 bins, Guo et al. 2017); 0% is best.",
            measure="calibration_error",
            is_least_best=True,
        ),
        Column(
            "Brier",
            lambda row: formatting.three_digits(row["brier_score"]),
            "squared distance between probabilities and right answer, summed over classes: 0 is best, 2 worst.",
            measure="brier_score",
            is_least_best=True,
        ),
        Column(
            "with typing errors",
            lambda row: formatting.percent(row["noisy_score"]),
            "the score on the same texts with a tenth of the longer words mistyped; may be of fewer examples.",
            measure="noisy_score",
        ),
        Column(
            "lost by them",
            lambda row: formatting.difference(row["noisy_drop"]),
            "points by which the same examples score higher without the typing errors.",
            measure="noisy_drop",
            is_least_best=True,
        ),
    ]


def size_columns() -> list[Column]:
    """Return the columns on what the deployed model takes."""
    return [
        _least("parameters", "total_parameters", formatting.count, "of the deployed model.", "params"),
        _least(
            "without embeddings",
            "non_embedding_parameters",
            formatting.count,
            "parameters that are no word or position embedding.",
        ),
        _least(
            "trainable",
            "trainable_parameters",
            formatting.count,
            "parameters that training updated.",
        ),
        _least("size", "artifact_bytes", formatting.size, "what the saved model takes on the disk.", "size"),
        _least(
            "one more task",
            "task_bytes",
            formatting.size,
            "what a further task on the same base model adds to the disk: adapter and head where the base's weights"
            " stay as they are, else all.",
        ),
        _least(
            "one example",
            "flops_per_example",
            formatting.operations,
            "operations of the matrix products to answer one example of mean length; a multiply-add counts as two.",
        ),
        _least(
            "memory",
            "inference_peak_bytes",
            formatting.size,
            "what loading the model and answering one by one adds to the process at most.",
        ),
        _least(
            "GPU memory",
            "inference_peak_gpu_bytes",
            formatting.size,
            "the same of the GPU's memory.",
        ),
    ]


def speed_columns() -> list[Column]:
    """Return the columns on latency."""
    ms = formatting.milliseconds
    return [
        _least(
            "p50 ms", "p50_ms", ms, "the median time to answer one of the task's own sentences.", "p50 ms"
        ),
        _least("p90 ms", "p90_ms", ms, "nine of ten answers take no longer."),
        _least("p95 ms", "p95_ms", ms, "95% of the answers take no longer."),
        Column(
            "per second",
            lambda row: formatting.three_digits(row["throughput_per_s"]),
            "sentences answered in a second, one by one.",
            measure="throughput_per_s",
        ),
        Column(
            "speed-up",
            lambda row: formatting.ratio_with_interval(
                row["speedup"], row["speedup_low"], row["speedup_high"]
            ),
            "the teacher's time divided by the row's: the median over rounds, with its 95% interval.",
            measure="speedup",
        ),
        _least(
            "tokenization ms",
            "tokenization_p50_ms",
            ms,
            "the median time to turn a sentence into word pieces, which p50 leaves out.",
        ),
        _least(
            "ONNX Runtime ms", "onnxruntime_p50_ms", ms, "the p50 of the same model in ONNX Runtime, float32."
        ),
        _least(
            "ONNX int8 ms",
            "onnxruntime_int8_p50_ms",
            ms,
            "the p50 of the same model in ONNX Runtime with weights in 8-bit integers; what that loses stands beside it.",
        ),
        _least(
            "lost in int8",
            "onnxruntime_int8_lost",
            formatting.difference,
            "points by which the model itself scores higher than in 8-bit integers, on the same examples (at most"
            " 1,000).",
        ),
    ]


def cost_columns() -> list[Column]:
    """Return the columns on what obtaining the model took."""
    return [
        _least(
            "training",
            "train_s",
            formatting.seconds,
            "time in the training loop, a mean over seeds.",
            "train",
        ),
        Column(
            "teacher's part",
            lambda row: formatting.seconds(row["teacher_s"]),
            "time for the teacher's training and outputs, where the row used them; rows share that work, and each"
            " shows all of it.",
        ),
        _least(
            "training FLOPs",
            "train_flops",
            formatting.operations,
            "operations of the training steps, the teacher's not among them.",
        ),
        Column(
            "unlabelled",
            lambda row: formatting.count(row["unlabelled_examples"]),
            "distinct training examples without a label: a transfer set, or made by augmentation.",
        ),
    ]


def _least(
    heading: str,
    measure: str,
    write: Callable[[float | None], str],
    note: str,
    short_heading: str = "",
) -> Column:
    """Return a column of one measure of which less is better."""
    return Column(
        heading,
        lambda row: write(row[measure]),
        note,
        short_heading=short_heading,
        measure=measure,
        is_least_best=True,
    )


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

"""Declare the figures of a board, each once, with all that tables, pages and the documentation say about it.

A new figure is declared here and computed where it is measured; outputs find it by its group.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

from kdbench.board.frames import Row
from kdbench.utils import formatting
from kdbench.utils.formatting import MISSING

WARNING_SIGN = "\N{WARNING SIGN}"


class Group(str, Enum):
    """The table of a task's page that a figure belongs to, by its heading."""

    LEADING = "Row"
    QUALITY = "Quality"
    BEHAVIOUR = "Fidelity, calibration and typing errors"
    SIZE = "Size and compute"
    SPEED = "Speed"
    SERVING = "Serving"
    COST = "Cost to obtain"
    PLUGINS = "From plugins"


class Seeds(Enum):
    """How the figure of a row is computed from the cells of its seeds."""

    MEAN = "the mean over all seeds"
    MEAN_OF_STUDENTS = "the mean over the seeds that are not the teacher, which agrees with itself"
    TIMED = (
        "the value of the one artifact that was timed, so that size and latency describe the same artifact"
    )


@dataclass(frozen=True)
class Figure:
    """One figure of a row."""

    name: str
    """Its column in the tables, including the unit."""
    heading: str
    write: Callable[[Any], str]
    """Formats a value that is not missing."""
    note: str
    """Its meaning, to follow the heading and a colon."""
    group: Group
    dtype: str = "float64"
    is_lower_better: bool | None = None
    """None where the figure has no best value."""
    interval: tuple[str, str] | None = None
    """The columns with the bounds of its 95% interval."""
    terminal: str = ""
    """Its heading in the terminal; a figure without one is left out there."""
    axis: str = ""
    """The label of the axis where quality is plotted against it; a figure without one is not a cost."""
    is_shown_first: bool = False
    """Whether the page shows it before the reader chooses columns."""
    is_on_tasks_page: bool = True
    """Whether the Markdown page of a task shows it."""
    is_text: bool = False
    source: str = ""
    """The part of a record, or the ``point`` of a timing, that has a field of the same name."""
    seeds: Seeds | None = None
    """None where single cells do not have it."""
    is_column: bool = True
    """Whether it is a column of the tables; else it is computed when displayed."""
    read: Callable[[Row], Any] | None = None
    """Reads its value from a row, where that is not the column's."""
    tell: Callable[[Row], str] | None = None
    """Formats it from a whole row, where `write` and the value alone cannot."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Its columns in the tables: the value and the bounds of the interval."""
        return (self.name, *(self.interval or ())) if self.is_column else ()

    @property
    def cell_columns(self) -> tuple[str, ...]:
        """Those that single cells have, too: the intervals of diagnostics are those of rows."""
        if self.seeds is None:
            return ()
        return self.columns[:1] if self.group is Group.BEHAVIOUR else self.columns

    def value(self, row: Row) -> Any:
        """Return the value in `row`; None where it is missing."""
        return self.read(row) if self.read else row.get(self.name)

    def text(self, row: Row, *, is_brief: bool = False) -> str:
        """Return the text in `row`, with the interval if there is one, unless `is_brief`."""
        if self.tell is not None:
            return self.tell(row)
        value = self.value(row)
        if value is None or isinstance(value, str):  # a plugin's column may hold anything
            return value or MISSING
        low, high = (row.get(end) for end in self.interval or ("", ""))
        if is_brief or low is None or high is None:
            return self.write(value)
        return f"{self.write(value)} [{self.write(low)}, {self.write(high)}]"


def marked(strategy: str, *, is_teacher: bool, is_warned: bool) -> str:
    """Return a row's name with the marks of the teacher and of a warning."""
    return f"{strategy}{' (teacher)' if is_teacher else ''}{f' {WARNING_SIGN}' if is_warned else ''}"


def _rank(row: Row) -> str:
    if row["rank"] is None:
        return ""
    return f"{row['rank']}-{row['rank_high']}" if row["tied"] else str(row["rank"])


def _strategy(row: Row) -> str:
    return marked(row["strategy"], is_teacher=row["is_teacher"], is_warned=bool(row["warnings"]))


def _score(row: Row) -> str:
    if row["score"] is None:
        return str(row["status"])
    return formatting.with_interval(row["score"], row["score_low"], row["score_high"])


def _gap_recovered(row: Row) -> float | None:
    # A share of a lead that may be zero or negative would be meaningless.
    return None if row["gap_reason"] else row["gap_recovered"]


def training_cost(row: Row) -> float | None:
    """Return the processor seconds of the training with the teacher's part; where they were not measured, the seconds."""
    cpu, wall = (
        [row.get(name) for name in names]
        for names in (("train_cpu_s", "teacher_cpu_s"), ("train_s", "teacher_s"))
    )
    parts = wall if None in cpu else cpu
    return None if None in parts else sum(part for part in parts if part is not None)


def _source_difference(row: Row) -> str:
    if row["source_difference"] is None:
        return MISSING
    ends = (row["source_difference"], row["source_difference_low"], row["source_difference_high"])
    remark = ", no loss" if row["no_loss"] else ""
    return f"{formatting.with_interval(*ends, formatting.difference)} ({row['derived_from']}){remark}"


def _cold_start(row: Row) -> str:
    if row["cold_start_s"] is None:
        return MISSING
    ends = row["cold_start_shortest_s"], row["cold_start_longest_s"]
    return f"{formatting.seconds(row['cold_start_s'])} ({' to '.join(map(formatting.seconds, ends))})"


def _whole_percent(share: float) -> str:
    return f"{round(100 * share)}%"


_leading = partial(Figure, group=Group.LEADING, is_shown_first=True)
_quality = partial(Figure, group=Group.QUALITY)
_behaviour = partial(Figure, group=Group.BEHAVIOUR, seeds=Seeds.MEAN)
_compute = partial(
    Figure, group=Group.SIZE, source="compute", dtype="Int64", is_lower_better=True, seeds=Seeds.TIMED
)
_size = partial(_compute, source="size")
_speed = partial(Figure, group=Group.SPEED, is_lower_better=True, seeds=Seeds.TIMED)
_point = partial(_speed, source="point")
_serving = partial(_speed, group=Group.SERVING)
_training = partial(Figure, group=Group.COST, seeds=Seeds.MEAN)
_cost = partial(Figure, group=Group.COST, source="cost", seeds=Seeds.MEAN)

_DECLARED = (
    _leading(
        "rank",
        "rank",
        str,
        "the ranks that the tests leave open, as in 3-17: with 95% confidence they hold for all rows of the task at once.",
        dtype="Int64",
        terminal="#",
        is_lower_better=True,
        tell=_rank,
    ),
    _leading(
        "strategy",
        "strategy",
        str,
        f"the recipe and the parameters that differ from its defaults; {WARNING_SIGN} marks a warning below.",
        dtype="object",
        terminal="strategy",
        is_text=True,
        tell=_strategy,
    ),
    _leading(
        "front",
        "front",
        str,
        "no other row is better at no more cost, in p50 latency (L), in parameters (P), in training with the teacher's"
        " part (C); a small letter: it may be, but noise leaves it open (0.5% to 99.5%).",
        dtype="object",
        terminal="LPC",
        tell=lambda row: row["front"] or "",
    ),
    _quality(
        "score",
        "score",
        formatting.percent,
        "the score in percent, a mean over seeds, with its 95% interval over examples and seeds.",
        interval=("score_low", "score_high"),
        is_lower_better=False,
        terminal="score",
        is_shown_first=True,
        seeds=Seeds.MEAN,
        tell=_score,
    ),
    _quality(
        "share_kept",
        "retained",
        formatting.share,
        "the score as a share of the teacher's, with its 95% interval.",
        interval=("share_kept_low", "share_kept_high"),
        is_lower_better=False,
        terminal="retained",
    ),
    _quality(
        "control_difference",
        "vs. control",
        formatting.difference,
        "points above the same student trained without the idea under test; with 95% the intervals of all these differences"
        " hold at once.",
        interval=("control_difference_low", "control_difference_high"),
        is_text=True,
    ),
    _quality(
        "base_difference",
        "vs. control from base",
        formatting.difference,
        "points above that control started from the base model instead of the teacher's layers: what one would have without"
        " a teacher; with the interval of the same family.",
        interval=("base_difference_low", "base_difference_high"),
    ),
    _quality(
        "source_difference",
        "vs. source",
        formatting.difference,
        'points above the row that it was made from, over the seeds that both have, with the interval of the same family; "no'
        ' loss": shown to differ by less than the margin (two one-sided tests at 5%, Holm-corrected over the derived rows).',
        interval=("source_difference_low", "source_difference_high"),
        is_text=True,
        tell=_source_difference,
    ),
    _quality(
        "control_p",
        "p vs. control",
        formatting.plain,
        "of the difference from the control, uncorrected.",
        is_on_tasks_page=False,
    ),
    _quality(
        "control_p_holm",
        "p vs. control (Holm)",
        formatting.plain,
        "the same, Holm-corrected over the differences from controls and sources on the page.",
        is_on_tasks_page=False,
    ),
    _quality(
        "gap_recovered",
        "gap recovered",
        _whole_percent,
        "(score - control) / (teacher - control) with its 95% interval, where the teacher leads the control"
        " significantly.",
        interval=("gap_low", "gap_high"),
        terminal="gap",
        is_shown_first=True,
        read=_gap_recovered,
    ),
    _quality("seeds", "seeds", str, "how many times it was trained and scored.", dtype="int64"),
    _behaviour(
        "label_loyalty",
        "label loyalty",
        formatting.share,
        "how often it predicts the same label as the teacher of its seed, right or wrong (Xu et al. 2021).",
        interval=("label_loyalty_low", "label_loyalty_high"),
        is_lower_better=False,
        seeds=Seeds.MEAN_OF_STUDENTS,
    ),
    _behaviour(
        "probability_loyalty",
        "probability loyalty",
        formatting.share,
        "how close its probabilities are to the teacher's; 100% means identical (Xu et al. 2021).",
        interval=("probability_loyalty_low", "probability_loyalty_high"),
        is_lower_better=False,
        seeds=Seeds.MEAN_OF_STUDENTS,
    ),
    _behaviour(
        "calibration_error",
        "calibration error",
        formatting.share,
        "the root mean squared gap between confidence and accuracy, in 15 bins of equal size, debiased (Kumar et al. 2019); 0%"
        " is best.",
        interval=("calibration_error_low", "calibration_error_high"),
        is_lower_better=True,
    ),
    _behaviour(
        "brier_score",
        "Brier score",
        formatting.three_digits,
        "squared distance between probabilities and label, summed over classes: 0 is best, 2 worst.",
        interval=("brier_score_low", "brier_score_high"),
        is_lower_better=True,
    ),
    _behaviour(
        "negative_log_likelihood",
        "NLL",
        formatting.three_digits,
        "the mean of -log of the right label's probability, in nats; 0 is best.",
        interval=("negative_log_likelihood_low", "negative_log_likelihood_high"),
        is_lower_better=True,
    ),
    _behaviour(
        "noisy_score",
        "score with typos",
        formatting.percent,
        "the score on the same texts with a tenth of the longer words mistyped; may be over fewer examples.",
        interval=("noisy_score_low", "noisy_score_high"),
        is_lower_better=False,
        source="quality",
    ),
    _behaviour(
        "noisy_drop",
        "lost to typos",
        formatting.difference,
        "points by which the same examples score higher without typing errors.",
        interval=("noisy_drop_low", "noisy_drop_high"),
        is_lower_better=True,
        source="quality",
    ),
    _size(
        "total_parameters",
        "parameters",
        formatting.count,
        "of the deployed model.",
        terminal="params",
        axis="parameters",
        is_shown_first=True,
    ),
    _size(
        "non_embedding_parameters",
        "non-embedding",
        formatting.count,
        "parameters other than word and position embeddings.",
    ),
    _size(
        "trainable_parameters",
        "trainable",
        formatting.count,
        "parameters that training updated.",
        axis="trained parameters",
    ),
    _size(
        "artifact_bytes",
        "size",
        formatting.size,
        "the size of the saved model on disk.",
        terminal="size",
        axis="size on disk, bytes",
        is_shown_first=True,
    ),
    _size(
        "task_bytes",
        "size per further task",
        formatting.size,
        "what a further task on the same base model adds on disk: adapter and head where the base's weights are frozen,"
        " else the whole model.",
    ),
    _compute(
        "flops_per_example",
        "FLOPs per example",
        formatting.operations,
        "operations of the matrix products for one example of mean length; a multiply-add counts as two.",
        axis="FLOPs per example",
    ),
    _compute(
        "flops_length",
        "length for FLOPs",
        str,
        "the length of that example in word pieces.",
        is_lower_better=None,
        is_on_tasks_page=False,
    ),
    _compute(
        "inference_peak_bytes",
        "peak memory",
        formatting.size,
        "the most memory that loading the model and answering examples one by one adds to the process.",
    ),
    _compute("inference_peak_gpu_bytes", "peak GPU memory", formatting.size, "the same for GPU memory."),
    _speed(
        "back_end",
        "back end",
        str,
        "the one that the artifact is made for; p50, p90, p95 and speed-ups before *best back end* are in it.",
        dtype="object",
        is_lower_better=None,
        is_text=True,
    ),
    _point(
        "p50_ms",
        "p50 ms",
        formatting.milliseconds,
        "the median time to answer one of the task's own sentences, with its 95% interval over processes and sentences.",
        interval=("p50_low_ms", "p50_high_ms"),
        terminal="p50 ms",
        axis="p50 latency, ms",
        is_shown_first=True,
    ),
    _point("p90_ms", "p90 ms", formatting.milliseconds, "90% of the answers take no longer."),
    _point(
        "p95_ms",
        "p95 ms",
        formatting.milliseconds,
        "95% of the answers take no longer, with the 95% interval.",
        interval=("p95_low_ms", "p95_high_ms"),
        axis="p95 latency, ms",
    ),
    _point(
        "throughput_per_s",
        "examples per second",
        formatting.three_digits,
        "sentences answered per second, one by one.",
        is_lower_better=False,
    ),
    _point(
        "speedup",
        "speed-up",
        formatting.ratio,
        "the teacher's time divided by the row's, both in the row's runtime: the median over rounds, with its 95%"
        " interval. What runs in 8-bit integers is compared with the teacher's float32 graph in ONNX Runtime.",
        interval=("speedup_low", "speedup_high"),
        is_lower_better=False,
        terminal="speed",
        is_shown_first=True,
    ),
    _point(
        "p95_speedup",
        "speed-up at p95",
        formatting.ratio,
        "the same of the two p95.",
        interval=("p95_speedup_low", "p95_speedup_high"),
        is_lower_better=False,
    ),
    _speed(
        "batch_throughput_per_s",
        "per second in batches",
        formatting.three_digits,
        "sentences answered per second on all cores, in batches of real sentences padded to the longest, of the best size.",
        interval=("batch_throughput_low_per_s", "batch_throughput_high_per_s"),
        is_lower_better=False,
    ),
    _speed(
        "batch_speedup",
        "speed-up in batches",
        formatting.ratio,
        "the row's sentences per second in batches, divided by the teacher's in the same runtime.",
        interval=("batch_speedup_low", "batch_speedup_high"),
        is_lower_better=False,
    ),
    _speed(
        "best_back_end",
        "best back end",
        str,
        "the one with the lowest p50 of those that give the row's own answers; exports in 8-bit integers answer"
        " differently and are rows of their own (`...+int8`).",
        dtype="object",
        is_lower_better=None,
        is_text=True,
    ),
    _speed(
        "best_p50_ms",
        "best p50 ms",
        formatting.milliseconds,
        "the p50 in the best back end.",
        interval=("best_p50_low_ms", "best_p50_high_ms"),
        axis="p50 latency in the best back end, ms",
    ),
    _speed(
        "best_speedup",
        "speed-up in best back ends",
        formatting.ratio,
        "the teacher's time in its best back end divided by the row's in its own.",
        interval=("best_speedup_low", "best_speedup_high"),
        is_lower_better=False,
    ),
    _speed(
        "best_eager_speedup",
        "over PyTorch",
        formatting.ratio,
        "the teacher's time in PyTorch's eager mode divided by the row's in its best back end: the gain of the method times"
        " that of the runtime.",
        interval=("best_eager_speedup_low", "best_eager_speedup_high"),
        is_lower_better=False,
    ),
    _speed(
        "best_p95_back_end",
        "best back end at p95",
        str,
        "the one with the lowest p95.",
        dtype="object",
        is_lower_better=None,
        is_text=True,
        is_on_tasks_page=False,
    ),
    _speed(
        "best_p95_ms",
        "best p95 ms",
        formatting.milliseconds,
        "the p95 there.",
        interval=("best_p95_low_ms", "best_p95_high_ms"),
        is_on_tasks_page=False,
    ),
    _speed(
        "best_p95_speedup",
        "speed-up in best back ends at p95",
        formatting.ratio,
        "the teacher's p95 in its best back end divided by the row's.",
        interval=("best_p95_speedup_low", "best_p95_speedup_high"),
        is_lower_better=False,
        is_on_tasks_page=False,
    ),
    _speed(
        "best_batch_back_end",
        "best back end in batches",
        str,
        "the one with the most sentences per second in batches.",
        dtype="object",
        is_lower_better=None,
        is_text=True,
        is_on_tasks_page=False,
    ),
    _speed(
        "best_batch_throughput_per_s",
        "best per second in batches",
        formatting.three_digits,
        "the sentences per second there.",
        interval=("best_batch_throughput_low_per_s", "best_batch_throughput_high_per_s"),
        is_lower_better=False,
        is_on_tasks_page=False,
    ),
    _speed(
        "best_batch_speedup",
        "speed-up in best back ends in batches",
        formatting.ratio,
        "the row's sentences per second there, divided by the teacher's in its best back end.",
        interval=("best_batch_speedup_low", "best_batch_speedup_high"),
        is_lower_better=False,
        is_on_tasks_page=False,
    ),
    _speed(
        "tokenization_p50_ms",
        "tokenization ms",
        formatting.milliseconds,
        "the median time to tokenize a sentence, which p50 does not include.",
    ),
    _speed(
        "onnxruntime_p50_ms",
        "ONNX Runtime ms",
        formatting.milliseconds,
        "the p50 of the same model in ONNX Runtime, float32.",
        axis="p50 latency in ONNX Runtime, ms",
    ),
    _speed(
        "onnxruntime_int8_p50_ms",
        "ONNX int8 ms",
        formatting.milliseconds,
        "the p50 of the same model in ONNX Runtime with weights in 8-bit integers; the lost score is the next figure.",
    ),
    _speed(
        "onnxruntime_int8_lost",
        "lost in int8",
        formatting.difference,
        "points by which the model itself scores higher than in 8-bit integers, on the same examples (at most 1,000).",
    ),
    _training(
        "passes",
        "passes",
        formatting.plain,
        "training rows seen, counting repeats, per labelled training example.",
    ),
    _training(
        "last_gain",
        "last gain",
        formatting.difference,
        "points by which the last validation exceeds the best one before; a row is marked as not converged where that is more"
        " than the standard error of a share of the validation examples.",
    ),
    _cost(
        "train_s",
        "training",
        formatting.seconds,
        "time in the training loop, the mean over seeds.",
        is_lower_better=True,
        terminal="train",
        axis="training, s",
    ),
    _cost(
        "teacher_s",
        "teacher's part",
        formatting.seconds,
        "time for the teacher's training and outputs, where the row used them; rows share this work, and each reports"
        " all of it.",
    ),
    _cost(
        "training_cost_s",
        "training with teacher",
        formatting.seconds,
        "processor seconds of both; where they were not measured, the sum of the two.",
        is_lower_better=True,
        axis="training with the teacher's part, s",
        is_shown_first=True,
        is_on_tasks_page=False,
        is_column=False,
        source="",
        seeds=None,
        read=training_cost,
    ),
    _cost(
        "train_cpu_s",
        "training, CPU",
        formatting.seconds,
        "processor seconds of the training loop, in which what else ran on the machine shows less.",
        is_lower_better=True,
        axis="training, CPU s",
    ),
    _cost(
        "teacher_cpu_s", "teacher's part, CPU", formatting.seconds, "processor seconds of the teacher's part."
    ),
    _cost(
        "total_s",
        "fitting",
        formatting.seconds,
        "time from loading to saving: training, merging, cutting, quantizing.",
        is_on_tasks_page=False,
    ),
    _cost(
        "total_cpu_s",
        "fitting, CPU",
        formatting.seconds,
        "the same in processor seconds.",
        is_on_tasks_page=False,
    ),
    _training(
        "tuning_s",
        "tuning",
        formatting.seconds,
        "seconds of all trials that the row's parameters were searched in, once for all seeds and without the teacher's"
        " training; not part of the training.",
    ),
    _training(
        "tuning_trials",
        "tuning trials",
        str,
        "how many settings were tried, each trained like a row.",
        dtype="Int64",
    ),
    _training(
        "tuning_cpu_s",
        "tuning, CPU",
        formatting.seconds,
        "processor seconds of the trials.",
        is_on_tasks_page=False,
    ),
    _speed(
        "export_s",
        "export",
        formatting.seconds,
        "time to export the model to its best back end.",
        group=Group.COST,
    ),
    _training(
        "obtain_s",
        "cost to obtain",
        formatting.seconds,
        "fitting, the teacher's part, tuning, and the export to the best back end; in processor seconds, where they were"
        " measured.",
        is_lower_better=True,
        seeds=None,
    ),
    _training(
        "break_even_calls",
        "break-even calls",
        formatting.count,
        "calls of one sentence after which a row that is faster than the teacher, each in its best back end, has saved what"
        " it cost more to obtain.",
        is_lower_better=True,
        seeds=None,
    ),
    _cost(
        "train_flops",
        "training FLOPs",
        formatting.operations,
        "operations of the training steps, without the teacher's.",
        dtype="Float64",
        is_lower_better=True,
    ),
    _cost(
        "unlabelled_examples",
        "unlabelled examples",
        formatting.count,
        "distinct training examples without a label, from a transfer set or augmentation.",
        dtype="Int64",
    ),
    _behaviour(
        "aurc",
        "AURC",
        formatting.share,
        "the area under the risk-coverage curve: the share of wrong answers among the most confident, averaged over all"
        " numbers of these, for a model that abstains where it is least sure (Geifman et al. 2019); 0% is best.",
        is_lower_better=True,
    ),
    _behaviour(
        "risk_at_coverage",
        "errors at 80% coverage",
        formatting.share,
        "the share of wrong answers where the model abstains on the fifth of answers that it is least sure of.",
        is_lower_better=True,
    ),
    _speed(
        "torch_compile_p50_ms",
        "compiled ms",
        formatting.milliseconds,
        "the p50 of the same model compiled by torch.compile.",
    ),
    _speed(
        "openvino_p50_ms",
        "OpenVINO ms",
        formatting.milliseconds,
        "the p50 of the same model in OpenVINO, float32.",
    ),
    _speed(
        "joules_per_1000",
        "joules per 1,000",
        formatting.three_digits,
        "what the energy counter of all processor packages (of the GPU, for a row that runs on one) advanced by for 1,000"
        " sentences, in batches of 32 on all cores, in the row's own back end; idle power is not subtracted.",
    ),
    _speed(
        "idle_w",
        "idle watts",
        formatting.three_digits,
        "the mean power by the same counter with the models loaded and nothing running.",
        is_lower_better=None,
    ),
    _serving(
        "end_to_end_p50_ms",
        "end to end p50 ms",
        formatting.milliseconds,
        "the median time from one text to its decoded answer, tokenization included, as `kdbench.load` answers it, one"
        " request after the other; with its 95% interval over processes.",
        interval=("end_to_end_p50_low_ms", "end_to_end_p50_high_ms"),
    ),
    _serving(
        "end_to_end_p95_ms",
        "end to end p95 ms",
        formatting.milliseconds,
        "95% of these answers take no longer.",
        interval=("end_to_end_p95_low_ms", "end_to_end_p95_high_ms"),
    ),
    _serving(
        "cold_start_s",
        "cold start",
        formatting.seconds,
        "from the start of a fresh process to its first answer, its files in the system's cache: the median over processes,"
        " with the shortest and the longest.",
        tell=_cold_start,
    ),
    _serving(
        "cold_start_shortest_s",
        "shortest cold start",
        formatting.seconds,
        "that of the process that was fastest.",
        is_on_tasks_page=False,
    ),
    _serving(
        "cold_start_longest_s",
        "longest cold start",
        formatting.seconds,
        "that of the process that was slowest.",
        is_on_tasks_page=False,
    ),
    _serving(
        "imports_s",
        "of it imports",
        formatting.seconds,
        "starting Python and importing libraries, all that `kdbench.load` needs, torch among them in any back end.",
    ),
    _serving(
        "loading_s", "of it loading", formatting.seconds, "loading the model's weights and its tokenizer."
    ),
    _serving(
        "loading_peak_bytes",
        "memory while starting",
        formatting.size,
        "the most memory of that process, libraries included, until the first answer (resident set, median over processes).",
    ),
    _serving(
        "rest_bytes", "memory at rest", formatting.size, "the memory of that process after the first answer."
    ),
    _serving(
        "batch_peak_bytes",
        "memory at 32 x 128",
        formatting.size,
        "the most memory while it answers a batch of 32 texts of 128 word pieces, or as many as the model reads.",
    ),
)

FIGURES = {figure.name: figure for figure in _DECLARED}
"""By name, in the order of display."""


def figures_of(*groups: Group) -> list[Figure]:
    """Return the figures of `groups`, in the order of display."""
    return [figure for figure in FIGURES.values() if figure.group in groups]


def best_rows(figure: Figure, rows: list[Row]) -> set[int]:
    """Return the indices of the best of `rows` by `figure`, including rows with the same text.

    The set is empty where the figure has no best value, or all rows have the same text.
    """
    if figure.is_lower_better is None or figure.group is Group.LEADING:
        return set()
    values = {place: value for place, row in enumerate(rows) if (value := figure.value(row)) is not None}
    texts = {place: figure.write(value) for place, value in values.items()}
    if len(set(texts.values())) < 2:
        return set()
    best = (min if figure.is_lower_better else max)(values, key=lambda place: values[place])
    return {place for place, text in texts.items() if text == texts[best]}


def plugin_figure(name: str) -> Figure:
    """Return the figure of a plugin's column, of which only the name is known."""
    return Figure(name, name, formatting.plain, "", Group.PLUGINS)

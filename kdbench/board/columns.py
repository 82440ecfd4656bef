"""Define the order and types of the tables' columns.

Written files keep this order; figures that are declared later are appended automatically.
"""

from __future__ import annotations

from kdbench.board.figures import FIGURES

_ROWS = """
rank strategy task status reason metric score score_low score_high seeds total_parameters trainable_parameters
artifact_bytes p50_ms p95_ms speedup train_s teacher_s share_kept is_teacher control control_difference warnings
latency_note gap_recovered task_bytes unlabelled_examples note p90_ms speedup_low speedup_high tied seed_scores
control_difference_low control_difference_high control_p control_p_holm gap_low gap_high gap_reason front label_loyalty
probability_loyalty calibration_error brier_score noisy_score noisy_drop non_embedding_parameters flops_per_example
flops_length inference_peak_bytes inference_peak_gpu_bytes train_flops throughput_per_s tokenization_p50_ms
onnxruntime_p50_ms onnxruntime_int8_p50_ms onnxruntime_int8_lost base_control base_difference
base_difference_low base_difference_high passes last_gain tuning_s tuning_trials
derived_from no_loss rank_high front_latency front_parameters front_cost emulated
"""
_CELLS = """
task strategy seed key status reason metric labels score score_low score_high is_teacher control uses_teacher warnings
total_parameters trainable_parameters artifact_bytes task_bytes unlabelled_examples note train_s teacher_s p50_ms p95_ms
speedup p90_ms speedup_low speedup_high latency_setting latency_rounds latency_warning task_title source scored_split
fingerprint train_examples validation_examples scored_examples majority_score model weights_sha256 given_teacher kind
validation_split duplicates too_long_share licence citation budget steps batch_size teacher_factor max_length hardware
software revision non_embedding_parameters flops_per_example flops_length inference_peak_bytes inference_peak_gpu_bytes
train_flops noisy_score noisy_drop label_loyalty probability_loyalty calibration_error brier_score throughput_per_s
tokenization_p50_ms onnxruntime_p50_ms onnxruntime_int8_p50_ms latency_repeat latency_busy_share finished_at
onnxruntime_int8_lost latency_hardware latency_runtimes latency_unsteady_after base_control passes
last_gain tuning_s tuning_trials derived_from near_duplicates emulated latency_processes energy_reason
"""
_CELLS_IN_CSV = """
task strategy seed key status reason metric score score_low score_high is_teacher control warnings total_parameters
trainable_parameters non_embedding_parameters artifact_bytes task_bytes flops_per_example flops_length
inference_peak_bytes inference_peak_gpu_bytes train_s teacher_s train_flops unlabelled_examples label_loyalty
probability_loyalty calibration_error brier_score noisy_score noisy_drop p50_ms p90_ms p95_ms speedup speedup_low
speedup_high throughput_per_s tokenization_p50_ms onnxruntime_p50_ms onnxruntime_int8_p50_ms latency_setting hardware
finished_at onnxruntime_int8_lost passes last_gain tuning_s tuning_trials
"""
_POINTS = """
task strategy seed back_end device batch_size length calls p50_ms p90_ms p95_ms p99_ms throughput_per_s speedup
speedup_low speedup_high reason setting threads p50_low_ms p50_high_ms p95_low_ms p95_high_ms throughput_low_per_s
throughput_high_per_s p95_speedup p95_speedup_low p95_speedup_high eager_speedup eager_speedup_low eager_speedup_high
"""
_LOADS = """
task strategy seed back_end load rate_per_s clients requests utilization is_beyond_capacity p50_ms p50_low_ms p50_high_ms
p95_ms p95_low_ms p95_high_ms p99_ms per_s low_per_s high_per_s reason setting warning
"""
_ACROSS = """
strategy tasks average_rank interquartile_mean interquartile_mean_low interquartile_mean_high missing not_normalized
worst_task worst_normalized copy_of
"""
_LABELS = """
task strategy labels validation_examples steps batch_size metric seeds status score score_low score_high is_teacher
"""
_CROSSINGS = """
task strategy other relation differences told_apart verdict leader crossing crossing_low crossing_high share changes
"""
_ANSWERS = """
task labels file sha256 metric train_examples answers forms labelled unlabelled unlabelled_examples further agreement
entropy_bits refused held_out
"""
_WORTH = """
task strategy control labels seeds answers score difference difference_low difference_high equivalent_labels
equivalent_labels_low equivalent_labels_high labels_per_answer labels_per_answer_low labels_per_answer_high reached fewest
most price price_per_point reached_low reached_high
"""
_CURVES = "task strategy seed loop step examples train_flops score"
_TYPES = {
    "seed": "int64",
    "is_teacher": "bool",
    "uses_teacher": "bool",
    "tied": "boolean",
    "no_loss": "boolean",
    "rank_high": "Int64",
    "front_latency": "float64",
    "front_parameters": "float64",
    "front_cost": "float64",
    "train_examples": "int64",
    "validation_examples": "int64",
    "scored_examples": "int64",
    "majority_score": "float64",
    "duplicates": "Int64",
    "near_duplicates": "Int64",
    "too_long_share": "Float64",
    "steps": "Int64",
    "batch_size": "Int64",
    "teacher_factor": "float64",
    "max_length": "int64",
    "latency_rounds": "Int64",
    "latency_processes": "Int64",
    "threads": "int64",
    "throughput_low_per_s": "float64",
    "throughput_high_per_s": "float64",
    "eager_speedup": "float64",
    "eager_speedup_low": "float64",
    "eager_speedup_high": "float64",
    "latency_busy_share": "float64",
    "latency_unsteady_after": "Int64",
    "length": "Int64",
    "calls": "int64",
    "p99_ms": "float64",
    "tasks": "int64",
    "average_rank": "float64",
    "worst_normalized": "float64",
    "crossing": "float64",
    "crossing_low": "float64",
    "crossing_high": "float64",
    "share": "float64",
    "changes": "int64",
    "loop": "int64",
    "step": "int64",
    "examples": "Int64",
    "interquartile_mean": "float64",
    "interquartile_mean_low": "float64",
    "interquartile_mean_high": "float64",
} | {column: figure.dtype for figure in FIGURES.values() for column in figure.columns}


_OF_ROWS = [column for figure in FIGURES.values() for column in figure.columns]
_OF_CELLS = [column for figure in FIGURES.values() for column in figure.cell_columns]


def _typed(order: str, figures: list[str] | None = None) -> dict[str, str]:
    """Return the type of each column in `order`, then of each of `figures` that it does not name."""
    return {name: _TYPES.get(name, "object") for name in [*order.split(), *(figures or [])]}


ROW_COLUMNS = _typed(_ROWS, _OF_ROWS)
"""The columns of the table of rows, which are those of ``<task>.csv``."""
CELL_COLUMNS = _typed(_CELLS, _OF_CELLS)
"""The columns of the table of cells: names include units, scores are fractions."""
CSV_CELL_COLUMNS = tuple(_typed(_CELLS_IN_CSV, _OF_CELLS))
"""The columns of ``cells.csv``."""
POINT_COLUMNS = _typed(_POINTS) | {"batch_size": "int64"}
"""The columns of the table of latencies; a missing length means that the sentences are the task's own."""
LOAD_COLUMNS = _typed(_LOADS) | {
    **dict.fromkeys(("rate_per_s", "utilization", "per_s", "low_per_s", "high_per_s"), "float64"),
    "clients": "Int64",
    "requests": "int64",
    "is_beyond_capacity": "boolean",
}
"""The columns of the table of loads, which are those of ``serving.csv``."""
ACROSS_COLUMNS = _typed(_ACROSS)
"""The columns of the table over all tasks; columns are only ever appended."""
LABEL_COLUMNS = _typed(_LABELS) | {"labels": "int64", "seeds": "int64"}
"""The columns of the table of scores by label count, which are those of ``labels.csv``."""
CROSSING_COLUMNS = _typed(_CROSSINGS)
"""The columns of the table of crossings, which are those of ``crossings.csv``."""
ANSWER_COLUMNS = _typed(_ANSWERS) | dict.fromkeys(("agreement", "entropy_bits"), "float64")
"""The columns of the table of files of answers, which are those of ``answers.csv``."""
WORTH_COLUMNS = _typed(_WORTH) | {
    **dict.fromkeys(_WORTH.split()[5:16], "float64"),
    **dict.fromkeys(("price", "price_per_point"), "float64"),
    **dict.fromkeys(("reached", "reached_low", "reached_high"), "boolean"),
    **dict.fromkeys(("fewest", "most"), "Int64"),
    **dict.fromkeys(("labels", "seeds"), "int64"),
}
"""The columns of the table of what answers were worth, which are those of ``answers-worth.csv``."""
CURVE_COLUMNS = _typed(_CURVES)
"""The columns of the table of validations, which are those of ``curves.csv``."""

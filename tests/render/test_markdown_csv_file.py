import io

import pandas as pd
from helpers.boards import tables_without_predictions
from helpers.support import make_record, make_timing

from kdbench.render.markdown import csv_text
from kdbench.results.records import Status

# What somebody's script may read: never renamed, never moved, only added to.
COLUMNS = [
    "rank",
    "strategy",
    "task",
    "status",
    "reason",
    "metric",
    "score",
    "score_low",
    "score_high",
    "seeds",
    "total_parameters",
    "trainable_parameters",
    "artifact_bytes",
    "p50_ms",
    "p95_ms",
    "speedup",
    "train_s",
    "teacher_s",
    "share_kept",
    "is_teacher",
    "control",
    "control_difference",
    "warnings",
    "latency_note",
    "gap_recovered",
    "task_bytes",
    "unlabelled_examples",
    "note",
    "p90_ms",
    "speedup_low",
    "speedup_high",
    "tied",
    "seed_scores",
    "control_difference_low",
    "control_difference_high",
    "control_p",
    "control_p_holm",
    "gap_low",
    "gap_high",
    "gap_reason",
    "front",
    "label_loyalty",
    "probability_loyalty",
    "calibration_error",
    "brier_score",
    "noisy_score",
    "noisy_drop",
    "non_embedding_parameters",
    "flops_per_example",
    "flops_length",
    "inference_peak_bytes",
    "inference_peak_gpu_bytes",
    "train_flops",
    "throughput_per_s",
    "tokenization_p50_ms",
    "onnxruntime_p50_ms",
    "onnxruntime_int8_p50_ms",
    "onnxruntime_int8_lost",
    "base_control",
    "base_difference",
    "base_difference_low",
    "base_difference_high",
    "passes",
    "last_gain",
    "tuning_s",
    "tuning_trials",
    "derived_from",
    "no_loss",
    "rank_high",
    "front_latency",
    "front_parameters",
    "front_cost",
    "emulated",
    "share_kept_low",
    "share_kept_high",
    "source_difference",
    "source_difference_low",
    "source_difference_high",
    "label_loyalty_low",
    "label_loyalty_high",
    "probability_loyalty_low",
    "probability_loyalty_high",
    "calibration_error_low",
    "calibration_error_high",
    "brier_score_low",
    "brier_score_high",
    "negative_log_likelihood",
    "negative_log_likelihood_low",
    "negative_log_likelihood_high",
    "noisy_score_low",
    "noisy_score_high",
    "noisy_drop_low",
    "noisy_drop_high",
    "back_end",
    "p50_low_ms",
    "p50_high_ms",
    "p95_low_ms",
    "p95_high_ms",
    "p95_speedup",
    "p95_speedup_low",
    "p95_speedup_high",
    "batch_throughput_per_s",
    "batch_throughput_low_per_s",
    "batch_throughput_high_per_s",
    "batch_speedup",
    "batch_speedup_low",
    "batch_speedup_high",
    "best_back_end",
    "best_p50_ms",
    "best_p50_low_ms",
    "best_p50_high_ms",
    "best_speedup",
    "best_speedup_low",
    "best_speedup_high",
    "best_eager_speedup",
    "best_eager_speedup_low",
    "best_eager_speedup_high",
    "best_p95_back_end",
    "best_p95_ms",
    "best_p95_low_ms",
    "best_p95_high_ms",
    "best_p95_speedup",
    "best_p95_speedup_low",
    "best_p95_speedup_high",
    "best_batch_back_end",
    "best_batch_throughput_per_s",
    "best_batch_throughput_low_per_s",
    "best_batch_throughput_high_per_s",
    "best_batch_speedup",
    "best_batch_speedup_low",
    "best_batch_speedup_high",
    "train_cpu_s",
    "teacher_cpu_s",
    "total_s",
    "total_cpu_s",
    "tuning_cpu_s",
    "export_s",
    "obtain_s",
    "break_even_calls",
    "aurc",
    "risk_at_coverage",
    "torch_compile_p50_ms",
    "openvino_p50_ms",
    "joules_per_1000",
    "idle_w",
    "end_to_end_p50_ms",
    "end_to_end_p50_low_ms",
    "end_to_end_p50_high_ms",
    "end_to_end_p95_ms",
    "end_to_end_p95_low_ms",
    "end_to_end_p95_high_ms",
    "cold_start_s",
    "cold_start_shortest_s",
    "cold_start_longest_s",
    "imports_s",
    "loading_s",
    "loading_peak_bytes",
    "rest_bytes",
    "batch_peak_bytes",
]
FIRST_COLUMNS = COLUMNS[:17]


def written(records, timings=()):
    return csv_text(tables_without_predictions(records, timings).rows)


def read(text):
    return pd.read_csv(io.StringIO(text))


def test_the_columns_keep_their_names_and_order():
    assert written([make_record()]).splitlines()[0].split(",") == COLUMNS


def test_values_come_back_as_they_were():
    record = make_record(
        "lora[r=16,alpha=32]", score=0.785, interval=(0.76, 0.809), trainable=294_912, train_s=12.34
    )
    table = read(written([record], [make_timing({record.key: 8.0}, teacher_ms=10.0)]))
    assert table.iloc[0][FIRST_COLUMNS].to_dict() | {"reason": "", "rank": ""} == {
        "rank": "",  # a place needs predictions
        "strategy": "lora[alpha=32,r=16]",
        "task": "rotten-tomatoes",
        "status": "ok",
        "reason": "",
        "metric": "accuracy",
        "score": 0.785,
        "score_low": 0.76,
        "score_high": 0.809,
        "seeds": 1,
        "total_parameters": 22_713_986,
        "trainable_parameters": 294_912,
        "artifact_bytes": 90_900_000,
        "p50_ms": 8.0,
        "p95_ms": 8.8,
        "speedup": 1.25,
        "train_s": 12.34,
    }


def test_what_was_not_measured_is_empty():
    text = written([make_record("int8", status=Status.FAILED, reason="no kernel")])
    assert text.splitlines()[1].startswith(",int8,rotten-tomatoes,failed,no kernel,accuracy,,,,1,,,,,,,,")


def test_a_row_is_one_line_whatever_its_reason():
    reason = 'line one\nline, "two"\r\n| <script>'
    text = written([make_record("int8", status=Status.FAILED, reason=reason), make_record("lora")])
    assert len(text.splitlines()) == 3
    assert read(text)["reason"][1] == 'line one line, "two" | <script>'


def test_no_text_runs_as_a_formula_and_numbers_stay_numbers():
    records = [
        make_record("=cmd|' /C calc'!A0", score=0.5),
        make_record("@sum", score=-0.2, metric="accuracy"),
        make_record("x", status=Status.FAILED, reason="\t-1 given"),
    ]
    table = read(written(records))
    assert list(table["strategy"]) == ["'=cmd|' /C calc'!A0", "'@sum", "x"]
    assert table["reason"][2] == "'-1 given"
    assert table["score"][1] == -0.2


def test_names_of_a_plugins_columns_run_no_formula():
    rows = tables_without_predictions([make_record()]).rows.assign(**{"=evil": 1.5})
    assert read(csv_text(rows))["'=evil"][0] == 1.5

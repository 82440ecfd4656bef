"""The columns on what was measured beside quality: behaviour, size, speed and cost."""

from __future__ import annotations

from collections.abc import Callable

from kdbench.board import formatting
from kdbench.board.columns import Column


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

"""Tell from validation curves which cells were still improving when their training ended."""

from __future__ import annotations

from kdbench.results.records import Record


def last_gain(record: Record) -> float | None:
    """Return how much the last validation of the cell's last training loop exceeds the best one before.

    A fraction; negative where the best weights are earlier ones. None for a cell that was validated less than twice.
    """
    validated = [curve.scores for curve in record.curves if len(curve.scores) > 1]
    return validated[-1][-1] - max(validated[-1][:-1]) if validated else None


def not_converged(record: Record) -> str | None:
    """Return the warning about a cell that was still improving, or None.

    It is if its last gain exceeds the largest standard error that a share of the validation examples can have,
    ``0.5 / sqrt(n)``: a smaller gain may be noise.
    """
    gain, examples = last_gain(record), record.task.validation_examples
    if gain is None or not examples or gain <= 0.5 / examples**0.5:
        return None
    return (
        f"had not converged: its last validation, on {examples} examples, was above all before, beyond noise"
    )

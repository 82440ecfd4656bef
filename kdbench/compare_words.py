"""What a comparison allows to be concluded, and what not, in words."""

from __future__ import annotations

from collections.abc import Iterator

from kdbench.board import formatting
from kdbench.board.compare import ALPHA, Comparison, Contrast, TaskComparison
from kdbench.board.formatting import on_one_line, percent, plural, probability

_ONE_SEED = (
    "A row of one seed shows nothing of what other seeds would give: this is about these trained models, not about"
    " the strategies"
)


def conclusion(comparison: Comparison) -> str:
    """Return what may be concluded, and what not, as one sentence a task and one over all of them."""
    return " ".join(f"{sentence}." for sentence in _sentences(comparison))


def points(difference: float) -> str:
    """Return the size of a difference of scores in percent points, without its sign."""
    return f"{abs(100 * difference):.1f} points"


def _sentences(comparison: Comparison) -> Iterator[str]:
    for task in comparison.tasks:
        if task.contrast is not None:
            yield _on_task(comparison, task, task.contrast)
        else:
            yield f"On {task.task} nothing can be said ({task.problem})"
        for label, row in ((comparison.a, task.a), (comparison.b, task.b)):
            if row["warnings"]:
                yield f"{label} on {task.task} carries a warning: {on_one_line(row['warnings'])}"
    compared = [task.contrast for task in comparison.tasks if task.contrast is not None]
    if any(not contrast.seeds_are_known for contrast in compared):
        yield _ONE_SEED
    if len(compared) > 1:
        yield (
            f"Over {plural(len(compared), 'task')} {comparison.a} is shown better on {comparison.count(1)} and"
            f" worse on {comparison.count(-1)}, and no difference is shown on {comparison.count(0)}"
        )


def _on_task(comparison: Comparison, task: TaskComparison, contrast: Contrast) -> str:
    found = contrast.difference
    p = probability(contrast.adjusted_p)
    interval = f"95% interval {percent(found.low)} to {percent(found.high)}, {p}"
    if contrast.is_shown:
        better, worse = comparison.a, comparison.b
        if found.difference < 0:
            better, worse = worse, better
            interval = f"95% interval {percent(-found.high)} to {percent(-found.low)}, {p}"
        return (
            f"{better} scores {points(found.difference)} higher than {worse} on {task.task} ({interval}): shown at"
            f" the {ALPHA:.0%} level"
        )
    return (
        f"On {task.task} no difference is shown ({comparison.a} less {comparison.b}:"
        f" {formatting.difference(found.difference)} points, {interval}), and with these seeds and examples a true difference"
        f" below {points(contrast.smallest_shown)} would be missed more than one time in five"
    )

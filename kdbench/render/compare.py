"""Render a comparison of two strategies in the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdbench.board.compare import Comparison, Contrast, TaskComparison
from kdbench.board.disagreements import Disagreements
from kdbench.board.figures import FIGURES
from kdbench.board.frames import Row
from kdbench.board.rows import has_score
from kdbench.board.statistics import ALPHA
from kdbench.render.terminal import plain_table
from kdbench.utils import formatting
from kdbench.utils.formatting import MISSING, on_one_line, percent, plural, probability

_ONE_SEED = (
    "A row of one seed says nothing about other seeds: this compares these trained models, not the strategies"
)


def conclusion(comparison: Comparison) -> str:
    """Return what may be concluded, and what not, in one sentence per task and one over all tasks."""
    return " ".join(f"{sentence}." for sentence in _sentences(comparison))


def points(difference: float) -> str:
    """Return the absolute difference of scores in percentage points as text."""
    return f"{abs(100 * difference):.1f} points"


def _sentences(comparison: Comparison) -> Iterator[str]:
    for task in comparison.tasks:
        if task.contrast is not None:
            yield _on_task(comparison, task, task.contrast)
        else:
            yield f"On {task.task} no conclusion is possible ({task.problem})"
        for label, row in ((comparison.a, task.a), (comparison.b, task.b)):
            if row["warnings"]:
                yield f"{label} on {task.task} has a warning: {on_one_line(row['warnings'])}"
    compared = [task.contrast for task in comparison.tasks if task.contrast is not None]
    if any(not contrast.seeds_are_known for contrast in compared):
        yield _ONE_SEED
    if len(compared) > 1:
        yield (
            f"Over {plural(len(compared), 'task')} {comparison.a} is significantly better on {comparison.count(1)} and"
            f" significantly worse on {comparison.count(-1)}; on {comparison.count(0)} the difference is not significant"
        )


def _on_task(comparison: Comparison, task: TaskComparison, contrast: Contrast) -> str:
    difference = contrast.difference
    p = probability(contrast.adjusted_p)
    interval = f"95% interval {percent(difference.low)} to {percent(difference.high)}, {p}"
    if contrast.is_significant:
        better, worse = comparison.a, comparison.b
        if difference.difference < 0:
            better, worse = worse, better
            interval = f"95% interval {percent(-difference.high)} to {percent(-difference.low)}, {p}"
        return (
            f"{better} scores {points(difference.difference)} higher than {worse} on {task.task} ({interval}):"
            f" significant at the {ALPHA:.0%} level{_if_equivalent(contrast, ', but')}"
        )
    if contrast.is_equivalent:
        return (
            f"{comparison.a} and {comparison.b} are equivalent on {task.task} ({comparison.a} minus {comparison.b}:"
            f" {formatting.difference(difference.difference)} points, {interval}){_if_equivalent(contrast, ':')}"
        )
    return (
        f"On {task.task} the difference is not significant ({comparison.a} minus {comparison.b}:"
        f" {formatting.difference(difference.difference)} points, {interval}), and with these seeds and examples a true"
        f" difference below {points(contrast.smallest_detectable)} would be missed more than one time in five; nor is it"
        f" shown that they are equivalent within {points(contrast.margin)}"
    )


def _if_equivalent(contrast: Contrast, link: str) -> str:
    if not contrast.is_equivalent:
        return ""
    return f"{link} shown to be less than {points(contrast.margin)} (two one-sided tests at 5%)"


Shown = Mapping[str, Disagreements | str | None]
"""By task: the examples with different predictions, why they cannot be shown, or None if not requested."""

_SHOWN = [
    *(FIGURES[name] for name in ("total_parameters", "trainable_parameters", "artifact_bytes", "p50_ms")),
    *(FIGURES[name] for name in ("speedup", "train_s", "teacher_s", "seeds")),
]
_IN_JSON = ("status", "reason", "seeds", "score", *(figure.name for figure in _SHOWN[:-1]), "warnings")
_TEXT_LENGTH = 300


def comparison_data(comparison: Comparison, shown: Shown) -> dict[str, Any]:
    """Return `comparison` as JSON-serializable data; scores and differences are fractions."""
    return {
        "a": comparison.a,
        "b": comparison.b,
        "conclusion": conclusion(comparison),
        "better": comparison.count(1),
        "no_difference_shown": comparison.count(0),
        "worse": comparison.count(-1),
        "only_a": comparison.only_a,
        "only_b": comparison.only_b,
        "tasks": [_task_data(task, shown.get(task.task)) for task in comparison.tasks],
    }


def print_comparison(comparison: Comparison, shown: Shown, out: Console) -> None:
    """Print `comparison`: per task a table, the tests and the examples; then the conclusion."""
    for task in comparison.tasks:
        out.print(_table(comparison, task))
        for line in _tests(comparison, task):
            out.print(f"  {line}", soft_wrap=True)
        _print_examples(comparison, shown.get(task.task), out)
        out.print()
    for label, tasks in ((comparison.a, comparison.only_a), (comparison.b, comparison.only_b)):
        if tasks:
            out.print(f"Only {label} was run on {', '.join(tasks)}.", soft_wrap=True)
    out.print(conclusion(comparison), soft_wrap=True)


def _task_data(task: TaskComparison, shown: Disagreements | str | None) -> dict[str, Any]:
    return {
        "task": task.task,
        "metric": task.metric,
        "a": _side_data(task.a, task.interval_a),
        "b": _side_data(task.b, task.interval_b),
        "problem": task.problem,
        **(_contrast_data(task.contrast) if task.contrast is not None else {}),
        "examples": asdict(shown) if isinstance(shown, Disagreements) else None,
        "examples_problem": shown if isinstance(shown, str) else None,
    }


def _side_data(row: Row, interval: tuple[float, float] | None) -> dict[str, Any]:
    low, high = interval or (None, None)
    return {**{name: row[name] for name in _IN_JSON}, "score_low": low, "score_high": high}


def _contrast_data(contrast: Contrast) -> dict[str, Any]:
    return {
        **asdict(contrast.difference),
        "p_holm": contrast.adjusted_p,
        "is_shown": contrast.is_significant,
        "margin": contrast.margin,
        "is_equivalent": contrast.is_equivalent,
        "smallest_shown": contrast.smallest_detectable,
        "seeds_are_known": contrast.seeds_are_known,
        "p_randomization": contrast.randomization_p,
        "almost_stochastic_order": contrast.almost_stochastic_order,
        "examples_better": None if contrast.wins is None else asdict(contrast.wins),
        "mcnemar": {str(seed): asdict(test) for seed, test in contrast.mcnemar.items()},
    }


def _table(comparison: Comparison, task: TaskComparison) -> Table:
    numbers = (task.metric, *(figure.terminal or figure.heading for figure in _SHOWN))
    headings = [("row", True), *((heading, False) for heading in numbers)]
    table = plain_table(headings, title=on_one_line(task.task), min_width=12)
    table.add_row(*map(Text, (comparison.a, *_cells(task.a, task.interval_a))))
    table.add_row(*map(Text, (comparison.b, *_cells(task.b, task.interval_b))))
    if task.contrast is not None:
        paired = task.contrast.difference
        difference = formatting.with_interval(
            paired.difference, paired.low, paired.high, formatting.difference
        )
        table.add_row(Text("difference"), Text(difference))
    return table


def _cells(row: Row, interval: tuple[float, float] | None) -> list[str]:
    return [
        formatting.with_interval(row["score"], *(interval or (None, None)))
        if has_score(row)
        else str(row["status"]),
        *(figure.text(row, is_brief=True) for figure in _SHOWN),
    ]


def _tests(comparison: Comparison, task: TaskComparison) -> Iterator[str]:
    contrast = task.contrast
    if contrast is None:
        yield f"not compared: {on_one_line(task.problem or '')}"
        return
    compared = sum(other.contrast is not None for other in comparison.tasks)
    holm = f", Holm over {compared} tasks: {probability(contrast.adjusted_p)}" if compared > 1 else ""
    yield f"paired difference: {probability(contrast.difference.p)}{holm}"
    if contrast.randomization_p is not None:
        p = probability(contrast.randomization_p)
        yield f"approximate randomization: {p}, for these trained models alone"
    else:
        yield "approximate randomization: not computed, since the rows share no seed"
    if contrast.wins is not None:
        wins = contrast.wins
        yield (
            f"examples, seed by seed: {comparison.a} better on {wins.wins:,}, equal on {wins.ties:,}, worse on"
            f" {wins.losses:,}"
        )
    if contrast.almost_stochastic_order is not None:
        over_b, over_a = contrast.almost_stochastic_order
        yield (
            f"almost stochastic order over seeds: epsilon {over_b:.2f} for {comparison.a} above {comparison.b},"
            f" {over_a:.2f} the other way; below 0.2 counts as better, but few seeds often reach that by chance"
        )
    for seed, test in contrast.mcnemar.items():
        yield (
            f"McNemar, seed {seed}: only {comparison.a} is correct on {plural(test.only_a, 'example')}, only"
            f" {comparison.b} on {test.only_b:,}, {probability(test.p)}"
        )


def _print_examples(comparison: Comparison, shown: Disagreements | str | None, out: Console) -> None:
    if shown is None:
        return
    if isinstance(shown, str):
        out.print(f"  examples not shown: {shown}", soft_wrap=True)
        return
    out.print(
        f"  seed {shown.seed}: {shown.number:,} of {plural(shown.scored, 'example')} predicted"
        f" differently, {len(shown.shown):,} of them listed"
    )
    for example in shown.shown:
        out.print(f"  - {on_one_line(example.text, _TEXT_LENGTH)}", soft_wrap=True)
        names = ("label", comparison.a, comparison.b)
        answers = (example.right, example.answer_a, example.answer_b)
        shortened = [on_one_line(answer, _TEXT_LENGTH) or MISSING for answer in answers]
        line = "; ".join(map(": ".join, zip(names, shortened, strict=True)))
        out.print(f"    {line}", soft_wrap=True)

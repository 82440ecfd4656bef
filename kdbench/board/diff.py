"""Compare older records with newer ones row by row: what changed, and whether it exceeds sampling variation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd

from kdbench.board.changed_costs import changed_costs, other_runtimes
from kdbench.board.frames import Row, rows_of
from kdbench.board.load import Loaded, load_cells
from kdbench.board.predictions import KnownAnswers, TaskAnswers, made_from
from kdbench.board.rows import aggregate, has_score
from kdbench.board.sources import Source
from kdbench.board.statistics import ALPHA, MARGIN
from kdbench.errors import KdbenchError, UsageError, nearest
from kdbench.stats.comparisons import Difference, holm
from kdbench.utils.formatting import percent


class Kind(str, Enum):
    """What became of a row, in the order in which rows are listed."""

    WORSE = "worse"
    FAILS = "fails now"
    GONE = "gone"
    BETTER = "better"
    WORKS = "works now"
    NEW = "new"
    NOT_COMPARABLE = "not comparable"
    NOT_SIGNIFICANT = "not significantly different"
    EQUIVALENT = "no loss"
    SAME = "the same run"
    UNSCORED = "no score in either"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Change:
    """What became of one row on one task."""

    task: str
    strategy: str
    kind: Kind
    before: Row | None
    """The row of the older table; None where the row is new."""
    after: Row | None
    """The row of the newer table; None where the row is gone."""
    difference: Difference | None = None
    """How much better the row scores now, on the same examples; None where that cannot be computed."""
    p_holm: float | None = None
    """The p of `difference`, Holm-corrected over all rows that have one."""
    seeds_are_known: bool = True
    """Whether `difference` covers the variation over seeds; otherwise it holds for these trained models alone."""
    is_by_scores: bool = False
    """Whether the kind follows from the scores' own intervals, as there is no `difference`."""
    note: str = ""
    """Why there is no score, or how scores were compared without a `difference`."""
    margin: float = MARGIN
    """The difference, as a fraction, below which scores count as equal."""
    costs: tuple[str, ...] = ()
    """Changes of size and speed, one phrase each."""

    @property
    def is_regression(self) -> bool:
        """Whether the row is significantly worse, and not shown to be so by less than the margin, or has no score now."""
        lost = self.kind is Kind.GONE and self.before is not None and has_score(self.before)
        is_small = self.difference is not None and self.difference.is_equivalent(self.margin)
        return lost or self.kind is Kind.FAILS or (self.kind is Kind.WORSE and not is_small)


@dataclass(frozen=True)
class Changes:
    """The changes of all rows, by task, kind and name, with remarks on the two sets of records."""

    rows: tuple[Change, ...]
    before: pd.DataFrame
    after: pd.DataFrame
    """The tables of cells that were compared."""
    remarks: tuple[str, ...]
    left_out: tuple[str, ...]
    """One line per older record that is not in `before`."""
    unreadable: tuple[str, ...]
    """One line, which names the file, per older file that could not be read."""

    @property
    def regressions(self) -> tuple[Change, ...]:
        """The rows that are regressions."""
        return tuple(change for change in self.rows if change.is_regression)

    def count(self, kind: Kind) -> int:
        """Return how many rows are of this kind."""
        return sum(change.kind is kind for change in self.rows)


_TRAINING = ("steps", "batch_size", "train_examples", "teacher_factor", "max_length")
"""The settings of a budget that are columns of the table of cells."""


@dataclass(frozen=True)
class Against:
    """The older records to compare a board with, and the rows to compare."""

    source: Source
    tasks: Sequence[str] = ()
    """Names or globs; if empty, all."""
    strategies: Sequence[str] = ()
    """Names or globs of rows; if empty, all."""


@dataclass(frozen=True)
class _Side:
    """One task's rows from one of the two sets of records."""

    rows: dict[str, Row]
    cells: dict[str, list[Row]]
    """By row, one per seed."""
    answers: TaskAnswers


def changes(
    against: Against,
    after: Loaded,
    root: Path,
    known: KnownAnswers | None = None,
    margin: float = MARGIN,
) -> Changes:
    """Return the change of each row from the older records to those of `after`.

    Rows are compared on the same examples where both sides have predictions. Elsewhere, a row counts as changed if the
    intervals of its seeds' scores all lie above, or all below, those of the other side. A row whose cells are the same
    runs on both sides is not compared, and takes no part in the correction.

    Args:
        against: the older records; those of the board's base model are used, if there are any.
        after: the cells of the board.
        root: the folder with the board's predictions.
        known: cached results for the board's answers, to which new ones are added.
        margin: the difference, as a fraction, below which scores count as equal.

    Raises:
        UsageError: there is no older record of the board's budget, or a name matches no row of either side.
    """
    before = _older(against.source, after)
    older, newer = _selected(before.cells, after.cells, against)
    uncorrected = [
        change
        for task in sorted({*older["task"], *newer["task"]})
        for change in _on_task(
            task,
            margin,
            _side(older[older["task"] == task], before, against.source.root),
            _side(newer[newer["task"] == task], after, root, known),
            _incomparable(older[older["task"] == task], newer[newer["task"] == task]),
        )
    ]
    place = {kind: place for place, kind in enumerate(Kind)}
    listed = sorted(_corrected(uncorrected), key=lambda row: (row.task, place[row.kind], row.strategy))
    return Changes(
        rows=tuple(listed),
        before=older,
        after=newer,
        remarks=_remarks(older, newer, against),
        left_out=before.left_out,
        unreadable=before.unreadable,
    )


def _older(source: Source, after: Loaded) -> Loaded:
    first = after.cells.iloc[0]
    budget, weights = first["budget"], first["weights_sha256"]
    has_model = any(
        record.budget.name == budget and record.model.weights_sha256 == weights for record in source.records
    )
    return load_cells(source, budget=budget, model=weights if has_model else None, metrics=after.metrics)


def _side(cells: pd.DataFrame, of_all: Loaded, root: Path, known: KnownAnswers | None = None) -> _Side:
    task = of_all.cells[of_all.cells["task"].isin(cells["task"])]
    return _Side(
        rows={row["strategy"]: row for row in rows_of(aggregate(cells))} if len(cells) else {},
        cells={str(name): rows_of(group) for name, group in cells.groupby("strategy")},
        # Rows that were not selected still inform the estimate of the others' variance over seeds.
        answers=TaskAnswers(task, root, known, metrics=of_all.metrics),
    )


def _selected(
    before: pd.DataFrame, after: pd.DataFrame, against: Against
) -> tuple[pd.DataFrame, pd.DataFrame]:
    for column, patterns in (("task", against.tasks), ("strategy", against.strategies)):
        existing = sorted({*before[column], *after[column]})
        for pattern in patterns:
            if not any(_matches(name, pattern) for name in existing):
                raise UsageError(
                    f"--{column} {pattern!r} matches no row of either side{nearest(pattern, existing)}"
                )
        if patterns:
            chosen = [name for name in existing if any(_matches(name, pattern) for pattern in patterns)]
            before, after = before[before[column].isin(chosen)], after[after[column].isin(chosen)]
    return before, after


def _matches(name: str, pattern: str) -> bool:
    # A row's brackets hold parameters, not a choice of characters.
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def _on_task(task: str, margin: float, before: _Side, after: _Side, problem: str | None) -> list[Change]:
    """Return the changes of the rows of one task; p is not corrected yet, and the kind that depends on it not set.

    `problem` says why scores cannot be compared, if they cannot.
    """
    if problem is None:
        for side, other in ((before, after), (after, before)):
            # Faster together than one by one.
            side.answers.read([name for name in side.answers.rows if name in other.rows])
    found = []
    for name in sorted({*before.rows, *after.rows}):
        then, now = before.rows.get(name), after.rows.get(name)
        change = Change(task, name, Kind.NOT_SIGNIFICANT, then, now, margin=margin)
        if now is None:
            found.append(replace(change, kind=Kind.GONE, note=_why_unscored(then)))
        elif then is None:
            found.append(replace(change, kind=Kind.NEW, note=_why_unscored(now)))
        else:
            costs = changed_costs(before.cells[name], after.cells[name])
            found.append(replace(_compared(change, before, after, problem), costs=costs))
    return found


def _compared(change: Change, before: _Side, after: _Side, problem: str | None) -> Change:
    """Return the change of a row that both sides have."""
    name = change.strategy
    then, now = _why_unscored(change.before), _why_unscored(change.after)
    if now:
        return replace(change, kind=Kind.UNSCORED if then else Kind.FAILS, note=now)
    if then:
        return replace(change, kind=Kind.WORKS, note=f"before {then}")
    if made_from(before.cells[name]) == made_from(after.cells[name]):
        return replace(change, kind=Kind.SAME)
    if problem is not None:
        return replace(change, kind=Kind.NOT_COMPARABLE, note=problem)
    try:
        difference = after.answers.change(name, before.answers)
        known = all(side.answers.spreads[name] is not None for side in (before, after))
        return replace(change, difference=difference, seeds_are_known=known)
    except KdbenchError as error:
        return _by_scores(change, before.cells[name], after.cells[name], str(error))


def _why_unscored(row: Row | None) -> str:
    """Return why a row has no score; empty where it has one."""
    return "" if row is None or has_score(row) else f"{row['status']}: {row['reason']}"


def _incomparable(before: pd.DataFrame, after: pd.DataFrame) -> str | None:
    """Return why the scores of the two sides cannot be compared, or None where they can."""
    if before.empty or after.empty:
        return None
    then, now = before.iloc[0], after.iloc[0]
    if then["metric"] != now["metric"]:
        return f"scored by {then['metric']} before and by {now['metric']} now"
    if then["scored_split"] != now["scored_split"]:
        return f"scored on the {then['scored_split']} split before and on {now['scored_split']} now"
    return None if then["fingerprint"] == now["fingerprint"] else "the task's data is not the same"


def _by_scores(change: Change, before: list[Row], after: list[Row], reason: str) -> Change:
    """Compare by the intervals of the records alone, which ignores what the two sides have in common."""
    then, now = (
        (min(cell["score_low"] for cell in cells), max(cell["score_high"] for cell in cells))
        for cells in (before, after)
    )
    kind = Kind.BETTER if now[0] > then[1] else Kind.WORSE if now[1] < then[0] else Kind.NOT_SIGNIFICANT
    (low, high), (low_now, high_now) = ([percent(end) for end in ends] for ends in (then, now))
    note = f"by the intervals of the scores alone, {low} to {high} and now {low_now} to {high_now}: {reason}"
    return replace(change, kind=kind, is_by_scores=True, note=note)


def _corrected(changes: list[Change]) -> list[Change]:
    """Return the changes with p Holm-corrected over those that were compared on the same examples."""
    p = holm([np.nan if change.difference is None else change.difference.p for change in changes])
    return [
        change
        if change.difference is None
        else replace(change, p_holm=float(corrected), kind=_kind(change.difference, corrected, change.margin))
        for change, corrected in zip(changes, p, strict=True)
    ]


def _kind(difference: Difference, p: float, margin: float) -> Kind:
    if p >= ALPHA:
        return Kind.EQUIVALENT if difference.is_equivalent(margin) else Kind.NOT_SIGNIFICANT
    return Kind.BETTER if difference.difference > 0 else Kind.WORSE


def _remarks(before: pd.DataFrame, after: pd.DataFrame, against: Against) -> tuple[str, ...]:
    remarks = []
    if not before.empty and not after.empty:
        remarks = [*_other_training(before, after), *_other_runtimes(before, after)]
    names = [*against.tasks, *against.strategies]
    if names:
        remarks.append(f"only the selected tasks and rows are compared: {', '.join(names)}")
    return tuple(remarks)


def _other_runtimes(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    then, now = (
        {place: rows_of(group) for place, group in cells.groupby(["task", "strategy"])}
        for cells in (before, after)
    )
    changed = {other_runtimes(then[place], now[place]) for place in then.keys() & now.keys()}
    return [f"speed was measured with {versions}" for versions in sorted(filter(None, changed))]


def _other_training(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    remarks = []
    then, now = before.iloc[0], after.iloc[0]
    if then["weights_sha256"] != now["weights_sha256"]:
        remarks.append(
            f"the older rows start from {then['model']} ({then['weights_sha256'][:8]}), the newer from"
            f" {now['model']} ({now['weights_sha256'][:8]})"
        )
    trained = [
        {row["task"]: [row[name] for name in _TRAINING] for row in rows_of(cells.drop_duplicates("task"))}
        for cells in (before, after)
    ]
    others = [
        task for task in sorted(trained[0].keys() & trained[1].keys()) if trained[0][task] != trained[1][task]
    ]
    if others:
        remarks.append(f"the budget of this name had other training settings before, on {', '.join(others)}")
    return remarks

"""Aggregate the table of cells to the table of rows that every output is drawn from: one per strategy and task."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from statistics import fmean
from typing import Any

import pandas as pd

from kdbench.board.claims import RELATIONS, Claims, declared_claims
from kdbench.board.columns import ROW_COLUMNS
from kdbench.board.costs import with_cost_to_obtain
from kdbench.board.figures import FIGURES, Figure, Group, Seeds, figures_of
from kdbench.board.frames import Row, rows_of
from kdbench.board.fronts import front_columns, letters
from kdbench.board.pairing import Pairing
from kdbench.board.statistics import MARGIN, TaskStatistics
from kdbench.results.records import Status
from kdbench.utils.formatting import milliseconds, ratio


def with_statistics(
    table: pd.DataFrame, statistics: Mapping[str, TaskStatistics], margin: float = MARGIN
) -> pd.DataFrame:
    """Return the table of rows with each task's ranks, fronts, intervals and p; `margin` is that of "no loss"."""
    values: list[dict[str, Any]] = [{} for _ in range(len(table))]
    for task, rows in table.groupby("task"):
        of_task = statistics.get(str(task), TaskStatistics())
        ranks = of_task.ranks()
        fronts = front_columns(rows, of_task)
        claims = declared_claims(rows, of_task, margin)
        for place, row in zip(rows.index, rows["strategy"], strict=True):
            values[place] = {**_claims(row, claims), **_gap_interval(row, of_task)}
            for figure, (low, high) in of_task.behaviour_intervals.get(row, {}).items():
                values[place] |= {f"{figure}_low": low, f"{figure}_high": high}
            if row in of_task.kept:
                low, high = of_task.kept[row]
                values[place] |= {"share_kept_low": low, "share_kept_high": high}
            if row in ranks:
                rank = ranks[row]
                values[place] |= {
                    "rank": rank.best,
                    "rank_high": rank.worst,
                    "tied": rank.best < rank.worst,
                    "front": letters(fronts[row]),
                    **fronts[row],
                }
    return table.assign(**pd.DataFrame(values, index=table.index))


def _claims(row: str, claims: Claims) -> dict[str, Any]:
    """Return what the declared comparisons of `row` say, in columns that start with the name of each."""
    columns: dict[str, Any] = {}
    for name in RELATIONS:
        claim = claims.get((row, name))
        if claim is not None:
            columns |= {
                f"{name}_difference_low": claim.low,
                f"{name}_difference_high": claim.high,
                f"{name}_p": claim.p,
                f"{name}_p_holm": claim.p_holm,
            }
            if name == "source":
                columns["no_loss"] = claim.is_no_loss
    return columns


def _gap_interval(row: str, statistics: TaskStatistics) -> dict[str, Any]:
    gap = statistics.gaps.get(row)
    return {} if gap is None else {"gap_low": gap.low, "gap_high": gap.high, "gap_reason": gap.reason}


_OF_THE_STRATEGY = (
    "strategy",
    "task",
    "metric",
    "control",
    "base_control",
    "derived_from",
    "note",
    "uses_teacher",
)
_MEANS, _MEANS_OF_STUDENTS, _TIMED = (
    [figure for figure in FIGURES.values() if figure.seeds is seeds]
    for seeds in (Seeds.MEAN, Seeds.MEAN_OF_STUDENTS, Seeds.TIMED)
)
_OF_TIMING = [column for figure in figures_of(Group.SPEED, Group.SERVING) for column in figure.columns]
_ORDER = {status.value: place for place, status in enumerate(Status)}


def aggregate(
    cells: pd.DataFrame, statistics: Mapping[str, TaskStatistics] | None = None, margin: float = MARGIN
) -> pd.DataFrame:
    """Return one row per strategy and task, best first within a task, those without a score last.

    A row's score is the mean over its seeds; a row with a seed that did not succeed has none. ``share_kept`` is the
    score as a share of the teacher's, ``control_difference`` the score minus the control's, ``base_difference`` the
    score minus that of the control started from the base model, ``source_difference`` the score minus that of the row
    that it was made from, ``gap_recovered`` the difference from the control as a
    share of the teacher's lead over it, for rows that learn from the teacher; each is missing where a score is, or where
    the teacher has no lead. A row that was made from another is compared with it over the seeds that both have. Without `statistics` of the predictions, ranks, fronts and other results of comparing rows
    are missing, and several seeds have no interval.
    """
    ordered = rows_of(cells.sort_values(["task", "strategy", "seed"]))
    statistics = {} if statistics is None else statistics
    groups = {
        place: list(group)
        for place, group in groupby(ordered, key=lambda cell: (cell["task"], cell["strategy"]))
    }
    rows = [_row(group, statistics.get(task, TaskStatistics())) for (task, _), group in groups.items()]
    table = pd.DataFrame(rows, columns=[*ROW_COLUMNS, "latency_setting", "uses_teacher"]).astype(ROW_COLUMNS)
    score, teachers, controls = table["score"], _teacher_scores(table), _scores_of(table, "control")
    # A share of a teacher's score at or below zero, as a correlation can be, would be meaningless.
    own, of_teacher = _paired_means(table, groups, _teachers(table), (score, teachers))
    table["share_kept"] = (own / of_teacher.where(of_teacher > 0)).round(12)
    table["control_difference"] = (score - controls).round(12)
    table["base_difference"] = (score - _scores_of(table, "base_control")).round(12)
    sources = (score, _scores_of(table, "derived_from"))
    own, of_source = _paired_means(table, groups, table["derived_from"], sources)
    table["source_difference"] = (own - of_source).round(12)
    # Nothing can be recovered where the control is as good as the teacher, or by a row that does not learn from it.
    leads = (teachers > controls) & table["uses_teacher"].astype(bool)
    table["gap_recovered"] = ((score - controls) / (teachers - controls).where(leads)).round(12)
    table = with_cost_to_obtain(_without_foreign_latencies(table))
    table = with_statistics(table, statistics, margin).astype(ROW_COLUMNS)
    order = table.assign(status=table["status"].map(_ORDER), score=-table["score"].round(12))
    best_first = order.sort_values(["task", "status", "score", "rank", "strategy"]).index
    return table.loc[best_first, list(ROW_COLUMNS)].reset_index(drop=True).copy()


def _row(cells: list[Row], statistics: TaskStatistics) -> dict[str, Any]:
    row: dict[str, Any] = {name: cells[0][name] for name in _OF_THE_STRATEGY}
    row["seeds"] = len(cells)
    row["is_teacher"] = any(cell["is_teacher"] for cell in cells)
    row["seed_scores"] = _seed_scores(cells)
    warnings = [(cell["seed"], warning) for cell in cells for warning in cell["warnings"]]
    failed = [cell for cell in cells if cell["status"] != Status.OK.value]
    if failed:
        reasons = [(cell["seed"], cell["reason"] or "no reason was recorded") for cell in failed]
        row |= {"status": failed[0]["status"], "reason": _by_seed(reasons, len(cells))}
    else:
        timed = timed_cell(cells)
        row |= {name: timed[name] for figure in _TIMED for name in figure.columns}
        row |= {name: timed[name] for name in ("latency_setting", "emulated")}
        row |= {figure.name: _mean(cells, figure) for figure in _MEANS}
        students = [cell for cell in cells if not cell["is_teacher"]]
        row |= {figure.name: _mean(students, figure) for figure in _MEANS_OF_STUDENTS}
        low, high = _interval(cells, statistics)
        row |= {"status": Status.OK.value, "score_low": low, "score_high": high}
        problem = statistics.problems.get(row["strategy"])
        if problem is not None:
            warnings += [(cell["seed"], f"not compared with other rows: {problem}") for cell in cells]
    row["warnings"] = _by_seed(warnings, len(cells))
    return row


def timed_cell(cells: list[Row]) -> Row:
    """Return the first cell of a row that was timed; the first of all where none was."""
    return next((cell for cell in cells if cell["p50_ms"] is not None), cells[0])


def _interval(cells: list[Row], statistics: TaskStatistics) -> tuple[float | None, float | None]:
    """Return the interval from the predictions, else that of the record where there is only one."""
    recorded = (cells[0]["score_low"], cells[0]["score_high"]) if len(cells) == 1 else (None, None)
    return statistics.intervals.get(cells[0]["strategy"], recorded)


def _seed_scores(cells: list[Row]) -> str | None:
    """Return the seeds' scores in order, joined by semicolons; empty for a seed without a score."""
    scores = ["" if cell["score"] is None else f"{cell['score']:.12g}" for cell in cells]
    return ";".join(scores) if any(scores) else None


def _mean(cells: list[Row], figure: Figure) -> float | None:
    values = [cell[figure.name] for cell in cells]
    if None in values or not values:
        return None
    # A count stays an integer: the number of unlabelled texts may differ between seeds.
    return round(fmean(values)) if figure.dtype == "Int64" else fmean(values)


def _by_seed(notes: list[tuple[int, str]], seeds: int) -> str | None:
    """Join the distinct notes into one text, each with the seeds that it is about unless it is about all."""
    parts = []
    for text in dict.fromkeys(text for _, text in notes):
        about = dict.fromkeys(seed for seed, noted in notes if noted == text)
        prefix = f"seed{'s' if len(about) > 1 else ''} {', '.join(map(str, about))}: "
        parts.append(text if len(about) == seeds else f"{prefix}{text}")
    return "; ".join(parts) or None


def _teachers(table: pd.DataFrame) -> pd.Series[str]:
    """Return the name of the task's teacher beside each row."""
    teachers = table[table["is_teacher"]].drop_duplicates("task").set_index("task")["strategy"]
    return table["task"].map(teachers)


def _teacher_scores(table: pd.DataFrame) -> pd.Series[float]:
    teachers = table[table["is_teacher"]].drop_duplicates("task").set_index("task")["score"]
    return table["task"].map(teachers).astype("float64")


def _paired_means(
    table: pd.DataFrame,
    groups: Mapping[tuple[str, str], list[Row]],
    others: pd.Series[str],
    means: tuple[pd.Series[float], pd.Series[float]],
) -> tuple[pd.Series[float], pd.Series[float]]:
    """Return the `means` of each row and of the one that `others` names; for paired rows over the seeds that both have."""
    scored: dict[str, dict[str, list[Row]]] = {}
    for (task, row), cells in groups.items():
        if all(cell["score"] is not None for cell in cells):
            scored.setdefault(task, {})[row] = cells
    pairings = {task: Pairing(rows) for task, rows in scored.items()}
    own, of_other = means[0].copy(), means[1].copy()
    for index, task, row, other in zip(table.index, table["task"], table["strategy"], others, strict=True):
        if task in pairings and pairings[task].are_paired(row, other):
            own[index], of_other[index] = pairings[task].means(row, other)
    return own, of_other


def _scores_of(table: pd.DataFrame, column: str) -> pd.Series[float]:
    """Return the score of the row that `column` names beside each row."""
    scores = table.set_index(["task", "strategy"])["score"].to_dict()
    pairs = zip(table["task"], table[column], strict=True)
    return pd.Series([scores.get(pair) for pair in pairs], index=table.index, dtype="float64")


def _without_foreign_latencies(table: pd.DataFrame) -> pd.DataFrame:
    """Retain, for each task, the latencies of the setting that most rows share; move the others to a note."""
    table = table.copy()
    for _, rows in table[table["latency_setting"].notna()].groupby("task"):
        common = rows["latency_setting"].mode().iloc[0]
        foreign = rows[rows["latency_setting"] != common]
        for index, row in zip(foreign.index, rows_of(foreign), strict=True):
            table.loc[index, "latency_note"] = (
                f"timed in another setting, not to be compared: p50 {milliseconds(row['p50_ms'])} ms, p95"
                f" {milliseconds(row['p95_ms'])} ms, {ratio(row['speedup'])}; {row['latency_setting']}"
            )
            table.loc[index, _OF_TIMING] = float("nan")
    return table


def has_score(row: Row) -> bool:
    """Return whether every seed of the row succeeded."""
    return bool(row["status"] == Status.OK.value)

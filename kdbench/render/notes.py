"""The footnotes of a board: what was measured, how, on what."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

import pandas as pd

from kdbench.board.statistics import TaskStatistics
from kdbench.budgets import BUDGETS
from kdbench.config import EMBEDDED_NAME
from kdbench.utils.formatting import on_one_line, plural


def task_notes(cells: pd.DataFrame, statistics: TaskStatistics) -> dict[str, Any]:
    """Return what ``notes.md.j2`` tells of one task beside its cells and statistics.

    Args:
        cells: the task's part of the table of cells.
        statistics: what its predictions show.
    """
    timed = cells[cells["latency_setting"].notna()]
    noted = cells[cells["note"].notna()].drop_duplicates("strategy").sort_values("strategy")
    return {
        "source": _told(cells["source"]),
        "has_several_seeds": cells.duplicated("strategy").any(),
        "pairs": len(statistics.rows) * (len(statistics.rows) - 1) // 2,
        "strategies": list(_pairs(noted, "strategy", "note")),
        "settings": [
            (setting, " or ".join(f"{rounds:,}" for rounds in sorted(set(same["latency_rounds"]))))
            for setting, same in timed.groupby("latency_setting")
        ],
        "repeats": timed["latency_repeat"].dropna().unique(),
        "busy_shares": [f"{share:.0%}" for share in sorted(timed["latency_busy_share"].dropna().unique())],
        "latency_warnings": timed["latency_warning"].dropna().unique(),
        "unsteady": unsteady(cells),
    }


def run_facts(cells: pd.DataFrame) -> list[tuple[str, str]]:
    """Return what all `cells` share as names and plain texts: base model, machines, software, dates."""
    models = sorted({f"{name}, weights {sha[:8]}" for name, sha in _pairs(cells, "model", "weights_sha256")})
    given = sorted(cells["given_teacher"].dropna().unique())
    teachers = [("Teacher", f"{'; '.join(given)}, given and not trained here")] if given else []
    days = sorted({when.strftime("%Y-%m-%d") for when in cells["finished_at"]})
    return [
        ("Base model", "; ".join(models)),
        *teachers,
        ("Hardware", _told(cells["hardware"])),
        ("Software", _told(cells["software"])),
        ("Git revision", _told(cells["revision"])),
        ("Measured", f"{days[0]}{f' to {days[-1]}' if len(days) > 1 else ''} (UTC)"),
    ]


def unsteady(cells: pd.DataFrame) -> str | None:
    """Return which rows' calls had not reached a stable time when they were timed, as plain text; None without any."""
    found = cells[cells["latency_unsteady_after"].notna()]
    if found.empty:
        return None
    calls = " or ".join(str(calls) for calls in sorted(set(found["latency_unsteady_after"])))
    return (
        f"{', '.join(sorted(set(found['strategy'])))}: after {calls} calls of warming up, the time of a call was not stable"
        " yet, and the latency is less sure"
    )


def _told(values: Iterable[object]) -> str:
    """Return the distinct `values` as text; where there are several, with the number of cells of each."""
    counts = pd.Series([value or "not recorded" for value in values], dtype="object").value_counts()
    if len(counts) == 1:
        return str(counts.index[0])
    return "; ".join(f"{value} ({plural(counts[value], 'cell')})" for value in sorted(counts.index))


def _pairs(cells: pd.DataFrame, first: str, second: str) -> Iterable[tuple[str, str]]:
    return zip(cells[first], cells[second], strict=True)


def rerun_command(cells: pd.DataFrame) -> list[str]:
    """Return the command that gives `cells` again from their records, its flags in lines.

    What a flag does not tell stands for the user to fill in: the folder of local data, as ``DIR``, and the settings
    that a budget of the user's own is described in, as ``FILE``.
    """
    first = cells.iloc[0]
    head = [["kdbench", "run"], ["--budget", first["budget"]], ["--seeds", str(cells["seed"].max() + 1)]]
    if first["budget"] not in BUDGETS:
        head.append(["--config", "FILE"])
    if first["model"] != EMBEDDED_NAME:
        head.append(["--model", first["model"]])
    head += [["--teacher", given] for given in sorted(cells["given_teacher"].dropna().unique())]
    if cells["source"].str.startswith("local ").any():
        head.append(["--data-dir", "DIR"])
    tasks = [["--task", task] for task in sorted(set(cells["task"]))]
    strategies = [["--strategy", strategy] for strategy in sorted(set(cells["strategy"]))]
    lines = [_joined(part) for part in (head, tasks, strategies)]
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def _joined(flags: list[list[str]]) -> str:
    return " ".join(shlex.quote(on_one_line(word)) for flag in flags for word in flag)

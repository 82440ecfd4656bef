"""Collect the footnotes of a board: what was measured, how, and on which hardware."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pandas as pd

from kdbench.api.spec import parse_spec
from kdbench.board.statistics import TaskStatistics
from kdbench.budgets import BUDGETS, split_label_count
from kdbench.config import EMBEDDED_NAME, is_answers
from kdbench.errors import UsageError
from kdbench.utils.formatting import on_one_line, plural

ONE_SEED = "One seed: ranks and intervals are about these trained weights, not about the strategies"


def is_of_one_seed(rows: pd.DataFrame) -> bool:
    """Return whether no row of the table of rows was trained twice, so that nothing is known of other seeds."""
    return bool((rows["seeds"] < 2).all())


def task_notes(cells: pd.DataFrame, statistics: TaskStatistics) -> dict[str, Any]:
    """Return the values of ``notes.md.j2`` for one task, besides its `cells` and `statistics`."""
    timed = cells[cells["latency_setting"].notna()]
    noted = cells[cells["note"].notna()].drop_duplicates("strategy").sort_values("strategy")
    return {
        "source": _distinct(cells["source"]),
        "has_answers": bool(cells["given_teacher"].dropna().map(is_answers).any()),
        "has_several_seeds": cells.duplicated("strategy").any(),
        "pairs": len(statistics.rows) * (len(statistics.rows) - 1) // 2,
        "strategies": list(_pairs(noted, "strategy", "note")),
        "settings": [
            (
                setting,
                " or ".join(f"{rounds:,}" for rounds in sorted(set(same["latency_rounds"]))),
                " or ".join(_processes(count) for count in sorted(set(same["latency_processes"]))),
            )
            for setting, same in timed.groupby("latency_setting")
        ],
        "repeats": timed["latency_repeat"].dropna().unique(),
        "busy_shares": [f"{share:.0%}" for share in sorted(timed["latency_busy_share"].dropna().unique())],
        "energy_reasons": timed["energy_reason"].dropna().unique(),
        "latency_warnings": timed["latency_warning"].dropna().unique(),
        "unsteady": unstable_timings(cells),
    }


def _processes(count: int) -> str:
    return "one process" if count == 1 else f"{count:,} fresh processes"


def run_facts(cells: pd.DataFrame) -> list[tuple[str, str]]:
    """Return facts about all `cells` as names and plain texts: base model, hardware, software, dates."""
    models = sorted({f"{name}, weights {sha[:8]}" for name, sha in _pairs(cells, "model", "weights_sha256")})
    external = sorted(cells["given_teacher"].dropna().unique())
    teachers = [("Teacher", "; ".join(_teacher(cells, name) for name in external))] if external else []
    days = sorted({when.strftime("%Y-%m-%d") for when in cells["finished_at"]})
    return [
        ("Base model", "; ".join(models)),
        *teachers,
        ("Hardware", _distinct(cells["hardware"])),
        ("Software", _distinct(cells["software"])),
        ("Git revision", _distinct(cells["revision"])),
        ("Measured", f"{days[0]}{f' to {days[-1]}' if len(days) > 1 else ''} (UTC)"),
    ]


def _teacher(cells: pd.DataFrame, name: str) -> str:
    """Return the name of a teacher that the user provided, and what it is."""
    if is_answers(name):
        return f"{name}, a file of answers and no model (answers.md says how complete and good, and what they were worth)"
    own_rows = cells[(cells["given_teacher"] == name) & cells["is_teacher"].astype(bool)]
    return (
        f"{name}, {'fine-tuned here' if own_rows['train_s'].notna().any() else 'external, not trained here'}"
    )


def unstable_timings(cells: pd.DataFrame) -> str | None:
    """Return which rows were timed before their latency was stable, as plain text; None if there are none."""
    unstable = cells[cells["latency_unsteady_after"].notna()]
    if unstable.empty:
        return None
    calls = " or ".join(str(calls) for calls in sorted(set(unstable["latency_unsteady_after"])))
    return (
        f"{', '.join(sorted(set(unstable['strategy'])))}: the time of a call was not stable yet after {calls} warm-up"
        " calls, so the latency is less certain"
    )


def _distinct(values: Iterable[object]) -> str:
    """Return the distinct `values` as text; if there are several, each with its number of cells."""
    counts = pd.Series([value or "not recorded" for value in values], dtype="object").value_counts()
    if len(counts) == 1:
        return str(counts.index[0])
    return "; ".join(f"{value} ({plural(counts[value], 'cell')})" for value in sorted(counts.index))


def _pairs(cells: pd.DataFrame, first: str, second: str) -> Iterable[tuple[str, str]]:
    return zip(cells[first], cells[second], strict=True)


def rerun_command(cells: pd.DataFrame) -> list[str]:
    """Return the command that reproduces `cells`, split into lines; before it, that of the search for tuned rows.

    The user fills in ``DIR``, the folder of local data, and ``FILE``, the settings that define a custom budget.
    """
    first = cells.iloc[0]
    budget, shared = ["--budget", first["budget"]], []
    if split_label_count(first["budget"])[0] not in BUDGETS:
        shared.append(["--config", "FILE"])
    if first["model"] != EMBEDDED_NAME:
        shared.append(["--model", first["model"]])
    shared += [["--teacher", teacher] for teacher in sorted(cells["given_teacher"].dropna().unique())]
    if cells["source"].str.startswith("local ").any():
        shared.append(["--data-dir", "DIR"])
    tasks = [["--task", task] for task in sorted(set(cells["task"]))]
    strategies = sorted(set(cells["strategy"]))
    seeds = ["--seeds", str(cells["seed"].max() + 1)]
    lines = _command("run", [budget, seeds, *shared], tasks, strategies)
    if not (searched := _searched(strategies)):
        return lines
    trials = ["--trials", str(cells["tuning_trials"].max())]
    search = _command("tune", [budget, trials, *shared], tasks, searched)
    return [*search[:-1], f"{search[-1]} &&", *lines]


def _command(
    verb: str, head: list[list[str]], tasks: list[list[str]], strategies: Iterable[str]
) -> list[str]:
    parts = [[["kdbench", verb], *head], tasks, [["--strategy", strategy] for strategy in strategies]]
    words = ((on_one_line(word) for flag in part for word in flag) for part in parts)
    lines = [shlex.join(part) for part in words]
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def _searched(strategies: Iterable[str]) -> list[str]:
    """Return the strategies whose parameters were searched for the rows called `strategies`."""
    found: dict[str, None] = {}
    for label in strategies:
        with suppress(UsageError):  # a foreign record may have any label
            for stage in parse_spec(label).stages:
                if stage.tuned is not None:
                    found[str(stage.untuned)] = None
    return sorted(found)

"""The command that makes the cells of a board once more."""

from __future__ import annotations

import shlex

import pandas as pd

from kdbench.board.formatting import on_one_line
from kdbench.budgets import BUDGETS
from kdbench.config import EMBEDDED_NAME


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

"""Render the results of ``kdbench tune``: tables for the terminal, and files per task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from kdbench.render.markdown import csv_text, table
from kdbench.render.terminal import plain_table
from kdbench.results.tuning import FOLDER, SearchResult, params_text
from kdbench.utils import formatting
from kdbench.utils.files import write_atomically
from kdbench.utils.formatting import MISSING, escape_markdown, plural

_TEXTS = ("strategy", "best parameters")
_HEADINGS = [
    (name, name in _TEXTS)
    for name in ("strategy", "trials", "defaults", "best", "best parameters", "time of all trials")
]
"""Each with whether its column is text."""
_OPTIMISM = (
    "Scores are those of the validation examples. The best of several trials on the same examples is optimistic, the more"
    " so the more trials there are: compare rows on the board, which scores other examples with other seeds."
)


@dataclass(frozen=True)
class TunedRow:
    """A study's result, and the parameters whose best value is at the ``lower`` or ``upper`` edge of its range."""

    result: SearchResult
    edges: Mapping[str, str]

    @property
    def task(self) -> str:
        """The name of the task, or those of the tasks that are trained on jointly."""
        return "+".join(self.result.study.tasks)

    @property
    def params(self) -> str:
        """The parameters of the best trial as text."""
        best = self.result.best
        return MISSING if best is None else params_text(best.params)

    @property
    def remarks(self) -> list[str]:
        """Return a line for each parameter at an edge, and one for failed trials."""
        study, failed = self.result.study, [trial for trial in self.result.trials if trial.score is None]
        lines = [
            f"{study.strategy}: {name} is at the {end} edge of its range; further trials extend it"
            for name, end in self.edges.items()
        ]
        if failed:
            lines.append(
                f"{study.strategy}: {len(failed)} of {plural(len(self.result.trials), 'trial')} failed; the first:"
                f" {failed[0].reason}"
            )
        return lines

    def texts(self) -> list[str]:
        """Return the text under each heading."""
        result, defaults, best = self.result, self.result.defaults, self.result.best
        return [
            result.study.strategy,
            str(len(result.trials)),
            formatting.percent(defaults.score if defaults else None),
            formatting.percent(best.score if best else None),
            self.params,
            formatting.seconds(result.seconds),
        ]

    def data(self) -> dict[str, Any]:
        """Return the row of the CSV file."""
        study, defaults, best = self.result.study, self.result.defaults, self.result.best
        return {
            "strategy": study.strategy,
            "task": self.task,
            "trials": len(self.result.trials),
            "default_score": defaults.score if defaults else None,
            "best_score": best.score if best else None,
            "best_trial": best.number if best else None,
            "best_params": self.params,
            "tuning_s": self.result.seconds,
            "at_edge": "; ".join(f"{name} ({end})" for name, end in self.edges.items()),
            "validation_examples": study.validation_examples,
            "validation_is_unseen": study.is_unseen,
            "repeats": len(study.seeds),
            "metric": "+".join(dict.fromkeys(study.metrics)),
            "budget": study.budget,
            "model": study.model,
            "study": study.key,
        }


def tuning_tables(rows: Iterable[TunedRow]) -> list[Table]:
    """Return a table per task for the terminal."""
    tables = []
    for task, of_task in _by_task(rows).items():
        remarks = [line for row in of_task for line in row.remarks]
        drawn = plain_table(
            _HEADINGS,
            title=f"{task}, {_scored_on(of_task)}",
            caption="\n".join([_OPTIMISM, *remarks]),
            min_width=12,
            no_wrap=True,
        )
        for row in of_task:
            drawn.add_row(*map(Text, row.texts()))
        tables.append(drawn)
    return tables


def write_tuning(results: Path, budget: str, rows: Sequence[TunedRow]) -> Path:
    """Write ``<task>.md`` and ``<task>.csv``, a line per strategy, and all ``trials.csv``; return their folder."""
    folder = results / FOLDER / budget
    for task, of_task in _by_task(rows).items():
        write_atomically(folder / f"{task}.md", _page(task, of_task))
        write_atomically(folder / f"{task}.csv", csv_text(pd.DataFrame([row.data() for row in of_task])))
    trials = [
        {
            "strategy": row.result.study.strategy,
            "task": row.task,
            "trial": trial.number,
            "score": trial.score,
            **{f"score_{task}": _seed_scores(scores) for task, scores in trial.scores.items()},
            "reason": trial.reason,
            "seconds": trial.seconds,
            "finished_at": trial.finished_at.isoformat(timespec="seconds"),
            **trial.params,
        }
        for row in rows
        for trial in row.result.trials
    ]
    write_atomically(folder / "trials.csv", csv_text(pd.DataFrame(trials)))
    return folder


def _by_task(rows: Iterable[TunedRow]) -> dict[str, list[TunedRow]]:
    ordered = sorted(
        rows, key=lambda row: (row.task, -(row.result.best.score or 0) if row.result.best else 1)
    )
    return {task: list(of_task) for task, of_task in groupby(ordered, key=lambda row: row.task)}


def _scored_on(rows: Sequence[TunedRow]) -> str:
    studies = {(row.result.study.validation_examples, len(row.result.study.seeds)) for row in rows}
    sizes = [
        f"{plural(count, 'validation example')} x {plural(repeats, 'repeat')}"
        for count, repeats in sorted(studies)
    ]
    metrics = dict.fromkeys(metric for row in rows for metric in row.result.study.metrics)
    return f"{', '.join(metrics)} on {' or '.join(sizes)}"


def _seed_scores(scores: Sequence[float]) -> str:
    return ";".join(f"{score:.12g}" for score in scores)


def _page(task: str, rows: Sequence[TunedRow]) -> str:
    study = rows[0].result.study
    drawn = table(_HEADINGS, [row.texts() for row in rows])
    used = "nothing else uses these" if study.is_unseen else "training validates on these, too"
    notes = [
        f"Budget {study.budget}, base model {study.model}, seeds {study.seeds[0]} and up. {_scored_on(rows).capitalize()}:"
        f" {used}. The first trial of each strategy is its defaults.",
        _OPTIMISM,
        *(line for row in rows for line in row.remarks),
    ]
    lines = "".join(f"- {escape_markdown(note)}\n" for note in notes)
    return f"# Parameters searched on {escape_markdown(task)}\n\n{drawn}\n\n{lines}"

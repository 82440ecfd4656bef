"""Write the page of the label counts without a board of the whole budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kdbench.api.metric import Metric
from kdbench.board.answers import answer_tables
from kdbench.board.labels import label_tables
from kdbench.board.sources import Source
from kdbench.budgets import LabelCount
from kdbench.errors import UsageError
from kdbench.evaluation.metrics import METRICS
from kdbench.render.answers import answers_files
from kdbench.render.labels import labels_files
from kdbench.render.write import drawn_paths, write_file


def write_labels(
    source: Source,
    board: Path,
    *,
    budget: str,
    model: str | None = None,
    labels: Sequence[LabelCount] = (),
    cache: Path | None = None,
    metrics: Mapping[str, Metric] = METRICS,
    price: float | None = None,
) -> tuple[str, ...]:
    """Write the files of `labels_files` alone into the folder `board`, and return a line per record that was left out.

    The settings are those of `write_board`.

    Raises:
        UsageError: there is no record of a label count.
        KdbenchError: a file cannot be written.
    """
    tables = label_tables(source, budget=budget, model=model, counts=labels, metrics=metrics)
    if tables is None:
        raise UsageError(
            f"no record of a label count of budget {budget!r} in {source.name}; make some with 'kdbench run --budget {budget}"
            " --labels 16,64,all'"
        )
    files: dict[str, str | bytes] = {}
    if cache is not None:
        from kdbench.render.plots.draw import draw, planned_labels

        for picture in planned_labels(tables):
            files |= draw(picture)
    files |= labels_files(tables, budget, drawn_paths(board, files))
    if (answers := answer_tables(tables.counts, tables.records, price)) is not None:
        files |= answers_files(answers, budget)
    for name, content in files.items():
        write_file(board / name, content)
    return (*source.unreadable, *tables.left_out)

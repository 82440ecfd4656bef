"""Commands that read the records: boards, comparisons, recommendations."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import click

from kdbench.board.load import Loaded
from kdbench.board.predictions import TaskAnswers
from kdbench.cli.options import (
    complain,
    json_flag,
    model_of,
    out,
    plugin_columns,
    print_json,
    registry_of,
    settings,
    show_board,
    warn,
)
from kdbench.config import RunConfig
from kdbench.errors import KdbenchError, UsageError
from kdbench.registry import Registry

if TYPE_CHECKING:
    from datasets import Dataset
from kdbench.board.compare import Comparison, Disagreements, disagreements


@click.command()
@settings
@click.option("--papers", is_flag=True, help="show published results beside the board, with what differs")
@click.option(
    "--from",
    "places",
    multiple=True,
    metavar="DIR",
    help="a results folder, a board's folder or a glob such as 'runs/*', in the place of --results; repeatable: the"
    " board has the records of all",
)
@click.option(
    "--diff",
    "old",
    metavar="OLD",
    help="a results folder, a board's folder or a records.jsonl: mark what changed since; --task and --strategy choose"
    " the rows",
)
@click.option(
    "--fail-on-regression",
    is_flag=True,
    help="with --diff: exit code 1 if a row is shown worse, fails now, or is gone",
)
@click.argument("more", nargs=-1, metavar="")
def board(
    config: RunConfig,
    papers: bool,
    places: tuple[str, ...],
    old: str | None,
    fail_on_regression: bool,
    more: tuple[str, ...],
) -> int:
    """Draw the boards again from the records; nothing is run."""
    from kdbench.board.diff import Against
    from kdbench.board.sources import opened
    from kdbench.render.diff import CHANGES_PAGE, print_changes, regressions_line
    from kdbench.render.published import published_terminal
    from kdbench.render.write import write_board

    if more:
        raise UsageError(
            f"no argument is known here: {' '.join(more)}; put a glob in quotes, as in --from 'runs/*'"
        )
    if fail_on_regression and old is None:
        raise UsageError("--fail-on-regression needs older records; name them with --diff")
    registry = registry_of(config)
    warnings: list[str] = []
    rows = [] if "*" in config.strategy else config.strategy

    with ExitStack() as stack:
        source = stack.enter_context(opened(places, "--from")) if places else config.results
        older = stack.enter_context(opened([old], "--diff")) if old is not None else None
        summary = write_board(
            source,
            config.board_folder,
            budget=config.budget,
            model=model_of(config),
            columns=partial(plugin_columns, registry, warnings),
            metrics=registry.metrics,
            papers=papers,
            cache=config.drawings_cache,
            against=None if older is None else Against(older, config.task, rows),
        )
    show_board(config, summary)
    if papers:
        for table in published_terminal(summary.rows, summary.cells):
            out.print(table)
    warn(warnings)
    if summary.changes is None:
        return 0
    print_changes(summary.changes, out)
    warn(f"{old}: {line}" for line in (*summary.changes.unreadable, *summary.changes.left_out))
    out.print(f"Changes: {config.board_folder / CHANGES_PAGE}", soft_wrap=True)
    if not (fail_on_regression and summary.changes.regressions):
        return 0
    complain(regressions_line(summary.changes))
    return 1


@click.command("compare")
@click.argument("a")
@click.argument("b")
@settings
@click.option(
    "--examples",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    metavar="N",
    help="scored examples a task on which the two differ",
)
@click.option("--aso", is_flag=True, help="the almost stochastic order of the seeds' scores, too")
@json_flag
def compare_(config: RunConfig, a: str, b: str, examples: int, aso: bool, as_json: bool) -> int:
    """Hold two rows of a board against each other: what is shown, and what is not."""
    from kdbench.board.compare import compare
    from kdbench.board.load import load_cells
    from kdbench.render.compare import comparison_data, print_comparison

    registry = registry_of(config)
    loaded = load_cells(
        config.results, budget=config.budget, model=model_of(config), metrics=registry.metrics
    )
    found = compare(loaded, config.results, a, b, config.task, aso=aso)
    shown = shown_examples(found, loaded, config, registry, examples) if examples else {}
    if as_json:
        print_json(comparison_data(found, shown))
    else:
        print_comparison(found, shown, out)
    warn((*loaded.unreadable, *loaded.left_out))
    return 0


@click.command("recommend")
@settings
@click.option("--max-latency-ms", metavar="MS", help="the longest p50, as 5")
@click.option("--max-params", metavar="N", help="the most parameters, as 12M")
@click.option("--max-bytes", metavar="N", help="the largest artifact, as 50MB")
@click.option("--min-quality", metavar="PERCENT", help="the lowest score, in percent as on the board")
@json_flag
def recommend_(config: RunConfig, as_json: bool, **limits: str | None) -> int:
    """Say which row of a task to ship under these limits, why, and what that costs."""
    from kdbench.board.load import load_cells
    from kdbench.board.recommend import limits_of, recommend
    from kdbench.render.recommend import print_recommendation, recommendation_data

    if len(config.task) != 1:
        raise UsageError("name the one task to recommend for with --task")
    wanted = limits_of(**limits)
    loaded = load_cells(
        config.results, budget=config.budget, model=model_of(config), metrics=registry_of(config).metrics
    )
    found = recommend(loaded, config.results, config.task[0], wanted)
    if as_json:
        print_json(recommendation_data(found))
    else:
        print_recommendation(found, out)
    warn((*loaded.unreadable, *loaded.left_out))
    return 0


def shown_examples(
    comparison: Comparison, loaded: Loaded, config: RunConfig, registry: Registry, limit: int
) -> dict[str, Disagreements | str]:
    """Return by task where the two rows part ways, or in one line why that cannot be shown.

    Args:
        comparison: the two rows.
        loaded: the cells that they were compared from.
        config: where the data and the predictions are.
        registry: the tasks.
        limit: how many examples of a task are shown.
    """
    shown: dict[str, Disagreements | str] = {}
    for task in comparison.tasks:
        if task.contrast is None:
            continue
        cells = loaded.cells[loaded.cells["task"] == task.task]
        split, fingerprint = cells["scored_split"].iloc[0], cells["fingerprint"].iloc[0]
        try:
            a, b = TaskAnswers(cells, config.results, metrics=registry.metrics).pair(
                comparison.a, comparison.b
            )
            texts = scored_texts(config, registry, task.task, split, fingerprint)
        except KdbenchError as error:
            shown[task.task] = str(error)
            continue
        found = disagreements(a, b, texts, limit)
        shown[task.task] = found if found is not None else "the two rows share no seed"
    return shown


def scored_texts(config: RunConfig, registry: Registry, task: str, split: str, fingerprint: str) -> Dataset:
    """Return the scored split of `task` from the data on this machine; nothing is fetched.

    Raises:
        KdbenchError: the data is not here, or is not that of the records; one line that says which.
    """
    from kdbench.data import load_task, missing_downloads

    if task not in registry.tasks:
        raise KdbenchError(f"no plugin or setting brings the task {task!r} now")
    found = registry.task(task)
    if missing_downloads(found, config.data):
        raise KdbenchError(f"the data of {task} is not on this machine")
    data = load_task(found, config.data)
    if data.fingerprint != fingerprint:
        raise KdbenchError(f"the data of {task} on this machine is not the data that was scored")
    return data.splits[split]

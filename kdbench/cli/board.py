"""Define the commands that read records: board, compare, recommend."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import click

from kdbench.board.compare import Comparison
from kdbench.board.disagreements import Disagreements, disagreements
from kdbench.board.load import Loaded, load_cells
from kdbench.board.predictions import TaskAnswers
from kdbench.cli.options import (
    complain,
    json_flag,
    model_of,
    out,
    print_json,
    registry_of,
    settings,
    show_board,
    show_labels,
    warn,
)
from kdbench.config import RunConfig
from kdbench.errors import KdbenchError, UsageError
from kdbench.registry import Registry

if TYPE_CHECKING:
    from datasets import Dataset


@click.command()
@settings
@click.option("--papers", is_flag=True, help="also print published results and how their setup differs")
@click.option(
    "--from",
    "places",
    multiple=True,
    metavar="DIR",
    help="a results folder, a board's folder or a glob such as 'runs/*', instead of --results; repeatable: records are"
    " merged",
)
@click.option(
    "--diff",
    "old",
    metavar="OLD",
    help="a results folder, a board's folder or a records.jsonl to compare with; --task and --strategy select the"
    " rows",
)
@click.option(
    "--fail-on-regression",
    is_flag=True,
    help="with --diff: exit code 1 if a row is significantly worse, fails now or is missing",
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
    """Write the boards from existing records; run nothing."""
    from kdbench.board.diff import Against
    from kdbench.board.sources import Source, opened, read_results
    from kdbench.render.diff import CHANGES_PAGE, print_changes, regressions_line
    from kdbench.render.published import published_terminal
    from kdbench.render.write import write_board

    if more:
        raise UsageError(
            f"unexpected arguments {' '.join(more)}; put a glob in quotes, as in --from 'runs/*'"
        )
    if fail_on_regression and old is None:
        raise UsageError("--fail-on-regression needs older records; name them with --diff")
    registry = registry_of(config)
    warnings: list[str] = []
    rows = [] if "*" in config.strategy else config.strategy

    with ExitStack() as stack:
        source = stack.enter_context(opened(places, "--from")) if places else config.results
        if config.labels and "all" not in config.labels:
            if old is not None:
                raise UsageError(
                    "--diff compares boards of all labels; add all to --labels, or leave one out"
                )
            read = source if isinstance(source, Source) else read_results(source)
            show_labels(config, registry, read, config.labels)
            return 0
        older = stack.enter_context(opened([old], "--diff")) if old is not None else None
        summary = write_board(
            source,
            config.board_folder,
            budget=config.budget,
            model=model_of(config),
            columns=partial(registry.board_columns, warn=warnings.append),
            metrics=registry.metrics,
            papers=papers,
            cache=config.drawings_cache,
            against=None if older is None else Against(older, config.task, rows),
            labels=config.labels,
            margin=config.margin_share,
            price=config.price_per_answer,
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
    help="examples to show per task on which the two differ",
)
@click.option("--aso", is_flag=True, help="also test the seeds' scores for almost stochastic order")
@json_flag
def compare_(config: RunConfig, a: str, b: str, examples: int, aso: bool, as_json: bool) -> int:
    """Compare two rows of a board, with tests for significance."""
    from kdbench.board.compare import compare
    from kdbench.render.compare import comparison_data, print_comparison

    registry = registry_of(config)
    loaded = _loaded_cells(config, registry)
    comparison = compare(loaded, config.results, a, b, config.task, aso=aso, margin=config.margin_share)
    differing = differing_examples(comparison, loaded, config, registry, examples) if examples else {}
    if as_json:
        print_json(comparison_data(comparison, differing))
    else:
        print_comparison(comparison, differing, out)
    warn((*loaded.unreadable, *loaded.left_out))
    return 0


@click.command("recommend")
@settings
@click.option(
    "--max-latency-ms", metavar="MS", help="maximum median latency (or p95, with --speed p95), such as 5"
)
@click.option("--max-params", metavar="N", help="maximum parameters, such as 12M")
@click.option("--max-bytes", metavar="N", help="maximum artifact size, such as 50MB")
@click.option("--min-quality", metavar="PERCENT", help="minimum score, in percent as on the board")
@click.option(
    "--speed",
    type=click.Choice(["single", "throughput", "p95"]),
    default="single",
    show_default=True,
    help="what decides which row is the fastest: median of single calls, batches on all cores, or the p95",
)
@click.option(
    "--price-per-hour",
    type=click.FloatRange(min=0, min_open=True),
    metavar="PRICE",
    help="what an hour of the machine that was timed costs you: prints what a million examples cost",
)
@json_flag
def recommend_(
    config: RunConfig, as_json: bool, speed: str, price_per_hour: float | None, **limits: str | None
) -> int:
    """Recommend which model of a task to deploy within given limits."""
    from kdbench.board.limits import limits_of
    from kdbench.board.recommend import recommend
    from kdbench.render.recommend import print_recommendation, recommendation_data
    from kdbench.results.timings import Speed

    if len(config.task) != 1:
        raise UsageError("name the one task to recommend for with --task")
    bounds = limits_of(**limits)
    loaded = _loaded_cells(config, registry_of(config))
    recommendation = recommend(
        loaded, config.results, config.task[0], bounds, config.margin_share, Speed(speed)
    )
    if as_json:
        print_json(recommendation_data(recommendation, price_per_hour))
    else:
        print_recommendation(recommendation, out, price_per_hour)
    warn((*loaded.unreadable, *loaded.left_out))
    return 0


def _loaded_cells(config: RunConfig, registry: Registry) -> Loaded:
    return load_cells(config.results, budget=config.budget, model=model_of(config), metrics=registry.metrics)


def differing_examples(
    comparison: Comparison, loaded: Loaded, config: RunConfig, registry: Registry, limit: int
) -> dict[str, Disagreements | str]:
    """Return by task at most `limit` examples on which two rows differ, or in one line why they cannot be shown.

    The rows are those of `comparison`, which was computed from `loaded`.
    """
    differing: dict[str, Disagreements | str] = {}
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
            differing[task.task] = str(error)
            continue
        disagreement = disagreements(a, b, texts, limit)
        differing[task.task] = "the two rows share no seed" if disagreement is None else disagreement
    return differing


def scored_texts(config: RunConfig, registry: Registry, task: str, split: str, fingerprint: str) -> Dataset:
    """Return the evaluation split of `task` from the data on this machine; nothing is fetched.

    Raises:
        KdbenchError: the data is not on this machine, or is not the data of the records.
    """
    from kdbench.data import load_task, missing_downloads

    if task not in registry.tasks:
        raise KdbenchError(f"no plugin or setting defines the task {task!r}")
    definition = registry.task(task)
    if missing_downloads(definition, config.data):
        raise KdbenchError(f"the data of {task} is not on this machine")
    data = load_task(definition, config.data)
    if data.fingerprint != fingerprint:
        raise KdbenchError(f"the data of {task} on this machine is not the data that was scored")
    return data.splits[split]

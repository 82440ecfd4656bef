"""Define the command that searches the parameters of strategies."""

from __future__ import annotations

import click

from kdbench.cli.options import INTERRUPTED, complain, out, registry_of, settings, warn
from kdbench.config import RunConfig
from kdbench.utils.formatting import plural


@click.command()
@settings
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="N",
    help="trials per strategy and task, of which the first is the defaults; with more than before, only the rest is run",
)
@click.option(
    "--repeats",
    type=click.IntRange(1, 5),
    metavar="N",
    help="seeds per trial; by default as many as make 1,000 scored validation examples, at most 5",
)
def tune(config: RunConfig, trials: int, repeats: int | None) -> int:
    """Search the parameters of every strategy on validation examples, with equally many trials for each.

    Trials that finished in an earlier search are not run again. 'kdbench run --strategy NAME[tuned]' uses the result.
    """
    from kdbench.tune.sampler import check_optuna

    check_optuna()
    from kdbench.render.tuning import TunedRow, tuning_tables, write_tuning
    from kdbench.run.progress import Terminal
    from kdbench.tune.search import search
    from kdbench.tune.studies import known_searches

    registry = registry_of(config)
    with Terminal(out) as terminal:
        outcome = search(config, registry, terminal, trials=trials, repeats=repeats)
    rows = {
        one.study.key: TunedRow(one.result, one.space.edges(one.result.trials))
        for one in (*known_searches(config, registry, outcome.searches), *outcome.searches)
        if one.trials
    }
    folder = write_tuning(config.results, config.budget, list(rows.values()))
    now = {one.study.key for one in outcome.searches}
    for table in tuning_tables(row for key, row in rows.items() if key in now):
        out.print(table)
    out.print(f"Tables and all trials: {folder}", soft_wrap=True)
    if outcome.interrupted:
        complain(
            f"interrupted with {plural(outcome.unfinished, 'trial')} to go; run the same command again to resume"
        )
        return INTERRUPTED
    warn([*outcome.failures, *outcome.unequal])
    return 1 if any(one.result.best is None for one in outcome.searches) else 0

"""Define the commands list and describe."""

from __future__ import annotations

import click

from kdbench.cli.options import json_flag, out, print_json, registry_of, settings
from kdbench.config import RunConfig


@click.command("list")
@click.argument("what", default="strategies", metavar="[strategies|tasks|plugins|budgets]")
@settings
@json_flag
def list_(config: RunConfig, what: str, as_json: bool) -> int:
    """List the available strategies, tasks, plugins or budgets."""
    from kdbench.cli.description import listing, listing_table

    rows = listing(registry_of(config), what, config.known_budgets)
    if as_json:
        print_json(rows)
    else:
        out.print(listing_table(what, rows))
    return 0


@click.command()
@click.argument("name")
@settings
@json_flag
def describe(config: RunConfig, name: str, as_json: bool) -> int:
    """Describe a strategy, a task or a budget in full."""
    from kdbench.cli.description import description, description_view, task_sizes

    registry = registry_of(config)
    sizes = task_sizes(registry.task(name), config) if name in registry.tasks else None
    row = description(registry, name, sizes, config.known_budgets)
    if as_json:
        print_json(row)
    else:
        out.print(description_view(row))
    return 0

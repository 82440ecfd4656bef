"""Define the commands for authors of plugins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kdbench.cli.options import PATH, json_flag, out, plugin_flag, print_json, warn

if TYPE_CHECKING:
    from rich.table import Table

    from kdbench.testing.report import Report


@click.command()
@click.argument("part", metavar="strategy|transform|joint|task|metric|kind")
@click.argument("name")
def new(part: str, name: str) -> int:
    """Write a new plugin: a distribution that works at once.

    Its folder kdbench-NAME, here, gets a module of under 40 lines, a test, a pyproject.toml and a README.
    """
    from kdbench.authoring.new import write_plugin
    from kdbench.plugins import load_plugins

    folder = write_plugin(part, name, Path(), load_plugins())
    out.print(
        f"Wrote {folder}; next: pip install --editable {folder} && kdbench check {folder}", soft_wrap=True
    )
    return 0


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME_OR_FILE...")
@plugin_flag("a plugin that is not installed and provides NAME")
@click.option("--data-dir", type=PATH, metavar="DIR", help="the folder with the data of a task")
@json_flag
def check(names: tuple[str, ...], plugin: tuple[str, ...], data_dir: Path | None, as_json: bool) -> int:
    """Check plugins, or single strategies, tasks, metrics or kinds.

    NAME_OR_FILE is a .py file, a distribution or the name of a part. Strategies are tried on tiny random models of three
    architectures, offline. The exit code is 1 if a check fails.
    """
    from kdbench.config import DataSettings
    from kdbench.plugins import load_plugins
    from kdbench.testing.find import reports_on

    registry = load_plugins([*plugin, *(name for name in names if name.endswith(".py"))])
    warn(f"{info}: {info.error}" for info in registry.plugins if info.error and info.name not in names)
    reports = []
    for report in reports_on(names, registry, DataSettings(data_dir=data_dir)):
        reports.append(report)
        if not as_json:
            out.print(_table(report))
    if as_json:
        print_json([report.data() for report in reports])
    return 1 if any(report.failures for report in reports) else 0


def _table(report: Report) -> Table:
    from rich.table import Table

    table = Table(title=report.subject, title_justify="left")
    for heading in ("check", "verdict", "reason"):
        table.add_column(heading, overflow="fold")
    styles = {"passed": "green", "failed": "red", "does not apply": "dim"}
    for result in report.results:
        table.add_row(result.check, str(result.verdict), result.reason, style=styles[result.verdict])
    return table

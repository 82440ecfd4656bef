"""Define the commands that publish records and verify those of others."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from kdbench.cli.options import PATH, json_flag, out, plugin_flag, print_json, registry_of, settings, warn
from kdbench.config import RunConfig


@click.command()
@settings
@click.option("--out", "folder", type=PATH, metavar="DIR", help="write the site into DIR")
@click.option(
    "--git", "remote", metavar="REMOTE", help="push the site to a branch of REMOTE: a URL, a path or origin"
)
@click.option("--branch", default="gh-pages", show_default=True, metavar="NAME", help="branch for --git")
@click.option("--hub", metavar="ORG/NAME", help="upload a data set and a Space to the Hugging Face hub")
@click.option(
    "--allow",
    multiple=True,
    metavar="WORD",
    help="a word that may be published although it is your user name",
)
@click.option("--dry-run", is_flag=True, help="print what would be sent; send nothing")
def publish(
    config: RunConfig,
    folder: Path | None,
    remote: str | None,
    branch: str,
    hub: str | None,
    allow: tuple[str, ...],
    dry_run: bool,
) -> int:
    """Publish a board, without names or paths of this machine.

    Sends the page, records, timings and predictions.
    """
    from kdbench.share.publish import Destinations, publish

    registry = registry_of(config)
    warnings: list[str] = []
    remarks = publish(
        config,
        Destinations(folder, remote, branch, hub),
        allow=allow,
        dry_run=dry_run,
        columns=partial(registry.board_columns, warn=warnings.append),
        metrics=registry.metrics,
        report=partial(out.print, soft_wrap=True),
    )
    warn((*remarks, *warnings))
    return 0


@click.command()
@click.argument("folder", type=PATH, metavar="DIR")
@plugin_flag("a plugin whose strategies have records in DIR")
@json_flag
def verify(folder: Path, plugin: tuple[str, ...], as_json: bool) -> int:
    """Verify the records in a results folder or a published one.

    Checks keys, scores, intervals and the plausibility of values in DIR.
    """
    from kdbench.config import load_config
    from kdbench.share.verify import verify as verify_folder
    from kdbench.share.verify_report import print_report

    registry = registry_of(load_config(None, {"plugins": {"modules": list(plugin)}}))
    report = verify_folder(folder, registry)
    if as_json:
        print_json(report.data())
    else:
        print_report(report, out)
    return 0 if report.is_clean else 1

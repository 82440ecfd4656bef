"""Implement `kdbench publish`: build a site and write, push or upload it, or print what would be sent."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdbench.api.metric import Metric
from kdbench.config import RunConfig
from kdbench.errors import UsageError
from kdbench.evaluation.metrics import METRICS
from kdbench.models.base import model_name
from kdbench.render.write import PluginColumns
from kdbench.share.git import parse_remote, push_site
from kdbench.share.hub import KINDS, hub_api, hub_files, parse_hub_name, publish_to_hub
from kdbench.share.privacy import of_this_machine
from kdbench.share.site import Site, build_site, check_place, write_site
from kdbench.utils.formatting import plural

Reporter = Callable[[str], None]


@dataclass(frozen=True)
class Destinations:
    """The destinations of a site: one or several."""

    out: Path | None = None
    git: str | None = None
    branch: str = "gh-pages"
    hub: str | None = None


def publish(
    config: RunConfig,
    to: Destinations,
    *,
    allow: Sequence[str] = (),
    dry_run: bool = False,
    columns: PluginColumns | None = None,
    metrics: Mapping[str, Metric] = METRICS,
    report: Reporter,
) -> tuple[str, ...]:
    """Publish the board of `config` and return a remark for each item that was left out.

    Args:
        config: names results, budget and base model.
        to: one or several destinations.
        allow: words that the user declares not to be private.
        dry_run: whether only to report what would be sent; nothing outside a temporary folder is written then, and
            the network is not used.
        columns: see `write_board`; `metrics`, too.
        report: receives a line for each action.

    Raises:
        UsageError: no destination, an invalid one, or no record to publish.
        KdbenchError: a file contains private data, or a destination refuses.
    """
    if not (to.out or to.git or to.hub):
        raise UsageError("name a destination: --out DIR, --git REMOTE or --hub ORG/NAME")
    remote = parse_remote(to.git) if to.git else None
    name = parse_hub_name(to.hub) if to.hub else None
    if to.out is not None:
        check_place(to.out, config.results)
    api = hub_api() if name and not dry_run else None
    folders = filter(None, (config.results, config.board_folder, config.cache_dir, config.data_dir))
    with tempfile.TemporaryDirectory(prefix="kdbench-") as scratch:
        site = build_site(
            config.results,
            Path(scratch),
            of_this_machine(folders, allow),
            budget=config.budget,
            model=None if config.model is None else model_name(config.model),
            columns=columns,
            metrics=metrics,
            cache=config.drawings_cache,
        )
        if dry_run:
            _report_dry_run(site, to, str(remote), name, report)
            return site.remarks
        if to.out is not None:
            write_site(site, to.out)
            report(f"wrote {_size(site)} to {to.out}")
        if remote is not None:
            message = f"Publish {plural(site.records, 'record')} of budget {config.budget}"
            commit = push_site(site.folder, remote, to.branch, message)
            if commit is None:
                report(f"nothing to do: {to.branch} of {remote} has the same site")
            else:
                report(f"pushed {_size(site)} to {to.branch} of {remote} as {commit[:12]}")
        if name is not None and api is not None:
            for address in publish_to_hub(site, name, api):
                report(f"uploaded to {address}")
        return site.remarks


def _report_dry_run(site: Site, to: Destinations, remote: str, name: str | None, report: Reporter) -> None:
    for file, size in site.files.items():
        report(f"{size:>12,} bytes  {file}")
    if to.out is not None:
        report(f"would write {_size(site)} to {to.out}")
    if to.git is not None:
        report(f"would push {_size(site)} to {to.branch} of {remote}")
    if name is not None:
        for kind, title in KINDS.items():
            report(f"would upload {plural(len(hub_files(site, kind)), 'file')} to the {title} {name}")


def _size(site: Site) -> str:
    return f"{plural(len(site.files), 'file')}, {sum(site.files.values()):,} bytes,"

"""Build a site: a folder with the board and the records, timings and predictions that it is drawn from."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from kdbench.api.metric import Metric
from kdbench.api.predictions import Predictions
from kdbench.board.labels import load_label_counts
from kdbench.board.load import load_cells
from kdbench.board.sources import read_results
from kdbench.errors import KdbenchError, UsageError
from kdbench.evaluation.metrics import METRICS
from kdbench.render.html.page import laid_open
from kdbench.render.write import PluginColumns, write_board
from kdbench.results.paths import RECORDS_FILE
from kdbench.results.records import Record, Status
from kdbench.share.privacy import Private, write_scrubbed_results
from kdbench.utils.files import scratch_folder, write_atomically


@dataclass(frozen=True)
class Site:
    """A folder that may be published."""

    folder: Path
    records: int
    remarks: tuple[str, ...]
    """One line per item that was left out."""

    @property
    def files(self) -> dict[str, int]:
        """The size in bytes of each file, by its path in the folder."""
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in paths}


def build_site(
    results: Path,
    folder: Path,
    private: Private,
    *,
    budget: str,
    model: str | None = None,
    columns: PluginColumns | None = None,
    cache: Path | None = None,
    metrics: Mapping[str, Metric] = METRICS,
) -> Site:
    """Write the board of `kdbench board` and its data into the empty `folder`, and check it for private data.

    The board is drawn from scrubbed records, so that pages and records agree. Predictions are read and written again,
    so that only the arrays that kdbench knows are published. The folder `results` is not changed; the settings are those
    of `write_board`.

    Raises:
        UsageError: there is no record to publish.
        KdbenchError: a file still contains private data; names file and line.
    """
    source = read_results(results)
    loaded = load_cells(source, budget=budget, model=model)
    of_labels = load_label_counts(source, budget=budget, model=loaded.records[0].model.weights_sha256)
    keys = {record.key for part in (loaded, *of_labels) for record in part.records}
    remarks = [*loaded.unreadable, *loaded.left_out]
    with scratch_folder(folder) as staging:
        records, merged = write_scrubbed_results(results, keys, staging, private)
        if merged:
            raise KdbenchError(f"{merged[0]}; give the files different names, or leave one row out")
        remarks += _copy_predictions(results, staging, records)
        weights = records[0].model.weights_sha256
        write_board(
            staging, folder, budget=budget, model=weights, columns=columns, cache=cache, metrics=metrics
        )
        for part in ("timings", "predictions"):
            if (staging / part).is_dir():
                (staging / part).replace(folder / part)
    if not (folder / "index.html").exists():
        _write_index(folder)
    check(folder, private)
    return Site(folder, len(records), tuple(remarks))


def check(folder: Path, private: Private) -> None:
    """Raise if a file in `folder` still names the machine, its folders or users, or contains a token.

    Raises:
        KdbenchError: names the file, the line and the private text.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        content = path.read_bytes()
        try:
            text = content.decode()
        except UnicodeDecodeError:
            leak = private.leak_in_bytes(content)
            place = name
        else:
            match = private.leak(f"{name}\n{laid_open(text)}")
            leak = match and match[1]
            place = f"{name}, line {match[0] - 1}" if match and match[0] > 1 else name
        if leak is not None:
            raise KdbenchError(
                f"{place} still contains {leak!r}, so nothing was published; remove it from the texts of the plugin or "
                "task, or, if it is not private, pass --allow with the word"
            )


def _copy_predictions(results: Path, staging: Path, records: list[Record]) -> list[str]:
    remarks = []
    for record in records:
        paths = sorted((results / "predictions").glob(f"{record.key}.*safetensors"))
        if not paths and record.status is Status.OK:
            remarks.append(
                f"no predictions of {record.strategy.label} on {record.task.name}, seed {record.seed}: others cannot "
                "recompute its score"
            )
        for path in paths:
            try:
                Predictions.load(path).save(staging / "predictions" / path.name)
            except KdbenchError as error:
                remarks.append(f"left out: {error}")
    return remarks


def _write_index(folder: Path) -> None:
    """Write a page of links, for hosts that serve only HTML."""
    names = [html.escape(path.name) for path in folder.iterdir() if path.is_file()]
    names.sort(key=lambda name: (name != "README.md", name))
    links = "\n".join(f'<li><a href="{name}">{name}</a></li>' for name in names)
    (folder / "index.html").write_text(
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>kdbench</title>\n<h1>kdbench</h1>\n'
        f"<ul>\n{links}\n</ul>\n</html>\n",
        encoding="utf-8",
    )


def check_place(out: Path, results: Path) -> None:
    """Raise if a site must not be written into the folder `out`.

    Raises:
        UsageError: it is not a folder, or is the results folder, whose predictions a site would replace.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is not a folder; name a folder, existing or new")
    if out.resolve() == results.resolve():
        raise UsageError(f"--out {out} is the results folder; name another")


def write_site(site: Site, out: Path) -> None:
    """Write the files of `site` into `out`.

    Files of the same names are replaced. If `out` contains an earlier site, its predictions and timings that this site
    lacks are deleted; other files are left alone.

    Raises:
        KdbenchError: a file cannot be written.
    """
    files = site.files
    try:
        if (out / RECORDS_FILE).is_file():
            _remove_stale(out, files)
        for name in files:
            write_atomically(out / name, (site.folder / name).read_bytes())
    except OSError as error:
        raise KdbenchError(
            f"cannot write {error.filename or out} ({error.strerror}); free some space or name another folder with --out"
        ) from error


def _remove_stale(out: Path, names: Collection[str]) -> None:
    for pattern in ("predictions/*.safetensors", "timings/*.json"):
        for path in out.glob(pattern):
            if path.relative_to(out).as_posix() not in names and path.is_file():
                path.unlink()
        folder = (out / pattern).parent
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

"""The records of several places as those of one: the same key is the same cell, wherever it ran."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from kdbench.board.formatting import on_one_line
from kdbench.board.source import Source
from kdbench.records import Record
from kdbench.results import CellFiles

_TOLERANCE = 1e-9
"""Scores of the same answers, summed on another machine, differ by less."""
_FILES = ("predictions", "noisy_predictions", "log")
"""What a board reads of a cell beside its record."""

_Held = list[tuple[Record, Source]]
"""The records of one cell, newest first, and where each stands."""


@contextmanager
def joined(sources: Sequence[Source]) -> Iterator[Source]:
    """Give all `sources` as one, for as long as the block lasts.

    Of a cell that several hold, the newest record counts. Where the others differ from it in status, scores or
    parameters, that is told in `Source.conflicts`. Predictions and log come from the newest record's place or, where
    it has none, from another whose record does not differ.
    """
    if len(sources) == 1:
        yield sources[0]
        return
    cells: dict[str, _Held] = {}
    for source in sources:
        for record in source.records:
            cells.setdefault(record.key, []).append((record, source))
    for held in cells.values():
        held.sort(key=lambda one: one[0].finished_at, reverse=True)
    names = _last_names([source.name for source in sources])
    conflicts = {key: _conflict(held, names) for key, held in cells.items()}
    with TemporaryDirectory(prefix="kdbench-") as folder:
        for key, held in cells.items():
            _link_files(key, held, Path(folder))
        yield Source(
            name=" and ".join(source.name for source in sources),
            root=Path(folder),
            records=tuple(held[0][0] for held in cells.values()),
            timings=tuple(chain.from_iterable(source.timings for source in sources)),
            unreadable=tuple(chain.from_iterable(source.unreadable for source in sources)),
            conflicts={key: line for key, line in conflicts.items() if line is not None},
        )


def _conflict(held: _Held, names: Mapping[str, str]) -> str | None:
    """Return how the records of one cell differ, and which one counts; None where they agree."""
    newest, place = held[0]
    differences = {
        names[other.name]: difference
        for record, other in held[1:]
        if (difference := _difference(newest, record)) is not None
    }
    if not differences:
        return None
    told = "; ".join(
        f"{mine} in {names[place.name]} but {its} in {name}" for name, (mine, its) in differences.items()
    )
    return on_one_line(
        f"conflict: {newest.strategy.label} on {newest.task.name}, seed {newest.seed} (record {newest.key}): {told}."
        f" The newest, in {names[place.name]}, counts here"
    )


def _difference(a: Record, b: Record) -> tuple[str, str] | None:
    """Return the first thing that matters and that two records of one cell do not agree in, as each has it."""
    if a.status is not b.status:
        return str(a.status), str(b.status)
    first, second = ({} if one.quality is None else one.quality.metrics for one in (a, b))
    for metric in sorted({*first, *second}, key=lambda name: (name != a.task.metric, name)):
        mine, its = first.get(metric), second.get(metric)
        if mine is None or its is None or abs(mine - its) > _TOLERANCE:
            return _told(metric, mine), _told(metric, its)
    parameters = [0 if one.size is None else one.size.total_parameters for one in (a, b)]
    if parameters[0] != parameters[1]:
        return f"{parameters[0]:,} parameters", f"{parameters[1]:,}"
    return None


def _told(metric: str, score: float | None) -> str:
    return f"no {metric}" if score is None else f"{metric} {100 * score:.6g}"


def _link_files(key: str, held: _Held, folder: Path) -> None:
    """Make the files of a cell seen in `folder`."""
    roots = [source.root for record, source in held if _difference(held[0][0], record) is None]
    for kind in _FILES:
        paths: Iterator[Path] = (getattr(CellFiles(root, key), kind) for root in roots)
        there = next((path for path in paths if path.is_file()), None)
        if there is not None:
            link: Path = getattr(CellFiles(folder, key), kind)
            link.parent.mkdir(exist_ok=True)
            _link(there.resolve(), link)


def _link(path: Path, link: Path) -> None:
    try:
        link.symlink_to(path)
    except OSError:  # where there are no links, or not for this user
        shutil.copyfile(path, link)


def _last_names(places: Sequence[str]) -> dict[str, str]:
    """Return the shortest ends of `places` that tell them apart: a board names no more of somebody's folders."""
    parts = [Path(place).parts for place in places]
    deepest = max(map(len, parts))
    for length in range(1, deepest + 1):
        ends = ["/".join(one[-length:]) for one in parts]
        if len(set(ends)) == len(ends):
            break
    return dict(zip(places, ends, strict=True))

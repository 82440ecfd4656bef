"""Read a board's records from a results folder, a board's folder or a file of records."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from kdbench.errors import UsageError
from kdbench.results.paths import (
    LARGEST_PREDICTIONS_BYTES,
    LARGEST_RECORDS_BYTES,
    LOG_BYTES,
    RECORDS_FILE,
    CellFiles,
)
from kdbench.results.records import Record, RecordStore
from kdbench.results.timings import Timing, load_timings
from kdbench.utils.files import parse_json, user_path
from kdbench.utils.formatting import on_one_line
from kdbench.utils.plain_files import plain_file, read_end, read_plain


@dataclass(frozen=True)
class Source:
    """All records and timings of one place, of any budget and base model."""

    name: str
    """Its name in messages."""
    root: Path
    """The folder whose ``predictions/`` and ``logs/`` belong to the records."""
    records: tuple[Record, ...]
    timings: tuple[Timing, ...]
    unreadable: tuple[str, ...] = ()
    """One line per file, or line of a file, that could not be read."""
    conflicts: Mapping[str, str] = field(default_factory=dict)
    """By cell key: how the records of several places differ. As these lines may be published, they name folders by the
    last parts of their paths only."""


def read_results(results: Path, within: Path | None = None) -> Source:
    """Read the results folder `results`, which may be empty; no file that lies outside of `within`, if given."""
    records, unreadable = RecordStore(results).load(within)
    timings, unreadable_timings = load_timings(results, within)
    return Source(str(results), results, tuple(records), tuple(timings), (*unreadable, *unreadable_timings))


def holds_records(place: Path) -> bool:
    """Return whether `place` looks like something that `read_source` reads."""
    return (place / "records").is_dir() or (place / RECORDS_FILE).is_file() or place.name.endswith(".jsonl")


def read_source(place: Path) -> Source:
    """Read `place`: a results folder, the folder of a board, or a ``records.jsonl``.

    It may be a stranger's: a link that leads out of it is not followed.

    Raises:
        UsageError: `place` does not exist, or has no record that can be read.
    """
    advice = f"name a results folder, a board's folder or a {RECORDS_FILE}"
    if not place.exists():
        raise UsageError(f"there is no {place}; {advice}")
    if not holds_records(place):
        raise UsageError(f"{place} holds neither records/ nor {RECORDS_FILE}; {advice}")
    source = read_results(place, place) if (place / "records").is_dir() else _read_lines(place)
    if not source.records:
        why = f"; {source.unreadable[0]}" if source.unreadable else ""
        raise UsageError(f"{place} holds no record that can be read{why}")
    return source


def _read_lines(place: Path) -> Source:
    file = place / RECORDS_FILE if place.is_dir() else place
    records, unreadable = [], []
    try:
        # A file that was named itself may be a link to anywhere.
        lines = read_plain(file, LARGEST_RECORDS_BYTES, place if place.is_dir() else None).splitlines()
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror}); fix that or name another file") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        record, problem = parse_json(Record, line)
        if record is None:
            unreadable.append(f"skipped {file}, line {number}: {problem}")
        else:
            records.append(record)
    timings, unreadable_timings = load_timings(file.parent, file.parent)
    return Source(str(place), file.parent, tuple(records), tuple(timings), (*unreadable, *unreadable_timings))


_TOLERANCE = 1e-9
"""Scores of the same answers that are summed on different machines differ by less."""
_FILES = ("predictions", "noisy_predictions", "log")
"""The files that a board reads of a cell beside its record."""

_Held = list[tuple[Record, Source]]
"""The records of one cell, newest first, each with its source."""


@contextmanager
def joined(sources: Sequence[Source]) -> Iterator[Source]:
    """Merge all `sources` into one for the duration of the block.

    Of a cell that several hold, the newest record counts. Where the others differ from it in status, scores or
    parameters, `Source.conflicts` reports it. Predictions and log come from the newest record's source or, where
    it has none, from another whose record does not differ; those that are links out of their source are not read.
    """
    cells: dict[str, _Held] = {}
    for source in sources:
        for record in source.records:
            cells.setdefault(record.key, []).append((record, source))
    for held in cells.values():
        held.sort(key=lambda pair: pair[0].finished_at, reverse=True)
    names = _short_names([source.name for source in sources])
    conflicts = {key: _conflict(held, names) for key, held in cells.items()}
    with TemporaryDirectory(prefix="kdbench-") as folder:
        skipped = [line for key, held in cells.items() for line in _link_files(key, held, Path(folder))]
        if len(sources) == 1:
            yield replace(sources[0], root=Path(folder), unreadable=(*sources[0].unreadable, *skipped))
            return
        yield Source(
            name=" and ".join(source.name for source in sources),
            root=Path(folder),
            records=tuple(held[0][0] for held in cells.values()),
            timings=tuple(chain.from_iterable(source.timings for source in sources)),
            unreadable=(*chain.from_iterable(source.unreadable for source in sources), *skipped),
            conflicts={key: line for key, line in conflicts.items() if line is not None},
        )


def _conflict(held: _Held, names: Mapping[str, str]) -> str | None:
    """Return how the records of one cell differ, and which one counts; None where they agree."""
    newest, source = held[0]
    differences = {
        names[other.name]: difference
        for record, other in held[1:]
        if (difference := _difference(newest, record)) is not None
    }
    if not differences:
        return None
    listed = "; ".join(
        f"{own} in {names[source.name]} but {other} in {name}" for name, (own, other) in differences.items()
    )
    return on_one_line(
        f"conflict: {newest.strategy.label} on {newest.task.name}, seed {newest.seed} (record {newest.key}): {listed}."
        f" The newest, in {names[source.name]}, counts here"
    )


def _difference(a: Record, b: Record) -> tuple[str, str] | None:
    """Return the first relevant difference of two records of one cell, as the text for each; None where they agree."""
    if a.status is not b.status:
        return str(a.status), str(b.status)
    first, second = ({} if record.quality is None else record.quality.metrics for record in (a, b))
    for metric in sorted({*first, *second}, key=lambda name: (name != a.task.metric, name)):
        score_a, score_b = first.get(metric), second.get(metric)
        if score_a is None or score_b is None or abs(score_a - score_b) > _TOLERANCE:
            return _score_text(metric, score_a), _score_text(metric, score_b)
    parameters = [0 if record.size is None else record.size.total_parameters for record in (a, b)]
    if parameters[0] != parameters[1]:
        return f"{parameters[0]:,} parameters", f"{parameters[1]:,}"
    return None


def _score_text(metric: str, score: float | None) -> str:
    return f"no {metric}" if score is None else f"{metric} {100 * score:.6g}"


def _link_files(key: str, held: _Held, folder: Path) -> Iterator[str]:
    """Link the files of a cell into `folder`, and yield one line per file that may not be read."""
    roots = [source.root for record, source in held if _difference(held[0][0], record) is None]
    for kind in _FILES:
        for root in roots:
            path: Path = getattr(CellFiles(root, key), kind)
            link: Path = getattr(CellFiles(folder, key), kind)
            link.parent.mkdir(exist_ok=True)
            try:
                _link(path, link, root)
                break
            except FileNotFoundError:
                continue
            except OSError as error:
                yield f"skipped {path}: {error.strerror or error}"


def _link(path: Path, link: Path, root: Path) -> None:
    if path.suffix == ".log":  # its text is shown: a copy stays what it was when it was checked
        link.write_bytes(read_end(path, LOG_BYTES, root))
        return
    real = plain_file(path, LARGEST_PREDICTIONS_BYTES, root)
    try:
        link.symlink_to(real)
    except OSError:  # the file system has no links, or this user may not make them
        shutil.copyfile(real, link)


def _short_names(places: Sequence[str]) -> dict[str, str]:
    """Return the shortest ends of `places` that are distinct: a board reveals no more of a user's folders."""
    parts = [Path(place).parts for place in places]
    deepest = max(map(len, parts))
    for length in range(1, deepest + 1):
        ends = ["/".join(names[-length:]) for names in parts]
        if len(set(ends)) == len(ends):
            break
    return dict(zip(places, ends, strict=True))


@contextmanager
def opened(places: Iterable[str], flag: str) -> Iterator[Source]:
    """Read the records of all `places` (folders, files or globs) as one source for the duration of the block.

    Args:
        places: results folders, folders of boards, or files of records; `read_source` says what each may be.
        flag: the option that they were given by, for messages.

    Raises:
        UsageError: a place does not exist, or has no record that can be read. A place that only a glob matches is
            skipped and reported in `Source.unreadable` instead, unless none is left.
    """
    sources, skipped = [], []
    for place, is_named in _expanded(places, flag).items():
        if not (is_named or holds_records(place)):
            skipped.append(f"skipped {place}: neither a results folder nor a board's")
            continue
        try:
            sources.append(read_source(place))
        except UsageError as error:
            if is_named:
                raise UsageError(f"{flag}: {error}") from None
            skipped.append(f"skipped: {error}")
    if not sources:
        raise UsageError(f"{flag} {' '.join(places)}: no records there ({'; '.join(skipped)})")
    with joined(sources) as source:
        yield replace(source, unreadable=(*skipped, *source.unreadable))


def _expanded(patterns: Iterable[str], flag: str) -> dict[Path, bool]:
    """Return the places that names and globs match, in order, and whether each was named explicitly."""
    expanded: dict[Path, tuple[Path, bool]] = {}
    for pattern in patterns:
        path = user_path(pattern)
        is_named = path.exists() or not glob.has_magic(pattern)
        matched = [path] if is_named else [Path(name) for name in sorted(glob.glob(str(path)))]
        if not matched:
            raise UsageError(f"{flag} {pattern}: no file or folder matches (searched from {Path.cwd()})")
        for place in matched:
            # Two patterns may match one folder, which counts once.
            expanded.setdefault(place.resolve(), (place, is_named))
    return dict(expanded.values())

"""Tell which of two rows is ahead at which label counts, and where one overtakes the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kdbench.board.frames import Row
from kdbench.board.predictions import TaskAnswers
from kdbench.board.statistics import ALPHA
from kdbench.stats.comparisons import Difference, holm
from kdbench.stats.crossings import crossing
from kdbench.utils.formatting import difference


@dataclass(frozen=True, eq=False)
class AtCount:
    """The rows of one task at one label count."""

    labels: int
    cells: Mapping[str, list[Row]]
    """By row, one per seed."""
    answers: TaskAnswers
    readable: frozenset[str]
    """The rows that succeeded on every seed and whose answers can be read."""
    problems: tuple[str, ...] = ()

    @property
    def teacher(self) -> str | None:
        """The teacher's row."""
        return next(
            (row for row, cells in self.cells.items() if any(cell["is_teacher"] for cell in cells)), None
        )


class Pair(NamedTuple):
    """Two rows to compare, and what the second is to the first."""

    row: str
    other: str
    relation: str


def pairs_of(counts: Sequence[AtCount]) -> list[Pair]:
    """Return the pairs to compare: each row with its controls and with the teacher's row; no pair twice."""
    pairs: dict[frozenset[str], Pair] = {}
    for at in counts:
        for row, cells in at.cells.items():
            others = ((cells[0]["control"], "control"), (cells[0]["base_control"], "control from base"))
            for other, relation in (*others, (at.teacher, "teacher")):
                if other is not None and other != row:
                    pairs.setdefault(frozenset((row, other)), Pair(row, other, relation))
    return sorted(pairs.values(), key=lambda pair: (pair.row, pair.relation))


def pair_line(task: str, pair: Pair, counts: Sequence[AtCount]) -> dict[str, Any] | None:
    """Return a pair's row of the table of crossings; None where fewer than two `counts` can be compared."""
    shared = [at for at in counts if {pair.row, pair.other} <= at.readable]
    examples = {at.answers.examples(row) for at in shared for row in (pair.row, pair.other)}
    if len(shared) < 2 or len(examples) > 1:
        return None
    differences = [at.answers.difference(pair.row, pair.other) for at in shared]
    places = [at.labels for at in shared]
    signs = _signs(differences)
    found = crossing(
        places,
        [at.answers.resampled(pair.row) for at in shared],
        [at.answers.resampled(pair.other) for at in shared],
    )
    return {
        "task": task,
        "strategy": pair.row,
        "other": pair.other,
        "relation": pair.relation,
        "differences": ";".join(
            f"{place}:{one.difference:.6g}" for place, one in zip(places, differences, strict=True)
        ),
        "told_apart": ";".join(str(place) for place, sign in zip(places, signs, strict=True) if sign) or None,
        "verdict": verdict(places, signs),
        "leader": (pair.row if found.first_leads else pair.other) if found.changes else None,
        "crossing": found.count,
        "crossing_low": found.low,
        "crossing_high": found.high,
        "share": found.share,
        "changes": found.changes,
    }


def _signs(differences: Sequence[Difference]) -> list[int]:
    """Return 1 where the first row is significantly ahead, -1 where it is behind, else 0; by Holm over the counts."""
    adjusted = holm([one.p for one in differences])
    return [
        0 if p >= ALPHA else 1 if one.difference > 0 else -1
        for one, p in zip(differences, adjusted, strict=True)
    ]


def verdict(counts: Sequence[int], signs: Sequence[int]) -> str:
    """Return in words what the tests at `counts` say about a row: where it is ahead (1), behind (-1) or neither (0)."""
    sides = [
        (word, [count for count, sign in zip(counts, signs, strict=True) if sign == side])
        for word, side in (("ahead", 1), ("behind", -1))
    ]
    told = [(word, places) for word, places in sides if places]
    if not told:
        return "not told apart"
    if len(told) == 1 and len(told[0][1]) == len(counts):
        return f"{told[0][0]} at every count"
    return ", ".join(f"{word} at {_listed(places)}" for word, places in told)


def _listed(counts: Sequence[int]) -> str:
    *before, last = (f"{count:,}" for count in counts)
    return f"{', '.join(before)} and {last}" if before else last


def differences_text(line: Row) -> dict[int, str]:
    """Return the differences of a row of the table of crossings by count; a star marks those that are significant."""
    told_apart = (line["told_apart"] or "").split(";")
    parts = (part.split(":") for part in str(line["differences"]).split(";"))
    return {
        int(count): f"{difference(float(value))}{'*' if count in told_apart else ''}"
        for count, value in parts
    }

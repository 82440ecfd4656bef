"""What was checked, what is wrong, what is remarkable, and what could not be checked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from kdbench.utils.formatting import plural

_NAMED = 3


@dataclass
class Report:
    """The findings of `verify`, added one by one."""

    checked: Counter[str] = field(default_factory=Counter)
    """How many of each kind of thing were checked, those with problems among them."""
    problems: list[str] = field(default_factory=list)
    """A line each: file, what is wrong, remedy."""
    notes: list[str] = field(default_factory=list)
    """A line for each thing that need not be wrong."""
    unchecked: dict[str, list[str]] = field(default_factory=dict)
    """By reason the files about which it could not be told."""

    def problem(self, place: str, what: str, remedy: str) -> None:
        """Add something wrong."""
        self.problems.append(f"{place}: {' '.join(what.split())}; {remedy}")

    def leave(self, place: str, why: str) -> None:
        """Add something that could not be checked."""
        self.unchecked.setdefault(why, []).append(place)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.problems

    def unchecked_lines(self) -> list[str]:
        """Return a line for each reason, with the first files that it holds for."""
        return [
            f"{why} ({', '.join(places[:_NAMED])}{f' and {more} more' if (more := len(places) - _NAMED) > 0 else ''})"
            for why, places in self.unchecked.items()
        ]

    def data(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        return {
            "clean": self.is_clean,
            "checked": dict(self.checked),
            "problems": self.problems,
            "notes": self.notes,
            "unchecked": self.unchecked,
        }


def print_report(report: Report, out: Console) -> None:
    """Print what was checked, each problem, each note, and what could not be checked."""
    counts = ", ".join(f"{number} {kind}" for kind, number in sorted(report.checked.items()))
    out.print(f"Checked: {counts or 'nothing'}", soft_wrap=True)
    for line in report.problems:
        out.print(f"  ! {line}", style="red", soft_wrap=True)
    for line in report.notes:
        out.print(f"  note: {line}", style="yellow", soft_wrap=True)
    for line in report.unchecked_lines():
        out.print(f"  not checked: {line}", soft_wrap=True)
    out.print("No problem found." if report.is_clean else f"{plural(len(report.problems), 'problem')} found.")

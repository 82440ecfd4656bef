"""Collect and print the findings of `verify`: problems, notes, and what could not be checked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from kdbench.utils.formatting import on_one_line, plural

_MAX_PLACES_NAMED = 3
_MAX_LINE = 2000
"""The length of a printed line: a name in it may be a whole file."""


@dataclass
class Report:
    """The findings of `verify`, added one by one."""

    checked: Counter[str] = field(default_factory=Counter)
    """The number of items checked by kind, including those with problems."""
    problems: list[str] = field(default_factory=list)
    """One line per problem: file, problem, remedy."""
    notes: list[str] = field(default_factory=list)
    """One line per observation that need not be wrong."""
    unchecked: dict[str, list[str]] = field(default_factory=dict)
    """The files that could not be checked, by reason."""

    def problem(self, place: str, description: str, remedy: str) -> None:
        """Add a problem."""
        self.problems.append(f"{place}: {' '.join(description.split())}; {remedy}")

    def not_checked(self, place: str, reason: str) -> None:
        """Add a file that could not be checked, or not fully."""
        self.unchecked.setdefault(reason, []).append(place)

    @property
    def is_clean(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def unchecked_lines(self) -> list[str]:
        """Return one line per reason, with the first files it applies to."""
        lines = []
        for reason, places in self.unchecked.items():
            more = len(places) - _MAX_PLACES_NAMED
            named = ", ".join(places[:_MAX_PLACES_NAMED]) + (f" and {more} more" if more > 0 else "")
            lines.append(f"{reason} ({named})")
        return lines

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
    """Print counts of checks, problems, notes, and what could not be checked."""
    counts = ", ".join(f"{number} {kind}" for kind, number in sorted(report.checked.items()))
    out.print(f"Checked: {counts or 'nothing'}", soft_wrap=True)
    for line in report.problems:
        out.print(f"  ! {on_one_line(line, _MAX_LINE)}", style="red", soft_wrap=True)
    for line in report.notes:
        out.print(f"  note: {on_one_line(line, _MAX_LINE)}", style="yellow", soft_wrap=True)
    for line in report.unchecked_lines():
        out.print(f"  not checked: {on_one_line(line, _MAX_LINE)}", soft_wrap=True)
    out.print("No problem found." if report.is_clean else f"{plural(len(report.problems), 'problem')} found.")

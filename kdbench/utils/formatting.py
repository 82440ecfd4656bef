"""Format values as text: on one line, in readable units, and safe in Markdown and spreadsheets."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import wraps

MISSING = "-"
_MARKDOWN = re.compile(r"([\\`*_~|$]|(?<=\])\()")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def on_one_line(text: str, limit: int | None = None) -> str:
    """Return `text` on one line without control characters, truncated to `limit` characters."""
    words = " ".join(text.split())
    line = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in words)
    return line if limit is None or len(line) <= limit else f"{line[: limit - 1]}\N{HORIZONTAL ELLIPSIS}"


def printable(text: str) -> str:
    """Return `text` with its lines, but without what a terminal obeys instead of showing: escapes, changes of direction."""
    if text.isprintable():
        return text
    return "".join(
        char if char in "\n\t" or unicodedata.category(char)[0] != "C" else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def escape_markdown(text: str) -> str:
    """Return `text` on one line, escaped so that Markdown shows it literally: no markup, links or HTML."""
    line = on_one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", line)


def defuse_formula(text: str) -> str:
    """Return `text` such that a spreadsheet shows it as text and does not run it as a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _or_missing(to_text: Callable[[float], str]) -> Callable[[float | None], str]:
    """Let `to_text` return `MISSING` for None."""

    @wraps(to_text)
    def text_of(value: float | None) -> str:
        return MISSING if value is None else to_text(float(value))

    return text_of


@_or_missing
def percent(score: float) -> str:
    """Return a fraction in percent points: 0.785 is ``78.5``."""
    return _decimals(100 * score, 1)


@_or_missing
def difference(score: float) -> str:
    """Return a difference of fractions in percent points with its sign: ``+1.2``."""
    return f"{round(100 * score, 1) + 0.0:+.1f}"


@_or_missing
def share(part: float) -> str:
    """Return a share in percent: ``97.3%``."""
    return f"{_decimals(100 * part, 1)}%"


@_or_missing
def rank(mean: float) -> str:
    """Return a mean rank: ``2.5``."""
    return _decimals(mean, 1)


@_or_missing
def ratio(times: float) -> str:
    """Return a ratio: ``1.83x``."""
    return f"{times:.2f}x"


def score_on(score: float | None, task: str | None) -> str:
    """Return a score in percent with the task that it is on in parentheses."""
    return MISSING if score is None else f"{percent(score)} ({task})"


def with_interval(
    value: float | None,
    low: float | None,
    high: float | None,
    to_text: Callable[[float | None], str] = percent,
) -> str:
    """Return a value and its interval, if given; by default in percent points: ``78.5 [76.0, 80.9]``."""
    if low is None or high is None:
        return to_text(value)
    return f"{to_text(value)} [{to_text(low)}, {to_text(high)}]"


@_or_missing
def count(number: float) -> str:
    """Return a count of parameters: ``22.7M``, ``295k``, ``12``."""
    return _scaled(number, ("", "k", "M", "B", "T"))


@_or_missing
def size(number_of_bytes: float) -> str:
    """Return bytes in decimal units: ``90.9 MB``."""
    return _scaled(number_of_bytes, (" B", " kB", " MB", " GB", " TB"))


@_or_missing
def operations(number: float) -> str:
    """Return floating-point operations: ``45.2 MFLOPs``."""
    return _scaled(number, (" FLOPs", " kFLOPs", " MFLOPs", " GFLOPs", " TFLOPs", " PFLOPs"))


@_or_missing
def three_digits(value: float) -> str:
    """Return a number with three significant digits: ``0.312``, ``45.2``, ``183``."""
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}" if value >= 0.9995 else f"{value:.3f}"


milliseconds = three_digits
"""Return milliseconds with three significant digits, without the unit: ``0.874``, ``8.74``, ``87.4``."""


@_or_missing
def seconds(duration_s: float) -> str:
    """Return a duration: ``12.3 s``, ``5.8 min``, ``2.1 h``."""
    if duration_s < 99.95:
        return f"{duration_s:.1f} s"
    return f"{duration_s / 60:.1f} min" if duration_s < 5997 else f"{duration_s / 3600:.1f} h"


def probability(p: float) -> str:
    """Return a p-value with two significant digits: ``p = 0.032``, ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def plural(number: int, noun: str) -> str:
    """Return a number with its noun in singular or plural: ``1 cell``, ``1,000 cells``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listing(facts: Mapping[str, str]) -> str:
    """Return named facts sorted by name: ``cores 2, cpu Xeon 8481C``."""
    return ", ".join(f"{name} {value}" for name, value in sorted(facts.items()))


def sentence(text: str) -> str:
    """Return `text` with a full stop, unless it already ends with punctuation."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def plain(value: object) -> str:
    """Return a value of a plugin's column: floats with four significant digits, anything else by ``str``."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return MISSING if value is None else str(value)


def _decimals(value: float, digits: int) -> str:
    """Round to `digits` decimals, without a negative zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _scaled(value: float, units: tuple[str, ...]) -> str:
    for unit in units[:-1]:
        if value < 999.5:
            return f"{value:.0f}{unit}" if unit is units[0] or value >= 99.95 else f"{value:.1f}{unit}"
        value /= 1000
    return f"{value:.1f}{units[-1]}"


_POWERS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMG]?)B?")


def parse_amount(text: str) -> float:
    """Parse a positive number with an optional decimal suffix ``k``, ``M`` or ``G`` and an optional ``B`` for bytes.

    Raises:
        ValueError: `text` is not such a number; gives examples of the format.
    """
    match = _AMOUNT.fullmatch(text.strip())
    number = float(match[1]) * _POWERS[match[2]] if match else 0.0
    if number <= 0:
        raise ValueError(f"{text!r} is not a positive number; write one as 5, 2.5, 12M or 50MB")
    return number


def seconds_left(done: int, total: int, elapsed_s: float) -> float | None:
    """Estimate the remaining seconds of a run's `total` cells from the rate of those `done` since it started, if any."""
    return elapsed_s * (total - done) / done if done else None

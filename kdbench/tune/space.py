"""Find a study's search space, its edges, and the ranges to widen because the best value lies at their edge."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kdbench.api.params import Params, default_rate
from kdbench.api.search import Choice, Range, Space
from kdbench.api.strategy import Strategy
from kdbench.api.task import TaskKind
from kdbench.results.tuning import Trial, best_of

SPREAD_TRIALS = 8
"""After the defaults, so many trials are spread over the whole space; later ones learn from those before."""
_EDGE = 0.05
"""A value this near to an end, as a share of the range, is at the edge."""
_STEP = 0.5
"""A range is widened by this share of its width."""


@dataclass(frozen=True)
class _Limit:
    """A value that a parameter may not go beyond."""

    value: float
    is_allowed: bool = True
    """Whether the value itself is allowed."""


class StudySpace:
    """The search space of a strategy, and how it widens with the trials of a study.

    Args:
        strategy: with the parameters that the user set, which are not searched.
        kinds: those of the study's tasks; a range reaches from the lowest to the highest value of any.
    """

    def __init__(self, strategy: Strategy, kinds: Collection[TaskKind]) -> None:
        self.declared = _declared(strategy, kinds)
        self._defaults = _defaults(strategy, kinds, self.declared)
        self._limits = {name: _limits(type(strategy.params), name) for name in self.declared}

    def after(self, trials: Sequence[Trial]) -> Space:
        """Return the space after `trials`, the first ones of a study.

        Once the whole space has been tried, each trial may widen the ranges at whose edge the best value lies.
        """
        space = dict(self.declared)
        for count in range(1 + SPREAD_TRIALS, len(trials) + 1):
            for name in space:
                values = space[name]
                if isinstance(values, Range) and (end := self._edge(name, values, trials[:count])):
                    space[name] = self._widened(name, values, end)
        return space

    def edges(self, trials: Sequence[Trial]) -> Mapping[str, str]:
        """Return the parameters whose best value is at an edge of the range tried: ``lower`` or ``upper``."""
        space = self.after(trials[:-1])
        found = ((name, self._edge(name, values, trials)) for name, values in space.items())
        return {name: end for name, end in found if end}

    def values(self, trial: Trial) -> Mapping[str, Any] | None:
        """Return a trial's value of every searched parameter; None where a default has no value of its own."""
        values = {**self._defaults, **trial.params}
        return (
            {name: values[name] for name in self.declared} if values.keys() >= self.declared.keys() else None
        )

    def _edge(self, name: str, values: Range | Choice, trials: Sequence[Trial]) -> str | None:
        best = best_of(trials)
        value = None if best is None else {**self._defaults, **best.params}.get(name)
        if value is None or not isinstance(values, Range):
            return None
        low, high = self._limits[name]
        place = _place(values, value)
        if place <= _EDGE and not (low.is_allowed and values.low <= low.value):
            return "lower"
        if place >= 1 - _EDGE and not (high.is_allowed and values.high >= high.value):
            return "upper"
        return None

    def _widened(self, name: str, values: Range, end: str) -> Range:
        low, high = self._limits[name]
        if end == "lower":
            return replace(values, low=_moved(values, values.low, -_STEP, low))
        return replace(values, high=_moved(values, values.high, 1 + _STEP, high))


def _declared(strategy: Strategy, kinds: Collection[TaskKind]) -> Space:
    space: dict[str, Range | Choice] = {}
    for kind in kinds:
        for name, values in strategy.search_space(kind).items():
            known = space.get(name)
            if isinstance(values, Range) and isinstance(known, Range):
                values = replace(values, low=min(values.low, known.low), high=max(values.high, known.high))
            if name not in strategy.params.model_fields_set:
                space[name] = values
    return space


def _defaults(strategy: Strategy, kinds: Collection[TaskKind], space: Space) -> Mapping[str, Any]:
    """Return the defaults of what is searched, except those that follow from the task or another parameter."""
    values = {name: getattr(strategy.params, name) for name in space}
    rates = {default_rate(strategy.learning_rates, kind) for kind in kinds}
    if values.get("learning_rate", 0) is None and len(rates) == 1:
        values["learning_rate"] = rates.pop()
    return {name: value for name, value in values.items() if value in space[name]}


def _limits(params: type[Params], name: str) -> tuple[_Limit, _Limit]:
    low, high = _Limit(-math.inf), _Limit(math.inf)
    for rule in params.model_fields[name].metadata:  # pydantic keeps ge=, gt=, le= and lt= as attributes here
        for attribute in ("ge", "gt"):
            if (value := getattr(rule, attribute, None)) is not None:
                low = _Limit(float(value), is_allowed=attribute == "ge")
        for attribute in ("le", "lt"):
            if (value := getattr(rule, attribute, None)) is not None:
                high = _Limit(float(value), is_allowed=attribute == "le")
    return low, high


def _place(values: Range, value: float) -> float:
    """Return where `value` lies: 0 at the low end of its range, 1 at the high end."""
    low, high, at = (math.log(x) if values.log else x for x in (values.low, values.high, value))
    return (at - low) / (high - low)


def _moved(values: Range, end: float, place: float, limit: _Limit) -> float:
    """Return the value at `place` outside the range, or what the `limit` allows between it and the present `end`."""
    if values.log:
        moved = values.low * math.pow(values.high / values.low, place)
    else:
        moved = values.low + place * (values.high - values.low)
    if moved <= limit.value < end or moved >= limit.value > end:
        moved = limit.value if limit.is_allowed else (end + limit.value) / 2
    return round(moved) if values.is_whole else moved

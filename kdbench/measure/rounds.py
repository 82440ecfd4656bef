"""Rounds, in which everything that is timed has a turn, in shuffled order."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from kdbench.executors.job import Report
from kdbench.seeds import axis_seed

MOST = 10
"""Times the calls asked for: so short calls are repeated until they fill the seconds asked for."""

Turn = Callable[[range], list[float]]
"""Answers the inputs of these numbers, one after the other, and returns the milliseconds that each took."""


def time_rounds(
    turns: Mapping[str, Turn],
    *,
    calls: int,
    report: Report,
    calls_a_turn: int = 1,
    phase: str = "timing",
    seconds: float = 0,
    reference: str | None = None,
) -> dict[str, np.ndarray]:
    """Return for each of `turns` its milliseconds, ``(its calls,)``, from the first round on.

    In a round each answers the same inputs, `calls_a_turn` of them, in shuffled order, so that what slows the machine
    for a while slows all of them, and ratios within a round hold. Who has made `calls` and filled `seconds` with them,
    or made `MOST` times as many calls, takes no further part; `reference` does as long as anybody else does.
    """
    order = np.random.default_rng(axis_seed(0, "latency"))
    taken_ms: dict[str, list[float]] = {name: [] for name in turns}
    spent_ms = dict.fromkeys(turns, 0.0)
    number = 0
    playing = list(turns)
    while playing:
        named = playing if reference is None or reference in playing else [*playing, reference]
        left = calls - number if number < calls else MOST * calls - number
        numbers = range(number, number + min(calls_a_turn, left))
        for place in order.permutation(len(named)):
            name = named[place]
            ms = turns[name](numbers)
            taken_ms[name] += ms
            spent_ms[name] += sum(ms)
        number = numbers.stop
        report(phase, min(number, calls), calls, None)
        if number >= MOST * calls:
            break
        if number >= calls:
            playing = [name for name in playing if spent_ms[name] < 1000 * seconds]
    return {name: np.array(ms) for name, ms in taken_ms.items()}

"""Which timing of a cell a board shows: latencies from different settings never stand in one list."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import groupby

from kdbench.board.formatting import listing, plural
from kdbench.timings import ModelTiming, Timing, machine_of

Timed = tuple[Timing, ModelTiming]


def setting_of(timing: Timing) -> str:
    """Return all that two latencies must share to stand in one list."""
    return _setting(timing, machine_of(timing.environment))


def hardware_setting_of(timing: Timing) -> str:
    """Return what `setting_of` tells but the versions of libraries."""
    return _setting(timing, timing.environment.hardware)


def _setting(timing: Timing, machine: Mapping[str, str]) -> str:
    alternating = ", each call after another model's" if timing.method == "alternating" else ""
    return (
        f"batch {timing.batch_size}, {plural(timing.threads, 'thread')}{alternating}, on {listing(machine)}"
    )


def timings_of_cells(timings: Iterable[Timing], keys: Collection[str]) -> dict[str, list[Timed]]:
    """Return by key, for each of `keys` that was timed, its newest timing in every setting.

    The first is the one to show: in the setting in which the most of these cells of its task were timed, of equals
    that of the newest timing. So a machine that timed all of a board is not set aside for one that timed a part
    of it later.
    """
    wanted = set(keys)
    found: dict[str, list[Timed]] = {}
    ordered = sorted(timings, key=lambda timing: (timing.task, setting_of(timing), timing.finished_at))
    for _, of_task in groupby(ordered, key=lambda timing: timing.task):
        by_setting = [
            {model.key: (timing, model) for timing in same for model in timing.models if model.key in wanted}
            for _, same in groupby(of_task, key=setting_of)
        ]
        by_setting = [newest for newest in by_setting if newest]
        by_setting.sort(
            key=lambda newest: (len(newest), max(timing.finished_at for timing, _ in newest.values())),
            reverse=True,
        )
        for newest in by_setting:
            for key, timed in newest.items():
                found.setdefault(key, []).append(timed)
    return found


def shown_timings(timings: Iterable[Timing], keys: Collection[str]) -> dict[str, Timed]:
    """Return the first of `timings_of_cells`, the one to show, of each of `keys` that was timed."""
    return {key: timed[0] for key, timed in timings_of_cells(timings, keys).items()}

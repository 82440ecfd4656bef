"""Turn how models serve requests into columns of their rows, and into a table of loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from kdbench.board.columns import LOAD_COLUMNS
from kdbench.board.frames import rows_of
from kdbench.results.serving import ModelServing, OpenLoop
from kdbench.results.timings import ModelTiming, Timing


def serving_columns(timing: Timing, key: str) -> dict[str, Any]:
    """Return the columns of a cell on how its model serves requests; none where that was not measured."""
    model = None if timing.serving is None else timing.serving.of(key)
    if model is None or not model.starts:
        return {}
    totals = [start.total_s for start in model.starts]
    return {
        **_single(model),
        "cold_start_s": model.median_start(lambda start: start.total_s),
        "cold_start_shortest_s": min(totals),
        "cold_start_longest_s": max(totals),
        "imports_s": model.median_start(lambda start: start.python_s + start.imports_s),
        "loading_s": model.median_start(lambda start: start.load_s),
        "loading_peak_bytes": model.median_start(lambda start: start.loading_peak_bytes),
        "rest_bytes": model.median_start(lambda start: start.rest_bytes),
        "batch_peak_bytes": model.median_start(lambda start: start.batch_peak_bytes),
    }


def _single(model: ModelServing) -> dict[str, Any]:
    if model.single is None:
        return {}
    names = [f"{percentile}{end}_ms" for percentile in ("p50", "p95") for end in ("", "_low", "_high")]
    return {f"end_to_end_{name}": getattr(model.single, name) for name in names}


def loads_of(cells: pd.DataFrame, shown: Mapping[str, tuple[Timing, ModelTiming]]) -> pd.DataFrame:
    """Return one row per load that the model of one of `cells` served; `shown` are their timings by key."""
    rows = []
    for cell in rows_of(cells[["task", "strategy", "seed", "key", "latency_setting"]]):
        timing, _ = shown.get(cell["key"], (None, None))
        serving = None if timing is None else timing.serving
        model = None if serving is None else serving.of(cell["key"])
        if serving is None or model is None:
            continue
        row = {name: cell[name] for name in ("task", "strategy", "seed")}
        row |= {"setting": cell["latency_setting"], "warning": serving.warning}
        row |= {"back_end": model.back_end.value}
        for load in model.loops:
            raw = {"latencies_ms", "services_ms", "elapsed_s"}
            kind = "arrivals" if isinstance(load, OpenLoop) else "clients"
            rows.append(row | {"load": kind} | load.model_dump(exclude=raw))
        if not model.starts:
            rows.append(row | {"load": "none", "requests": 0, "reason": model.reason})
    return pd.DataFrame(rows, columns=list(LOAD_COLUMNS)).astype(LOAD_COLUMNS)

"""Serve an exported folder in this process, which has just started, and report what that took.

`kdbench.export.serving` starts it as a program of its own. Until its first answer it imports what `kdbench.load` does, and
nothing else.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.export.load import load

if TYPE_CHECKING:
    from kdbench.export.model import ExportedModel
    from kdbench.measure.serving import ServeOrder

ANSWERED = "kdbench has answered"
"""The line that tells the process which waits that the first request is answered."""
BATCH_SIZE, BATCH_LENGTH = 32, 128
"""The largest batch of the grid of latencies; a model that reads fewer word pieces gets as many as it reads."""


def main(begun: float, order_file: str) -> None:
    """Load the model that the order in `order_file` names, answer its requests, and write a `ServeReport`.

    Args:
        begun: the time of `time.perf_counter` at the program's first line.
        order_file: a `ServeOrder` as JSON.
    """
    folder, plugins, text = _first_request(Path(order_file))
    model = load(folder, plugins=plugins)
    loaded = time.perf_counter()
    model.predict([text])
    answered = time.perf_counter()
    print(ANSWERED, flush=True)
    _serve(model, Path(order_file), (begun, loaded, answered))


def _first_request(order_file: Path) -> tuple[str, list[str], Any]:
    """Return the folder, the plugins and the first text of an order, without the libraries that read the rest of it."""
    import json

    order = json.loads(order_file.read_text(encoding="utf-8"))
    return order["folder"], order["plugins"], order["texts"][0]


def _serve(model: ExportedModel, order_file: Path, moments: tuple[float, float, float]) -> None:
    from kdbench.measure.environment import peak_memory_bytes
    from kdbench.measure.footprint import resident_bytes
    from kdbench.measure.serving import ServeOrder, ServeReport

    rest_bytes, loading_peak_bytes = resident_bytes(), peak_memory_bytes()
    order = ServeOrder.model_validate_json(order_file.read_text(encoding="utf-8"))
    begun, loaded, answered = moments
    started = time.perf_counter()
    load(order.folder, plugins=order.plugins)  # again: what the first time took longer is imports
    load_s = time.perf_counter() - started
    length, batch_peak_bytes = _largest_batch(model)
    report = ServeReport(
        imports_s=max(0.0, loaded - begun - load_s),
        load_s=load_s,
        answer_s=answered - loaded,
        rest_bytes=rest_bytes,
        loading_peak_bytes=loading_peak_bytes if rest_bytes is not None else None,
        batch_length=length,
        batch_peak_bytes=batch_peak_bytes,
        **_loops(model, order),
    )
    order.report_file.write_text(report.model_dump_json(), encoding="utf-8")


def _largest_batch(model: ExportedModel) -> tuple[int, int | None]:
    """Answer the largest batch; return its length, and the peak of the resident set, None where it cannot be reset."""
    import torch

    from kdbench.measure.environment import peak_memory_bytes
    from kdbench.measure.footprint import release_memory, reset_peaks
    from kdbench.measure.timed_models import longest_input
    from kdbench.measure.timing import synthetic_batch, vocabulary

    length = min(BATCH_LENGTH, longest_input(model.tokenizer, model.model))
    names = model.tokenizer.model_input_names
    batch = synthetic_batch(vocabulary(model.tokenizer), names, BATCH_SIZE, length)
    release_memory()
    is_reset = reset_peaks(torch.device("cpu"))
    with torch.inference_mode():
        model.model(**batch)
    return length, peak_memory_bytes() if is_reset else None


def _loops(model: ExportedModel, order: ServeOrder) -> dict[str, Any]:
    """Return the loops that `order` asks for, as fields of a `ServeReport`."""
    from kdbench.measure.serving import MonotonicClock, poisson_arrivals, serve_closed_loop, serve_open_loop
    from kdbench.measure.stopwatch import wall_clock, warm_up

    texts = order.texts

    def answer(number: int) -> object:
        return model.predict([texts[number % len(texts)]])

    stopwatch = wall_clock()
    warm_up(lambda: stopwatch(lambda: answer(0)))
    return {
        "closed": [serve_closed_loop(clients, order.requests, answer) for clients in order.clients],
        "open": [
            serve_open_loop(
                poisson_arrivals(rate, order.requests, order.seed).tolist(), answer, MonotonicClock()
            )
            for rate in order.rates_per_s
        ],
    }

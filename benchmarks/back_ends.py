"""Time one model in every back end that this machine has, in the same rounds, on one thread.

    python benchmarks/back_ends.py [--layers 3] [--rounds 100]

The model is a BERT as wide as the embedded one, with random weights; its inputs are single sentences of 8 to 60 word
pieces. Compiling it takes a minute or so.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from _encoders import VOCABULARY, encoder, sentences
from torch import nn

from kdbench.api.bench import Batch
from kdbench.budgets import BUDGETS, BackEnd
from kdbench.measure.back_ends import absence
from kdbench.measure.stopwatch import BusyMeter, stopwatch_for
from kdbench.measure.timed_models import graph_model
from kdbench.measure.timing import MAIN, Candidate, time_together
from kdbench.measure.timing_summary import References, summarize
from kdbench.models.compiled import compiled, compiled_in
from kdbench.models.onnx import OnnxModel, quantize

CPU = torch.device("cpu")


def in_back_end(back_end: BackEnd, model: nn.Module, graph: OnnxModel) -> nn.Module:
    if back_end is BackEnd.TORCH:
        return model
    if back_end is BackEnd.TORCH_COMPILE:
        return compiled(model)
    stored = quantize(graph.graph) if back_end is BackEnd.ONNXRUNTIME_INT8 else graph.graph
    return graph_model(stored, graph.config, back_end)


def candidate(model: nn.Module, back_end: BackEnd, inputs: Sequence[Batch]) -> Candidate:
    return Candidate(
        model, back_end, CPU, inputs, range(VOCABULARY), None, stopwatch_for(CPU), lambda _: inputs[0]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=100, help="timed calls in each back end")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, inputs = encoder(given.layers), sentences(given.rounds // 2)
    graph = OnnxModel.of(model, inputs[0])
    candidates = {}
    for back_end in BackEnd:
        reason = absence(back_end)
        if reason is None:
            candidates[back_end.value] = candidate(in_back_end(back_end, model, graph), back_end, inputs)
        else:
            print(f"{back_end}: {reason}")
    budget = BUDGETS["quick"].model_copy(update={"latency_rounds": given.rounds, "latency_seconds": 0})
    meter = BusyMeter()
    with TemporaryDirectory() as folder, compiled_in(Path(folder)), meter:
        timed = time_together(
            candidates, reference=BackEnd.TORCH.value, budget=budget, gridded=(), report=lambda *_: None
        )
    calls = {name: [one.calls_ms[MAIN]] for name, one in timed.items()}
    for name, own in calls.items():
        point = summarize(own, References(None, calls[BackEnd.TORCH.value]), MAIN, len(inputs))
        print(
            f"{name:17} p50 {point.p50_ms:7.2f} ms [{point.p50_low_ms:.2f}, {point.p50_high_ms:.2f}], over PyTorch"
            f" {point.eager_speedup:.2f}x [{point.eager_speedup_low:.2f}, {point.eager_speedup_high:.2f}]"
        )
    print(f"other processes used {meter.share or 0:.0%} of the cores' time")


if __name__ == "__main__":
    main()

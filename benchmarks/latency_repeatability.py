"""Measure one speed-up repeatedly, while the machine is idle and while it is busy.

    python benchmarks/latency_repeatability.py [--rounds 300]

A student of 3 layers and its teacher of 6, both as wide as the embedded model and with random weights, are timed five
times on the same inputs, three of these while another process keeps one core busy: by the harness's rounds, and by a
naive timer, the mean of 20 calls of one model and then of the other. One thread each; some two minutes.

The exit code is 1 unless the rounds' five speed-ups lie within 5% of each other and all intervals overlap.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean, median

import torch
from _encoders import VOCABULARY, encoder, sentences
from torch import nn

from kdbench.api.bench import Batch
from kdbench.budgets import BUDGETS, BackEnd
from kdbench.measure.stopwatch import BusyMeter, stopwatch_for
from kdbench.measure.timing import Candidate, Size, time_together
from kdbench.measure.timing_summary import References, repeatability, summarize
from kdbench.results.timings import Point, Repeatability

BUSY = (False, True, True, False, True)
NAIVE_CALLS = 20
LARGEST_SPREAD = 0.05
CPU = torch.device("cpu")


@contextmanager
def another_process(busy: bool) -> Iterator[None]:
    """Keep one core busy within the block, if asked to."""
    if not busy:
        yield
        return
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.5)
        yield
    finally:
        burner.kill()
        burner.wait()


def by_rounds(
    models: dict[str, nn.Module], inputs: Sequence[Batch], rounds: int
) -> tuple[Point, Repeatability]:
    """Return the student's speed-up, and how well the teacher's times repeat."""
    candidates = {
        name: Candidate(
            model,
            BackEnd.TORCH,
            CPU,
            inputs,
            range(VOCABULARY),
            None,
            stopwatch_for(CPU),
            lambda _: inputs[0],
        )
        for name, model in models.items()
    }
    budget = BUDGETS["quick"].model_copy(update={"latency_rounds": rounds, "latency_seconds": 0})
    found = time_together(candidates, reference="teacher", budget=budget, gridded=(), report=lambda *_: None)
    size = Size(1, None, 1)
    teacher, again, student = (
        [found[name].calls_ms[size]] for name in ("teacher", "teacher again", "student")
    )
    point = summarize(student, References(teacher, teacher), size, len(inputs))
    return point, repeatability(teacher, again, len(inputs))


@torch.inference_mode()
def naively(models: dict[str, nn.Module], inputs: Sequence[Batch]) -> float:
    """Return the ratio of the means of `NAIVE_CALLS` calls, one model after the other."""

    def mean_ms(model: nn.Module) -> float:
        started = time.perf_counter()
        for batch in inputs[:NAIVE_CALLS]:
            model(**batch)
        return (time.perf_counter() - started) * 1000 / NAIVE_CALLS

    return mean_ms(models["teacher"]) / mean_ms(models["student"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=300, help="timed calls of each model")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    models = {"teacher": encoder(6), "student": encoder(3)}
    # The same weights in a memory of their own, as the phase loads the teacher a second time.
    models["teacher again"] = encoder(6)
    models["teacher again"].load_state_dict(models["teacher"].state_dict())
    inputs = sentences(rounds // 2)  # each is answered twice
    points: list[Point] = []
    naive: list[float] = []
    for number, busy in enumerate(BUSY, start=1):
        meter = BusyMeter()
        with another_process(busy):
            naive.append(naively(models, inputs))
            with meter:
                point, noise = by_rounds(models, inputs, rounds)
        points.append(point)
        share = "unknown" if meter.share is None else f"{meter.share:.0%}"
        print(
            f"{number}: {'with' if busy else 'without'} another process, others took {share} of the cores:"
            f" rounds {point.speedup:.3f} [{point.speedup_low:.3f}, {point.speedup_high:.3f}]"
            f" (p50 {point.p50_ms:.2f} ms; teacher over itself {noise.ratio:.3f} [{noise.low:.3f}, {noise.high:.3f}],"
            f" halves {noise.split_half:+.1%}), naive {naive[-1]:.3f}",
            flush=True,
        )
    medians = [point.speedup for point in points if point.speedup is not None]
    highest_low = max(point.speedup_low for point in points if point.speedup_low is not None)
    lowest_high = min(point.speedup_high for point in points if point.speedup_high is not None)
    all_overlap = highest_low <= lowest_high
    overlap = "overlap" if all_overlap else "do not all overlap"
    print(f"rounds: mean {fmean(medians):.3f}, spread {spread(medians):.1%}; the five intervals {overlap}")
    print(f"naive:  mean {fmean(naive):.3f}, spread {spread(naive):.1%}")
    if not (all_overlap and spread(medians) <= LARGEST_SPREAD):
        sys.exit(
            f"the rounds do not repeat themselves within {LARGEST_SPREAD:.0%} with intervals that overlap"
        )


def spread(values: Sequence[float]) -> float:
    """Return the range of `values` as a share of their median."""
    return (max(values) - min(values)) / median(values)


if __name__ == "__main__":
    main()

"""The figures of served requests are those of their latencies."""

import numpy as np
import pytest
from helpers.support import key_named

from kdbench.budgets import BackEnd
from kdbench.measure.serving import closed_loop, open_loop
from kdbench.results.serving import ModelServing, Serving, Start
from kdbench.share.verify_serving import impossible_in_serving, recomputed_serving


def loops():
    """Three processes: at 10 per second, and at 60, which is beyond capacity."""
    rng = np.random.default_rng(0)
    services = [rng.uniform(15, 25, 130).tolist() for _ in range(3)]
    latencies = [[ms + 5 * (number % 3) for number, ms in enumerate(own)] for own in services]
    elapsed = [sum(own) / 1000 for own in services]
    at_rates = tuple(open_loop(rate, latencies, services) for rate in (10, 60))
    return {"open_loop": at_rates, "closed_loop": (closed_loop(1, services, elapsed),)}


def serving(**changed):
    start = Start(python_s=0.2, imports_s=3, load_s=0.5, answer_s=0.1)
    model = ModelServing(
        key=key_named("one"), back_end=BackEnd.TORCH, starts=(start,), **{**loops(), **changed}
    )
    return Serving(processes=3, capacity_per_s=50, cores=2, models=(model,))


def test_what_was_measured_comes_out():
    stored = Serving.model_validate_json(serving().model_dump_json(exclude_none=True))
    assert list(impossible_in_serving(stored)) == list(recomputed_serving(stored)) == []
    assert stored.requests == 3 * 3 * 130


@pytest.mark.parametrize("name", ["p50_ms", "p95_high_ms", "p99_ms", "utilization"])
def test_a_figure_of_arrivals_that_is_not_that_of_the_latencies_is_named(name):
    low, high = loops()["open_loop"]
    wrong = 1.02 * getattr(low, name)
    (line,) = recomputed_serving(serving(open_loop=(low.model_copy(update={name: wrong}), high)))
    assert line.startswith(f"{name} is {wrong}, but ")
    assert line.endswith(f"({key_named('one')}, served 10 per second)")


def test_a_percentile_beyond_capacity_is_found():
    low, high = loops()["open_loop"]
    assert (high.is_beyond_capacity, high.p95_ms) == (True, None)
    (line,) = recomputed_serving(serving(open_loop=(low, high.model_copy(update={"p95_ms": 30.0}))))
    assert line.startswith("p95_ms is 30.0, but None")


def test_a_throughput_that_the_seconds_do_not_give_is_found():
    (loop,) = loops()["closed_loop"]
    (line,) = recomputed_serving(serving(closed_loop=(loop.model_copy(update={"per_s": loop.per_s * 1.1}),)))
    assert line.startswith("per_s is ")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"latencies_ms": ((1.0,), (), ())}, "a request was answered in less time than its service took"),
        ({"latencies_ms": ((), (), ())}, "a loop has no request"),
        ({"latencies_ms": ((1e300,), (1.0,), (1.0,))}, "one that took no time or no end"),
        ({"latencies_ms": ((-1.0,), (1.0,), (1.0,))}, "one that took no time or no end"),
    ],
)
def test_impossible_latencies_are_told_before_they_are_computed_with(changed, said):
    low, high = loops()["open_loop"]
    (line,) = impossible_in_serving(serving(open_loop=(low.model_copy(update=changed), high)))
    assert said in line

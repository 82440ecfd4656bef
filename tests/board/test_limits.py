import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.board.limits import limits_of
from kdbench.errors import UsageError

NONE = {"max_latency_ms": None, "max_params": None, "max_bytes": None, "min_quality": None}
ROW = {"best_p50_ms": 4.0, "total_parameters": 12_000_000, "artifact_bytes": 50_000_000, "score": 0.785}


def one(**flags):
    (limit,) = limits_of(**{**NONE, **flags})
    return limit


def test_without_flags_nothing_is_limited():
    assert limits_of(**NONE) == []


@pytest.mark.parametrize(
    ("flags", "admitted"),
    [
        ({"max_latency_ms": "4"}, True),
        ({"max_latency_ms": "3.9"}, False),
        ({"max_params": "12M"}, True),
        ({"max_params": "11.9M"}, False),
        ({"max_bytes": "50MB"}, True),
        ({"max_bytes": "49MB"}, False),
        ({"min_quality": "78.5"}, True),
        ({"min_quality": "78.6"}, False),
    ],
)
def test_a_bound_itself_is_within(flags, admitted):
    assert one(**flags).admits(ROW) is admitted


def test_what_was_not_measured_keeps_no_limit_and_is_told():
    limit = one(max_latency_ms="5")
    untimed = {**ROW, "best_p50_ms": None}
    assert not limit.admits(untimed)
    assert limit.why(untimed) == "--max-latency-ms 5 (not measured)"
    assert limit.why({**ROW, "best_p50_ms": 8.1}) == "--max-latency-ms 5 (8.10 ms)"


def test_a_negative_correlation_reaches_no_quality():
    assert not one(min_quality="1").admits({**ROW, "score": -0.2})


@given(value=st.floats(0.001, 1e6), other=st.floats(0.001, 1e6))
def test_the_nearer_of_two_misses_is_the_smaller_and_no_row_within_misses(value, other):
    limit = one(max_latency_ms="1")
    miss, other_miss = (limit.miss({**ROW, "best_p50_ms": ms}) for ms in (value, other))
    assert (miss <= other_miss) == (value <= other)
    assert (miss <= 1) == limit.admits({**ROW, "best_p50_ms": value})


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"max_params": "many"}, "--max-params: 'many'"),
        ({"max_latency_ms": "0"}, "--max-latency-ms: '0'"),
        ({"min_quality": "0.785"}, "write 78.5"),
        ({"min_quality": "101"}, "not in percent"),
    ],
)
def test_an_impossible_limit_is_refused(flags, told):
    with pytest.raises(UsageError, match=told):
        limits_of(**{**NONE, **flags})

import pytest

from kdbench.board.limits import parse_limits
from kdbench.errors import UsageError


def test_limits_are_those_of_the_boards_columns():
    limits = parse_limits("latency_ms=5, parameters=12.5M,bytes=50MB,quality=78.5")
    assert {limit.column: (limit.bound, limit.is_least) for limit in limits} == {
        "best_p50_ms": (5.0, False),
        "total_parameters": (12_500_000.0, False),
        "artifact_bytes": (50_000_000.0, False),
        "score": (0.785, True),
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("latency=5", r"unknown limit 'latency' \(did you mean 'latency_ms'\?\)"),
        ("latency_ms", "'latency_ms' is no limit; write NAME=NUMBER"),
        ("", "is no limit"),
        ("latency_ms=5,", "is no limit"),
        ("bytes=1k,bytes=2k", "sets 'bytes' twice"),
        ("bytes=many", "--best-under bytes=many: .*'many' is not a positive number"),
        ("bytes=0", "not a positive number"),
        ("bytes=-3", "not a positive number"),
    ],
)
def test_what_is_no_limit_is_told_in_one_line(text, told):
    with pytest.raises(UsageError, match=told) as error:
        parse_limits(text)
    assert "\n" not in str(error.value)

"""What became of a row's size and speed."""

import pytest

from kdbench.board.changed_costs import changed_costs, other_runtimes

CELL = {
    "total_parameters": 22_713_986,
    "artifact_bytes": 90_900_000,
    "weights_sha256": "53aa5117",
    "latency_hardware": "batch 1, 1 thread, on cpu Xeon 8481C",
    "latency_runtimes": {"torch": "2.12.0", "transformers": "5.1.0"},
    "p50_ms": 4.0,
    "speedup": 2.0,
    "speedup_low": 1.9,
    "speedup_high": 2.1,
}
OF_TIMING = ("latency_hardware", "latency_runtimes", "p50_ms", "speedup", "speedup_low", "speedup_high")
UNTIMED = {**CELL, **dict.fromkeys(OF_TIMING)}
SLOWER = {"p50_ms": 5.0, "speedup": 1.6, "speedup_low": 1.5, "speedup_high": 1.7}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, ()),
        ({"total_parameters": 17_400_000}, ("fewer parameters: 22,713,986 before, 17,400,000 now",)),
        ({"artifact_bytes": 90_950_000}, ()),
        ({"artifact_bytes": 24_300_000}, ("smaller: 90.9 MB before, 24.3 MB now",)),
        (SLOWER, ("slower: 2.00x [1.90x, 2.10x] (4.00 ms) before, 1.60x [1.50x, 1.70x] (5.00 ms) now",)),
        ({**SLOWER, "speedup_high": 1.95}, ()),  # the intervals overlap
        ({**SLOWER, "latency_hardware": "batch 1, 1 thread, on cpu EPYC 9654"}, ()),
        ({**SLOWER, "weights_sha256": "ffffffff"}, ()),
        ({"p50_ms": 40.0}, ()),  # the machine was slow, for the teacher, too
    ],
)
def test_only_what_is_more_than_noise_and_from_one_setting_is_told(changed, told):
    assert changed_costs([CELL], [{**CELL, **changed}]) == told


def test_the_seed_that_was_timed_tells():
    faster = {**CELL, "p50_ms": 2.0, "speedup": 4.0, "speedup_low": 3.9, "speedup_high": 4.1}
    assert changed_costs([UNTIMED, CELL], [UNTIMED, faster]) == (
        "faster: 2.00x [1.90x, 2.10x] (4.00 ms) before, 4.00x [3.90x, 4.10x] (2.00 ms) now",
    )
    assert changed_costs([UNTIMED], [CELL]) == ()


def test_an_upgrade_that_slows_a_row_is_told_with_the_versions():
    upgraded = {**CELL, **SLOWER, "latency_runtimes": {"torch": "2.13.0", "transformers": "5.1.0"}}
    (told,) = changed_costs([CELL], [upgraded])
    assert told.startswith("slower: ")
    assert other_runtimes([CELL], [upgraded]) == "torch 2.12.0 before and 2.13.0 now"
    assert other_runtimes([CELL], [CELL]) is None
    assert other_runtimes([CELL], [UNTIMED]) is None
    assert other_runtimes([CELL], [{**upgraded, "latency_hardware": "another"}]) is None
    with_onnx = {**CELL, "latency_runtimes": {**CELL["latency_runtimes"], "onnxruntime": "1.32.0"}}
    assert other_runtimes([CELL], [with_onnx]) == "onnxruntime not recorded before and 1.32.0 now"

"""Rows that no other beats in quality and cost at once."""

from helpers.boards import tables_in
from helpers.comparisons import put_row, put_times, right
from helpers.support import make_timing

from kdbench.results.timings import put_timing


def fronts_in(results):
    rows = tables_in(results).rows
    return {row: front or "" for row, front in zip(rows["strategy"], rows["front"].fillna(""), strict=True)}


def put_four(results):
    """Write rows of hand-made costs: a is best and dear, b worse and cheap, c worse than b at a's cost, d b's twin."""
    costs = {"a": (4_000_000, 40.0), "b": (1_000_000, 10.0), "c": (4_000_000, 40.0), "d": (1_000_000, 10.0)}
    counts = {"a": 900, "b": 800, "c": 700, "d": 800}
    return {
        name: put_row(results, name, {0: right(counts[name])}, parameters=parameters, train_s=train_s)[0].key
        for name, (parameters, train_s) in costs.items()
    }


def test_what_another_beats_in_both_is_off_the_front_and_twins_are_on_it_together(tmp_path):
    put_four(tmp_path)
    assert fronts_in(tmp_path) == {"a": "PC", "b": "PC", "c": "", "d": "PC"}


def test_a_row_within_noise_of_the_front_counts_as_on_it(tmp_path):
    put_row(tmp_path, "a", {0: right(800)}, parameters=1_000_000)
    put_row(tmp_path, "b", {0: right(799, start=400)}, parameters=1_000_000)
    put_row(tmp_path, "c", {0: right(700)}, parameters=1_000_000)
    assert fronts_in(tmp_path) == {"a": "PC", "b": "PC", "c": ""}


def test_a_training_that_is_a_little_shorter_pushes_nobody_off(tmp_path):
    for name, train_s in (("a", 40.0), ("b", 43.0), ("c", 45.0)):
        put_row(tmp_path, name, {0: right(800)}, train_s=train_s)
    assert fronts_in(tmp_path) == {"a": "PC", "b": "PC", "c": "P"}


def test_latency_counts_where_intervals_of_speedups_lie_apart(tmp_path):
    keys = put_four(tmp_path)
    put_times(tmp_path, {keys[name]: ms for name, ms in {"a": 4.0, "b": 2.0, "c": 4.0, "d": 2.1}.items()})
    # Without intervals nobody is shown to be faster; c is off since a is better and as fast.
    assert fronts_in(tmp_path)["d"] == "LPC"
    assert "L" not in fronts_in(tmp_path)["c"]

    def with_interval(model, low, high):
        point = model.main.model_copy(update={"speedup_low": low, "speedup_high": high})
        back_end = model.back_ends[0].model_copy(update={"points": (point,)})
        return model.model_copy(update={"back_ends": (back_end,)})

    timing = make_timing({keys["b"]: 2.0, keys["d"]: 2.1})
    b, d = timing.models
    apart = (with_interval(b, 4.95, 5.05), with_interval(d, 4.7, 4.8))
    put_timing(tmp_path, timing.model_copy(update={"models": apart}))
    assert fronts_in(tmp_path)["d"] == "PC"  # b answers alike and is shown to be faster
    overlapping = (with_interval(b, 4.7, 5.3), with_interval(d, 4.5, 5.0))
    put_timing(tmp_path, timing.model_copy(update={"models": overlapping}))
    assert fronts_in(tmp_path)["d"] == "LPC"


def test_a_row_without_a_timing_is_on_no_front_of_latency(tmp_path):
    keys = put_four(tmp_path)
    put_times(tmp_path, {keys["b"]: 2.0})
    assert fronts_in(tmp_path) == {"a": "PC", "b": "LPC", "c": "", "d": "PC"}

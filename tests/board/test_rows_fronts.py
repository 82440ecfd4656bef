"""Rows that no other beats in quality and cost at once."""

from helpers.boards import tables_in
from helpers.comparisons import put_row, put_times, right
from helpers.support import make_timing

from kdbench.results.records import RecordStore
from kdbench.results.timings import Speed, put_timing


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
    assert fronts_in(tmp_path) == {"a": "PC", "b": "Pc", "c": "", "d": "Pc"}


def test_a_row_within_noise_of_the_front_may_be_on_it(tmp_path):
    put_row(tmp_path, "a", {0: right(800)}, parameters=1_000_000)
    put_row(tmp_path, "b", {0: right(799, start=400)}, parameters=1_000_000)
    put_row(tmp_path, "c", {0: right(700)}, parameters=1_000_000)
    assert fronts_in(tmp_path) == {"a": "pc", "b": "pc", "c": "c"}
    rows = tables_in(tmp_path).rows.set_index("strategy")
    assert 0.4 < rows["front_parameters"]["a"] < 0.65
    assert rows["front_parameters"]["a"] + rows["front_parameters"]["b"] > 0.99
    assert (
        rows["front_parameters"]["c"] < 0.01 < rows["front_cost"]["c"]
    )  # its training may have been the shortest


def test_a_training_that_is_a_little_shorter_pushes_nobody_off(tmp_path):
    for name, train_s in (("a", 40.0), ("b", 43.0), ("c", 90.0)):
        put_row(tmp_path, name, {0: right(800)}, train_s=train_s)
    assert fronts_in(tmp_path) == {"a": "Pc", "b": "Pc", "c": "P"}


def test_processor_seconds_tell_smaller_differences_apart(tmp_path):
    def put(has_cpu):
        for name, seconds in (("a", 40.0), ("b", 43.0), ("c", 55.0)):
            (record,) = put_row(tmp_path, name, {0: right(800)}, train_s=seconds)
            cpu = {"train_cpu_s": seconds, "teacher_cpu_s": 0.0} if has_cpu else {}
            RecordStore(tmp_path).put(record.model_copy(update={"cost": record.cost.model_copy(update=cpu)}))
        return fronts_in(tmp_path)

    assert put(has_cpu=False) == {"a": "Pc", "b": "Pc", "c": "Pc"}
    assert put(has_cpu=True) == {"a": "Pc", "b": "Pc", "c": "P"}


def test_latency_counts_where_intervals_of_speedups_lie_apart(tmp_path):
    keys = put_four(tmp_path)
    put_times(tmp_path, {keys[name]: ms for name, ms in {"a": 4.0, "b": 2.0, "c": 4.0, "d": 2.1}.items()})
    assert "L" not in "".join(fronts_in(tmp_path).values()).upper()  # nothing is known without intervals

    def with_interval(model, low, high):
        best = model.best_at(Speed.SINGLE).model_copy(
            update={
                "eager_speedup": (low * high) ** 0.5,
                "eager_speedup_low": low,
                "eager_speedup_high": high,
            }
        )
        return model.model_copy(update={"best": (best,)})

    timing = make_timing({keys["b"]: 2.0, keys["d"]: 2.1})
    b, d = timing.models
    apart = (with_interval(b, 4.95, 5.05), with_interval(d, 4.7, 4.8))
    put_timing(tmp_path, timing.model_copy(update={"models": apart}))
    assert fronts_in(tmp_path)["d"] == "Pc"  # b answers alike and is shown to be faster
    assert fronts_in(tmp_path)["b"] == "LPc"
    overlapping = (with_interval(b, 4.7, 5.3), with_interval(d, 4.5, 5.0))
    put_timing(tmp_path, timing.model_copy(update={"models": overlapping}))
    assert fronts_in(tmp_path)["d"] == "lPc"


def test_a_precision_that_the_processor_emulates_is_on_no_front_by_a_hair_of_quality(tmp_path):
    names = {"exact": 800, "bf16": 801, "far": 900}
    keys = {name: put_row(tmp_path, name, {0: right(count)})[0].key for name, count in names.items()}
    timing = make_timing({keys["exact"]: 4.0, keys["bf16"]: 14.0, keys["far"]: 20.0})

    def with_interval(model, is_emulated):
        best = model.best_at(Speed.SINGLE)
        speedup = best.speedup
        ends = {
            "eager_speedup": speedup,
            "eager_speedup_low": 0.99 * speedup,
            "eager_speedup_high": 1.01 * speedup,
        }
        back_end = model.back_ends[0].model_copy(update={"emulated": "bfloat16" if is_emulated else None})
        return model.model_copy(update={"best": (best.model_copy(update=ends),), "back_ends": (back_end,)})

    def put(*emulated):
        models = tuple(with_interval(model, model.key in emulated) for model in timing.models)
        put_timing(tmp_path, timing.model_copy(update={"models": models}))
        return {row for row, letters in fronts_in(tmp_path).items() if "l" in letters.lower()}

    assert put() == {"exact", "bf16", "far"}
    assert put(keys["bf16"]) == {"exact", "far"}
    # What is significantly better stays, however slow.
    assert put(keys["bf16"], keys["far"]) == {"exact", "far"}
    row = tables_in(tmp_path).rows.set_index("strategy").loc["bf16"]
    text = "its weights are in bfloat16, which the processor that timed it has no instructions for"
    assert text in row["warnings"]


def test_a_row_without_a_timing_is_on_no_front_of_latency(tmp_path):
    keys = put_four(tmp_path)
    put_times(tmp_path, {keys["b"]: 2.0})
    assert "l" not in "".join(front for row, front in fronts_in(tmp_path).items() if row != "b").lower()

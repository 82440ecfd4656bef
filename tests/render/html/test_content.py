import json

import pytest
from helpers.drawn_board import COST, EVIL, drawn_content, load, make_results
from helpers.support import make_record, make_timing, warmed_up

from kdbench.render.html.details import LOG_LINES
from kdbench.results.records import LearningCurve, RecordStore
from kdbench.results.timings import put_timing


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "results"
    folder.mkdir()
    make_results(folder)
    return folder


@pytest.fixture(scope="module")
def content(results):
    return drawn_content(results)


def row_of(content, strategy, task="reviews"):
    return next(row for row in content["rows"] if (row["task"], row["strategy"]) == (task, strategy))


def value_of(content, row, column):
    place = [one["name"] for one in content["columns"]].index(column)
    return row["values"][place], row["texts"][place]


def test_json_can_hold_it_and_drawing_twice_gives_the_same(results, content):
    assert json.dumps(content, allow_nan=False) == json.dumps(drawn_content(results))


def test_values_are_those_of_the_table_and_texts_say_them(results, content):
    rows, _ = load(results)
    for place, row in enumerate(content["rows"]):
        assert row["strategy"] == rows["strategy"].iloc[place]
    lora = row_of(content, "lora")
    assert value_of(content, lora, "score")[0] == 0.625
    assert value_of(content, lora, "total_parameters") == (625_000, "625k")
    assert value_of(content, lora, "p50_ms") == (8.0, "8.00")
    assert value_of(content, lora, "training_cost_s") == (62.5, "62.5 s")


def test_a_row_that_failed_has_no_number_but_reason_and_the_end_of_its_log(content):
    broken = row_of(content, "broken")
    assert not broken["ok"]
    assert value_of(content, broken, "score") == (None, "failed")
    assert value_of(content, broken, "p50_ms") == (None, "-")
    assert broken["details"]["reason"] == f"{EVIL} went wrong"
    (log,) = broken["details"]["logs"]
    assert log["seed"] == 0
    assert len(log["lines"]) == LOG_LINES
    assert log["lines"][-2:] == ["step 99", f"{EVIL} last words"]
    assert "classes" not in broken["details"]
    assert "logs" not in row_of(content, "lora")["details"]


def test_classes_and_confusion_are_counted_from_the_answers(content):
    # References are 0, 1, 0, 1 …; of lora's eight answers the first five are right.
    details = row_of(content, "lora")["details"]
    assert details["confusion"] == [[3, 1], [2, 2]]
    assert details["classes"] == [["rotten", "60.0", "75.0", "66.7", 4], ["fresh", "66.7", "50.0", "57.1", 4]]


def test_confusion_sums_over_seeds_and_classes_are_means(content):
    details = row_of(content, "finetune")["details"]
    assert [seed["seed"] for seed in details["seeds"]] == [0, 1, 2]
    assert sum(map(sum, details["confusion"])) == 3 * 8
    assert details["classes"][0] == ["rotten", "75.0", "75.0", "75.0", 4]


def test_latency_is_told_for_every_batch_and_length(content):
    (grid,) = row_of(content, "lora")["details"]["latency"]
    assert grid["back_end"] == "torch on cpu"
    assert [point[:4] for point in grid["points"]] == [
        ["1", "the task's own", "1", "8.00"],
        ["1", "16", "1", "8.00"],
        ["1", "32", "1", "16.0"],
        ["8", "16", "1", "64.0"],
        ["8", "32", "1", "128"],
    ]


def test_a_model_that_was_not_warm_is_told_where_its_latency_is(tmp_path):
    record = make_record("lora")
    RecordStore(tmp_path).put(record)
    put_timing(tmp_path, warmed_up(make_timing({record.key: 5.0}), calls=60, warm=False))
    content = drawn_content(tmp_path)
    (grid,) = row_of(content, "lora", "rotten-tomatoes")["details"]["latency"]
    assert grid["back_end"] == "torch on cpu (not stable yet after 60 warm-up calls)"
    (task,) = content["tasks"]
    assert "lora: the time of a call was not stable yet after 60 warm-up calls" in task["latency"]


def test_numbers_have_the_digits_that_are_shown_and_sorted_by(tmp_path):
    curve = LearningCurve(steps=(1, 2, 3), losses=(1234.56, 0.0123456, 0.5))
    record = make_record("lora", score=0.123456789).model_copy(update={"curves": (curve,)})
    RecordStore(tmp_path).put(record)
    content = drawn_content(tmp_path)
    row = row_of(content, "lora", "rotten-tomatoes")
    assert value_of(content, row, "score")[0] == 0.123457
    assert value_of(content, row, "total_parameters")[0] == record.size.total_parameters
    (seed,) = row["details"]["seeds"]
    assert seed["score"] == 0.123457
    assert seed["curves"][0]["losses"] == [1230, 0.0123, 0.5]


def test_without_predictions_timings_and_logs_a_row_says_what_is_left(results, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "records").symlink_to(results / "records")
    content = drawn_content(bare)
    details = row_of(content, "lora")["details"]
    assert not {"classes", "confusion", "latency", "logs"} & set(details)
    assert details["strategy"]["paper"] == "Nobody 2026"
    assert "p50_ms" not in [name for name, _ in content["costs"]]
    assert "p50_ms" not in [one["name"] for one in content["columns"]]


def test_strategies_stand_in_the_order_of_their_average_rank_those_without_last(content):
    ranks = [(one["strategy"], one["average_rank"]) for one in content["overview"]]
    assert ranks == [("finetune", 1), ("lora", 2), (EVIL, 3), (COST, 4), ("broken", None)]
    # The majority scores 64.6, the teacher 75.0.
    means = {one["strategy"]: one["normalized"] for one in content["overview"]}
    assert means["finetune"] == 1
    assert means["lora"] == pytest.approx((0.625 - 0.646) / (0.75 - 0.646))


def test_a_gap_is_told_only_where_the_teacher_is_shown_to_lead(results):
    content = drawn_content(
        results, lambda rows: rows.assign(gap_reason="the teacher does not significantly lead the control")
    )
    assert "gap_recovered" not in [one["name"] for one in content["columns"]]
    assert (
        row_of(content, "lora")["details"]["gap_reason"]
        == "the teacher does not significantly lead the control"
    )


def test_columns_of_plugins_keep_their_names_and_any_value_after_all_others(results):
    content = drawn_content(results, lambda rows: rows.assign(energy_j="a lot", wait_ms=0.123456))
    assert [one["heading"] for one in content["columns"]][-2:] == ["energy_j", "wait_ms"]
    row = content["rows"][0]
    assert value_of(content, row, "energy_j") == (None, "a lot")
    assert value_of(content, row, "wait_ms") == (0.123456, "0.1235")


def test_a_column_is_sorted_from_its_best_end(content):
    lower = {one["name"]: one["isLowerBetter"] for one in content["columns"]}
    assert lower["rank"]
    assert lower["p50_ms"]
    assert lower["calibration_error"]
    assert not lower["score"]
    assert not lower["speedup"]


def test_numbers_that_json_does_not_know_are_told_as_text(results):
    content = drawn_content(results, lambda rows: rows.assign(energy_j=float("inf")))
    assert json.dumps(content, allow_nan=False)
    assert value_of(content, content["rows"][0], "energy_j") == (None, "inf")

"""Older records held against newer ones."""

from dataclasses import asdict

import pytest
from helpers.comparisons import put_row, right
from helpers.scored import paired_difference
from helpers.support import make_environment, make_record, make_timing, save_predictions

from kdbench.board.diff import Against, Kind, changes
from kdbench.board.load import load_cells
from kdbench.board.predictions import TaskAnswers
from kdbench.board.sources import read_source
from kdbench.errors import UsageError
from kdbench.results.records import RecordStore, Status
from kdbench.results.timings import put_timing
from kdbench.stats.comparisons import holm


@pytest.fixture
def old(tmp_path):
    return tmp_path / "old"


@pytest.fixture
def new(tmp_path):
    return tmp_path / "new"


def held(old, new, **against):
    return changes(Against(read_source(old), **against), load_cells(new, budget="quick"), new)


def kinds(found):
    return {change.strategy: str(change.kind) for change in found.rows}


def test_rows_are_better_worse_or_not_shown_to_differ_by_a_paired_test(old, new):
    counts = {"better": (600, 700), "worse": (700, 600), "alike": (650, 655)}
    for name, (then, now) in counts.items():
        put_row(old, name, {0: right(then)})
        # Of `alike` 3 answers are lost and 8 gained: 0.005 with a standard error of 0.0033.
        put_row(new, name, {0: right(now, start=3 if name == "alike" else 0)}, minutes=5)
    found = held(old, new)
    assert kinds(found) == {"worse": "worse", "better": "better", "alike": "not significantly different"}
    by_name = {change.strategy: change for change in found.rows}
    assert by_name["worse"].difference.difference == pytest.approx(-0.1)
    assert by_name["better"].difference.low < 0.1 < by_name["better"].difference.high
    assert [change.strategy for change in found.regressions] == ["worse"]


def test_the_difference_is_the_paired_one_and_p_is_corrected_over_the_rows(old, new):
    for name, (then, now) in {"a": (640, 660), "b": (650, 660)}.items():
        put_row(old, name, {0: right(then)})
        put_row(new, name, {0: right(now, start=3)}, minutes=5)
    found = {change.strategy: change for change in held(old, new).rows}
    then, now = (TaskAnswers(load_cells(folder, budget="quick").cells, folder) for folder in (old, new))
    for name, change in found.items():
        mine, its = now.scored(name), then.scored(name)
        expected = paired_difference(mine.statistics, its.statistics, mine.metric.score)
        assert asdict(change.difference) == pytest.approx(asdict(expected))
    corrected = holm([found["a"].difference.p, found["b"].difference.p])
    assert [found["a"].p_holm, found["b"].p_holm] == pytest.approx(list(corrected))


def test_one_example_in_a_thousand_is_shown_to_be_no_loss_where_the_answers_are_alike(old, new):
    put_row(old, "a", {0: right(700)})
    put_row(new, "a", {0: right(699)}, minutes=5)
    (change,) = held(old, new).rows
    assert change.difference.difference == pytest.approx(-0.001)
    # The standard error is a tenth of a point.
    assert change.difference.low_90 == pytest.approx(-0.00265, abs=1e-4)
    assert change.kind is Kind.EQUIVALENT
    (strict,) = changes(Against(read_source(old)), load_cells(new, budget="quick"), new, margin=0.002).rows
    assert strict.kind is Kind.NOT_SIGNIFICANT


def test_a_loss_shown_to_be_smaller_than_the_margin_is_no_regression(old, new):
    put_row(old, "a", {0: right(700)})
    put_row(new, "a", {0: right(694)}, minutes=5)
    found = held(old, new)
    assert [(change.kind, change.is_regression) for change in found.rows] == [(Kind.WORSE, True)]
    wide = changes(Against(read_source(old)), load_cells(new, budget="quick"), new, margin=0.02)
    assert [(change.kind, change.is_regression) for change in wide.rows] == [(Kind.WORSE, False)]


def test_the_luck_of_seeds_is_in_the_difference_where_it_is_known(old, new):
    put_row(old, "a", {seed: right(count) for seed, count in enumerate((700, 760, 820))})
    put_row(new, "a", {seed: right(count) for seed, count in enumerate((760, 700, 640))}, minutes=5)
    (change,) = held(old, new).rows
    assert change.difference.difference == pytest.approx(-0.06)
    assert (change.kind, change.seeds_are_known) == (Kind.NOT_SIGNIFICANT, True)
    # The same three scores now, but each seed lost as much: what seeds have in common is no luck.
    put_row(new, "a", {seed: right(count) for seed, count in enumerate((640, 700, 760))}, minutes=6)
    assert held(old, new).rows[0].kind is Kind.WORSE
    put_row(old, "b", {0: right(760)}, task="other")
    put_row(new, "b", {0: right(700)}, task="other", minutes=5)
    found = {change.strategy: change for change in held(old, new).rows}
    assert (found["b"].kind, found["b"].seeds_are_known) == (Kind.WORSE, False)


def test_rows_that_are_new_gone_failing_or_working(old, new):
    failed = {"score": None, "status": Status.FAILED, "reason": "out of memory"}
    for folder, minutes, rows in (
        (old, 0, {"gone": {}, "gone-failed": failed, "breaks": {}, "mended": failed, "never": failed}),
        (new, 5, {"new": {}, "new-failed": failed, "breaks": failed, "mended": {}, "never": failed}),
    ):
        for name, record in rows.items():
            RecordStore(folder).put(make_record(name, minutes=minutes, **record))
    found = held(old, new)
    assert [(change.strategy, str(change.kind), change.is_regression) for change in found.rows] == [
        ("breaks", "fails now", True),
        ("gone", "gone", True),
        ("gone-failed", "gone", False),
        ("mended", "works now", False),
        ("new", "new", False),
        ("new-failed", "new", False),
        ("never", "no score in either", False),
    ]
    notes = {change.strategy: change.note for change in found.rows}
    assert notes["breaks"] == notes["new-failed"] == "failed: out of memory"
    assert notes["mended"] == "before failed: out of memory"


def test_a_row_with_one_seed_that_fails_now_is_a_regression(old, new):
    put_row(old, "a", {0: right(700), 1: right(700)})
    put_row(new, "a", {0: right(700)}, minutes=5)
    RecordStore(new).put(make_record("a", score=None, seed=1, status=Status.TIMEOUT, reason="60 s"))
    (change,) = held(old, new).rows
    assert (change.kind, change.note) == (Kind.FAILS, "timeout: seed 1: 60 s")


def test_the_very_same_run_is_not_compared_and_costs_the_others_no_power(old, new):
    for folder in (old, new):
        for name in "abc":
            put_row(folder, name, {0: right(650)})
    put_row(old, "d", {0: right(600)})
    put_row(new, "d", {0: right(640)}, minutes=5)
    found = {change.strategy: change for change in held(old, new).rows}
    assert [str(found[name].kind) for name in "abc"] == ["the same run"] * 3
    assert found["d"].p_holm == found["d"].difference.p


def test_without_predictions_the_intervals_of_the_scores_decide(old, new):
    for name, then, now in (("worse", 0.70, 0.60), ("near", 0.70, 0.66), ("better", 0.60, 0.70)):
        RecordStore(old).put(make_record(name, score=then))
        RecordStore(new).put(make_record(name, score=now, minutes=5))
    found = {change.strategy: change for change in held(old, new).rows}
    assert {name: str(change.kind) for name, change in found.items()} == {
        "worse": "worse",
        "near": "not significantly different",
        "better": "better",
    }
    assert found["worse"].is_regression
    assert found["worse"].difference is None
    # The records' intervals reach from 2.5 points below the score to 2.4 above.
    assert found["worse"].note == (
        "by the intervals of the scores alone, 67.5 to 72.4 and now 57.5 to 62.4: newer row: the predictions of seed 0"
        " are missing or damaged; older row: the predictions of seed 0 are missing or damaged"
    )


def test_without_predictions_all_seeds_must_lie_on_one_side(old, new):
    for seed, (then, now) in enumerate(((0.70, 0.60), (0.64, 0.60))):
        RecordStore(old).put(make_record("a", score=then, seed=seed))
        RecordStore(new).put(make_record("a", score=now, seed=seed, minutes=5))
    assert kinds(held(old, new)) == {"a": "not significantly different"}  # 61.5 to 72.4, and 57.5 to 62.4


def test_scores_on_other_examples_of_the_same_data_are_compared_by_their_intervals(old, new):
    put_row(old, "a", {0: right(70, of=100)})
    (record,) = put_row(new, "a", {0: right(50, of=100)}, minutes=5)
    save_predictions(new, record.key, right(50, of=100), ids=range(100, 200))
    (change,) = held(old, new).rows
    assert (change.kind, change.is_by_scores) == (Kind.WORSE, True)
    assert change.note.endswith("they were scored on different examples")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"fingerprint": "data-2"}, "the task's data is not the same"),
        ({"metric": "macro-f1"}, "scored by accuracy before and by macro-f1 now"),
    ],
)
def test_scores_of_other_data_or_by_another_metric_are_not_compared(old, new, changed, told):
    RecordStore(old).put(make_record("a", score=0.9))
    RecordStore(new).put(make_record("a", score=0.1, minutes=5, **changed))
    found = held(old, new)
    assert [(change.kind, change.note) for change in found.rows] == [(Kind.NOT_COMPARABLE, told)]
    assert found.regressions == ()


def test_records_of_a_file_that_a_board_wrote_are_older_records_too(old, new, tmp_path):
    RecordStore(new).put(make_record("a", score=0.6, minutes=5))
    (tmp_path / "records.jsonl").write_text(make_record("a", score=0.8).model_dump_json() + "\n")
    found = changes(Against(read_source(tmp_path / "records.jsonl")), load_cells(new, budget="quick"), new)
    assert kinds(found) == {"a": "worse"}


def test_of_several_base_models_the_boards_own_is_taken_and_another_is_told(old, new):
    other = {"weights": "f" * 64, "model": "another"}
    RecordStore(old).put(make_record("a", score=0.7))
    RecordStore(old).put(make_record("a", score=0.2, minutes=3, **other))
    RecordStore(new).put(make_record("a", score=0.7, minutes=5))
    found = held(old, new)
    assert (kinds(found), found.remarks) == ({"a": "not significantly different"}, ())
    (old / "records" / f"{make_record('a').key}.json").unlink()
    assert held(old, new).remarks == (
        "the older rows start from another (ffffffff), the newer from all-MiniLM-L6-v2 (53aa5117)",
    )


def test_what_was_asked_for_alone_is_held_against_each_other(old, new):
    for task in ("sst2", "ner"):
        for name in ("lora[r=16]", "lora", "int8"):
            RecordStore(old).put(make_record(name, task=task, score=0.7))
    RecordStore(new).put(make_record("int8", task="ner", score=0.7, minutes=5))
    found = held(old, new, tasks=["s*"], strategies=["lora[r=16]", "int8"])
    assert [(change.task, change.strategy) for change in found.rows] == [
        ("sst2", "int8"),
        ("sst2", "lora[r=16]"),
    ]
    assert found.remarks == ("only the selected tasks and rows are compared: s*, lora[r=16], int8",)
    with pytest.raises(
        UsageError, match=r"--strategy 'lora\[r=61\]' matches no row.*did you mean 'lora\[r=16\]'"
    ):
        held(old, new, strategies=["lora[r=61]"])


def test_older_records_of_another_budget_are_none(old, new):
    RecordStore(old).put(make_record("a", budget="smoke"))
    RecordStore(new).put(make_record("a"))
    with pytest.raises(
        UsageError, match=r"no record of budget 'quick' in .*old .existing: .* at budget 'smoke'"
    ):
        held(old, new)


def test_size_and_speed_are_told_of_a_row_and_are_no_regression(old, new):
    then, now = (make_record("a", parameters=count, minutes=at) for count, at in ((10, 0), (20, 5)))
    RecordStore(old).put(then)
    RecordStore(new).put(now)
    put_timing(old, make_timing({then.key: 4.0}))
    put_timing(new, make_timing({now.key: 8.0}))
    found = held(old, new)
    assert [change.costs for change in found.rows] == [("more parameters: 10 before, 20 now",)]
    assert found.regressions == ()


def test_speed_is_compared_across_versions_of_libraries_and_these_are_told(old, new):
    here = make_environment()
    newer = here.model_copy(update={"libraries": {**here.libraries, "torch": "2.14.0", "kdbench": "9"}})
    for folder, p50_ms, interval, environment, at in (
        (old, 5.0, (1.9, 2.1), here, 0),
        (new, 8.0, (1.2, 1.3), newer, 5),
    ):
        record = make_record("a", minutes=at)
        RecordStore(folder).put(record)
        timing = make_timing({record.key: p50_ms}, environment=environment)
        (model,) = timing.models
        (back_end,) = model.back_ends
        low, high = interval
        point = back_end.points[0].model_copy(update={"speedup_low": low, "speedup_high": high})
        model = model.model_copy(update={"back_ends": (back_end.model_copy(update={"points": (point,)}),)})
        put_timing(folder, timing.model_copy(update={"models": (model,)}))
    found = held(old, new)
    assert found.rows[0].costs == (
        "slower: 2.00x [1.90x, 2.10x] (5.00 ms) before, 1.25x [1.20x, 1.30x] (8.00 ms) now",
    )
    assert found.remarks == ("speed was measured with torch 2.13.0 before and 2.14.0 now",)

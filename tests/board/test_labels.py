"""The scores of a budget's label counts, and which row overtakes which."""

import pytest
from helpers.comparisons import right
from helpers.label_counts import put_counts

from kdbench.board.crossings import verdict
from kdbench.board.frames import rows_of
from kdbench.board.labels import label_budgets, label_tables
from kdbench.board.sources import read_results


@pytest.fixture
def results(tmp_path):
    """A student that is behind its control at 16 labels, level at 64 and ahead with all; the teacher leads by far."""
    put_counts(
        tmp_path, "finetune", {n: right(c) for n, c in {16: 700, 64: 800, None: 900}.items()}, is_teacher=True
    )
    put_counts(tmp_path, "control", {n: right(c) for n, c in {16: 600, 64: 650, None: 660}.items()})
    student = {16: 500, 64: 650, None: 760}
    put_counts(tmp_path, "student", {n: right(c, start=100) for n, c in student.items()}, control="control")
    return tmp_path


def tables(results, **settings):
    return label_tables(read_results(results), budget="quick", **settings)


def pair(found, row, other):
    (line,) = [line for line in rows_of(found.crossings) if (line["strategy"], line["other"]) == (row, other)]
    return line


def test_scores_are_listed_by_count_with_what_was_labelled(results):
    scores = rows_of(tables(results).scores)
    student = [row for row in scores if row["strategy"] == "student"]
    assert [row["labels"] for row in student] == [16, 64, 2000]
    assert [row["score"] for row in student] == [0.5, 0.65, 0.76]
    assert [row["validation_examples"] for row in student] == [16, 64, 200]
    # 2000 x 6 / 8 would be more than 200 steps; 16 labels are seen as often as the steps ask for.
    assert {(row["steps"], row["batch_size"]) for row in student} == {(200, 8)}
    assert all(row["score_low"] < row["score"] < row["score_high"] for row in student)


def test_a_row_overtakes_its_control_where_the_line_between_two_counts_crosses(results):
    line = pair(tables(results), "student", "control")
    assert line["relation"] == "control"
    assert line["differences"] == "16:-0.1;64:0;2000:0.1"
    assert line["told_apart"] == "16;2000"
    assert line["verdict"] == "ahead at 2,000, behind at 16"
    assert line["leader"] == "student"
    assert line["crossing"] == pytest.approx(64)  # where they are level
    assert 16 < line["crossing_low"] < 64 < line["crossing_high"] < 2000
    assert (line["changes"], line["share"]) == (1, 1.0)


def test_every_row_is_compared_with_the_teacher_and_no_pair_twice(results):
    found = tables(results)
    pairs = [(line["strategy"], line["other"]) for line in rows_of(found.crossings)]
    assert sorted(pairs) == [("control", "finetune"), ("student", "control"), ("student", "finetune")]
    line = pair(found, "control", "finetune")
    assert (line["verdict"], line["leader"], line["crossing"]) == ("behind at every count", None, None)


def test_rows_that_answer_alike_are_not_told_apart(tmp_path):
    put_counts(tmp_path, "finetune", {16: right(700), None: right(800)}, is_teacher=True)
    put_counts(tmp_path, "twin", {16: right(700, start=5), None: right(795)})
    assert pair(tables(tmp_path), "twin", "finetune")["verdict"] == "not told apart"


@pytest.mark.parametrize(
    ("signs", "told"),
    [
        ([0, 0, 0], "not told apart"),
        ([1, 1, 1], "ahead at every count"),
        ([1, 1, 0], "ahead at 16 and 64"),
        ([-1, 0, 1], "ahead at 2,000, behind at 16"),
        ([-1, -1, 1], "ahead at 2,000, behind at 16 and 64"),
    ],
)
def test_a_verdict_says_where_the_tests_tell_the_two_apart(signs, told):
    assert verdict([16, 64, 2000], signs) == told


def test_the_seeds_widen_the_interval_of_a_crossing(results):
    alone = pair(tables(results), "student", "control")
    for seed, change in ((1, 20), (2, -20)):
        for row, (few, whole) in {"student": (500, 760), "control": (600, 660)}.items():
            counts = {16: few, 64: 650 + (change if row == "student" else -change), None: whole}
            start = 100 if row == "student" else 0
            answers = {count: right(number, start=start) for count, number in counts.items()}
            put_counts(results, row, answers, seed=seed, control="control" if row == "student" else None)
    line = pair(tables(results), "student", "control")
    assert line["differences"] == "16:-0.1;64:0;2000:0.1"
    assert line["crossing_low"] < alone["crossing_low"]
    assert line["crossing_high"] > alone["crossing_high"]


def test_counts_can_be_chosen_and_those_of_other_budgets_do_not_count(results):
    put_counts(results, "finetune", {32: right(700)}, budget="standard", is_teacher=True)
    records = read_results(results).records
    assert label_budgets(records, "quick") == {16: "quick@16", 64: "quick@64", "all": "quick"}
    assert set(tables(results, counts=[16, "all"]).scores["labels"]) == {16, 2000}
    assert set(tables(results, counts=[16]).scores["labels"]) == {16}
    assert label_tables(read_results(results), budget="full") is None
    assert tables(results, counts=["all"]) is None


def test_a_count_with_other_data_than_the_newest_is_named_and_left_out(results):
    put_counts(results, "finetune", {256: right(700)}, fingerprint="data-0", minutes=-5, is_teacher=True)
    found = tables(results)
    assert 256 not in set(found.scores["labels"])
    (line,) = found.left_out
    assert line.startswith("left out rotten-tomatoes at 256 labels: measured with other data")


def test_a_row_without_answers_has_its_score_but_no_crossing(results):
    (record,) = [
        record
        for record in read_results(results).records
        if (record.strategy.label, record.budget.name) == ("student", "quick@64")
    ]
    (results / "predictions" / f"{record.key}.safetensors").unlink()
    found = tables(results)
    assert pair(found, "student", "control")["differences"] == "16:-0.1;2000:0.1"
    assert found.left_out == (
        "rotten-tomatoes at 64 labels: no interval and no crossing of 1 row: the predictions of seed 0 are missing"
        " or damaged",
    )

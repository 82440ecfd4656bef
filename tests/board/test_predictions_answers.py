"""Rows of one task held against each other."""

import pytest
from helpers.comparisons import put_row, right
from helpers.scored import paired_difference
from helpers.support import make_record, save_predictions

from kdbench.board.load import load_cells
from kdbench.board.predictions import TaskAnswers
from kdbench.errors import KdbenchError
from kdbench.results.records import RecordStore, Status


def answers_in(results):
    return TaskAnswers(load_cells(results, budget="quick").cells, results)


def test_a_row_borrows_from_the_others_what_its_seeds_do_not_show(tmp_path):
    for name, counts in (("a", (70, 72, 74)), ("b", (60, 61, 65)), ("c", (50, 52, 53))):
        put_row(tmp_path, name, {seed: right(count, 100) for seed, count in enumerate(counts)})
    put_row(tmp_path, "d", {0: right(40, 100)})
    spreads = answers_in(tmp_path).spreads
    assert spreads["a"].df > 2  # three seeds alone have two degrees of freedom
    assert spreads["d"] is not None
    low, high = answers_in(tmp_path).interval("d")
    assert low < 0.4 < high


def test_what_is_borrowed_takes_no_interval_out_of_the_metrics_range(tmp_path):
    for name, counts in (("a", (0, 0)), ("b", (2, 8)), ("c", (3, 9)), ("d", (10, 10))):
        put_row(tmp_path, name, {seed: right(count, 10) for seed, count in enumerate(counts)})
    answers = answers_in(tmp_path)
    assert answers.interval("a")[0] == 0.0 < answers.interval("a")[1]
    assert answers.interval("d")[0] < answers.interval("d")[1] == 1.0


def test_the_difference_is_that_of_the_statistics_with_the_rows_spreads(tmp_path):
    for name, counts in (("a", (70, 72, 74)), ("b", (60, 61, 65))):
        put_row(tmp_path, name, {seed: right(count, 100) for seed, count in enumerate(counts)})
    answers = answers_in(tmp_path)
    a, b = answers.pair("a", "b")
    spreads = (answers.spreads["a"], answers.spreads["b"])
    direct = paired_difference(a.statistics, b.statistics, a.metric.score, spreads)
    found = answers.difference("a", "b")
    assert found == direct
    assert found.difference == pytest.approx(0.72 - 0.62)
    assert answers.difference("b", "a").difference == pytest.approx(-found.difference)


def test_a_row_with_a_failed_seed_is_none_of_them(tmp_path):
    put_row(tmp_path, "a", {0: right(70, 100)})
    put_row(tmp_path, "b", {0: right(70, 100)})
    RecordStore(tmp_path).put(make_record("b", seed=1, status=Status.FAILED, reason="x"))
    assert list(answers_in(tmp_path).spreads) == ["a"]


def test_rows_scored_on_different_examples_cannot_be_held_against_each_other(tmp_path):
    put_row(tmp_path, "a", {0: right(7, 10)})
    (other,) = put_row(tmp_path, "b", {0: right(7, 10)})
    save_predictions(tmp_path, other.key, right(7, 10), ids=range(1, 11))
    with pytest.raises(KdbenchError, match="a and b were scored on different examples"):
        answers_in(tmp_path).difference("a", "b")

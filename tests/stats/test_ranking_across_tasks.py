import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from kdbench.stats import average_ranks, interquartile_mean, score_ranks


def test_ranks_by_hand_with_a_tie():
    scores = np.array([[0.9, 0.5], [0.8, 0.5], [0.7, 0.6]])
    assert score_ranks(scores).tolist() == [[1, 2.5], [2, 2.5], [3, 1]]
    assert average_ranks(scores).tolist() == [(1 + 2.5) / 2, (2 + 2.5) / 2, (3 + 1) / 2]


def test_a_row_that_lacks_a_task_takes_part_on_none():
    scores = np.array([[0.9, 0.5], [0.95, np.nan], [0.7, 0.6]])
    assert average_ranks(scores) == pytest.approx([1.5, np.nan, 1.5], nan_ok=True)
    assert np.isnan(average_ranks(np.full((2, 2), np.nan))).all()


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=6))
def test_ranks_share_out_the_same_sum(scores):
    ranks = average_ranks(np.array(scores))
    assert ranks.sum() == pytest.approx(len(scores) * (len(scores) + 1) / 2)


def test_interquartile_mean_by_hand():
    # Of eight pooled scores two are cut on either side.
    found = interquartile_mean([[0.0, 1.0, 0.5, 0.6], [0.4, 0.7, 0.1, 0.9]])
    assert found.mean == pytest.approx((0.4 + 0.5 + 0.6 + 0.7) / 4)


def test_one_collapsed_seed_does_not_move_it():
    before = interquartile_mean([[0.8, 0.81, 0.82], [0.7, 0.71, 0.72]]).mean
    assert interquartile_mean([[0.8, 0.81, 0.82], [0.0, 0.71, 0.72]]).mean == pytest.approx(before, abs=0.01)


def test_seeds_are_drawn_within_their_task():
    # Seeds of one task agree, and tasks do not: drawn across tasks, the mean would vary.
    found = interquartile_mean([[0.2] * 3, [0.5] * 3, [0.9] * 3, [0.7] * 3])
    assert (found.low, found.high) == pytest.approx((found.mean, found.mean))


def test_the_interval_of_one_task_equals_scipys():
    scores = np.random.default_rng(0).normal(size=40)
    theirs = scipy.stats.bootstrap(
        (scores,),
        lambda x, axis: scipy.stats.trim_mean(x, 0.25, axis=axis),
        method="percentile",
        n_resamples=4000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    found = interquartile_mean([scores.tolist()], resamples=4000)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)


@pytest.mark.parametrize(("tasks", "seeds"), [(1, 3), (3, 3), (4, 10)])
def test_intervals_cover_the_truth_with_few_seeds_as_with_many(tasks, seeds):
    rng = np.random.default_rng(0)
    covered = 0
    for draw in range(2000):
        # Tasks alike and symmetric about 0, so that the middle half is too.
        found = interquartile_mean(rng.normal(size=(tasks, seeds)).tolist(), resamples=300, seed=draw)
        covered += found.low <= 0 <= found.high
    assert 0.93 <= covered / 2000 <= 0.97


def test_one_seed_a_task_has_no_interval():
    found = interquartile_mean([[0.1], [0.2], [0.6], [0.9]])
    assert (found.mean, found.low, found.high) == (pytest.approx(0.4), None, None)


@pytest.mark.parametrize("scores", [[], [[0.5], []], [[0.5], [np.nan]]])
def test_a_missing_task_is_not_skipped(scores):
    with pytest.raises(ValueError, match="needs a score on every task"):
        interquartile_mean(scores)

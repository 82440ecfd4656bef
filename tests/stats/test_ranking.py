import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from kdbench.stats.ranking import (
    interquartile_mean,
    rank_intervals,
    score_ranks,
)


def better(models, *pairs) -> np.ndarray:
    """Return (models, models): true for each pair of a better and a worse model."""
    shown = np.zeros((models, models), dtype=bool)
    for i, j in pairs:
        shown[i, j] = True
    return shown


def ranks(*args) -> list[tuple[int, int]]:
    return [(interval.best, interval.worst) for interval in rank_intervals(better(*args))]


def test_nothing_shown_leaves_every_rank_open():
    assert ranks(3) == [(1, 3), (1, 3), (1, 3)]
    assert ranks(1) == [(1, 1)]
    assert ranks(0) == []


def test_all_shown_leaves_one_rank_each():
    assert ranks(3, (1, 0), (1, 2), (0, 2)) == [(2, 2), (1, 1), (3, 3)]


def test_only_what_is_shown_narrows_a_rank():
    # The first is better than the last; the one between may be anywhere.
    assert ranks(3, (0, 2)) == [(1, 2), (1, 3), (2, 3)]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=7), st.randoms())
def test_true_claims_alone_never_exclude_the_true_rank(truth, random):
    n = len(truth)
    true = [(i, j) for i in range(n) for j in range(n) if truth[i] > truth[j] and random.random() < 0.5]
    for own, (best, worst) in zip(truth, ranks(n, *true), strict=True):
        assert best <= 1 + sum(other > own for other in truth) <= worst


def test_ranks_by_hand_with_a_tie():
    scores = np.array([[0.9, 0.5], [0.8, 0.5], [0.7, 0.6]])
    assert score_ranks(scores).tolist() == [[1, 2.5], [2, 2.5], [3, 1]]


def test_copies_of_one_model_count_once():
    # The second and the fourth are copies: of 0.9 and 0.6 only 0.9 pushes others back, and neither the other.
    scores = np.array([[0.8], [0.9], [0.7], [0.6]])
    assert score_ranks(scores, [0, 1, 2, 1])[:, 0].tolist() == [2, 1, 3, 3]
    assert score_ranks(scores)[:, 0].tolist() == [2, 1, 3, 4]


def test_a_row_that_lacks_a_task_takes_part_on_none():
    scores = np.array([[0.9, 0.5], [0.95, np.nan], [0.7, 0.6]])
    assert score_ranks(scores).mean(axis=1) == pytest.approx([1.5, np.nan, 1.5], nan_ok=True)
    assert np.isnan(score_ranks(np.full((2, 2), np.nan))).all()


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=6))
def test_ranks_are_those_of_scipy(scores):
    expected = scipy.stats.rankdata(-np.array(scores), axis=0)
    assert (score_ranks(np.array(scores)) == expected).all()


def test_interquartile_mean_by_hand():
    # Of eight pooled scores two are cut on either side.
    found = interquartile_mean([[0.0, 1.0, 0.5, 0.6], [0.4, 0.7, 0.1, 0.9]])
    assert found.value == pytest.approx((0.4 + 0.5 + 0.6 + 0.7) / 4)


def test_one_collapsed_seed_does_not_move_it():
    before = interquartile_mean([[0.8, 0.81, 0.82], [0.7, 0.71, 0.72]]).value
    assert interquartile_mean([[0.8, 0.81, 0.82], [0.0, 0.71, 0.72]]).value == pytest.approx(before, abs=0.01)


def test_seeds_are_drawn_within_their_task():
    # Seeds of one task all but agree, and tasks do not: drawn across tasks, the mean would vary.
    found = interquartile_mean([[0.2] * 3, [0.5] * 3, [0.9] * 3, [0.7, 0.7, 0.701]])
    assert found.value - 0.005 < found.low < found.high < found.value + 0.005


def test_seeds_that_agree_on_every_task_give_no_interval():
    found = interquartile_mean([[0.2] * 3, [0.5] * 3])
    assert (found.value, found.low, found.high) == (pytest.approx(0.35), None, None)


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


@pytest.mark.slow
@pytest.mark.parametrize(("tasks", "seeds"), [(1, 3), (3, 3), (4, 10)])
def test_intervals_cover_the_truth_with_few_seeds_as_with_many(tasks, seeds):
    rng = np.random.default_rng(0)
    covered = 0
    for draw in range(1000):
        # Tasks alike and symmetric about 0, so that the middle half is too.
        found = interquartile_mean(rng.normal(size=(tasks, seeds)).tolist(), resamples=300, seed=draw)
        covered += found.low <= 0 <= found.high
    assert 0.93 <= covered / 1000 <= 0.97


def test_one_seed_a_task_has_no_interval():
    found = interquartile_mean([[0.1], [0.2], [0.6], [0.9]])
    assert (found.value, found.low, found.high) == (pytest.approx(0.4), None, None)


@pytest.mark.parametrize("scores", [[], [[0.5], []], [[0.5], [np.nan]]])
def test_a_missing_task_is_not_skipped(scores):
    with pytest.raises(ValueError, match="needs a score on every task"):
        interquartile_mean(scores)

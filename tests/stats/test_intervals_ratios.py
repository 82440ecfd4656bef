import numpy as np
import pytest
import scipy.stats

from kdbench.stats import paired_ratio
from kdbench.stats.intervals import _blocks


def test_by_hand():
    found = paired_ratio([4.0, 9.0, 10.0], [2.0, 3.0, 2.0])
    assert found.ratio == 3.0
    assert 2.0 <= found.low <= 3.0 <= found.high <= 5.0


def test_what_slows_both_alike_changes_nothing():
    rng = np.random.default_rng(0)
    slow = np.exp(rng.normal(size=100))
    found = paired_ratio(3 * slow, slow)
    assert (found.ratio, found.low, found.high) == pytest.approx((3, 3, 3))


def test_blocks_of_one_are_the_ordinary_bootstrap():
    rng = np.random.default_rng(0)
    ratios = np.exp(rng.normal(size=201))
    theirs = scipy.stats.bootstrap(
        (ratios,), np.median, n_resamples=4000, method="percentile", rng=rng
    ).confidence_interval
    found = paired_ratio(ratios, np.ones(201), block=1, resamples=4000)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=0.03)


def test_a_resample_joins_whole_runs():
    drawn = _blocks(np.random.default_rng(0), rows=200, n=10, length=4)
    assert drawn.shape == (200, 10)
    assert set(np.diff(drawn)[:, [0, 1, 2, 4, 5, 6, 8]].ravel()) == {1}
    assert (drawn.min(), drawn.max()) == (0, 9)
    assert set(drawn[:, 0]) == set(range(7))


def rounds_of(rng, draws, rounds, correlation):
    """Return (draws, rounds): ratios about 2, each round's resembling the one before."""
    noise = rng.normal(size=(draws, rounds))
    for i in range(1, rounds):
        noise[:, i] = correlation * noise[:, i - 1] + np.sqrt(1 - correlation**2) * noise[:, i]
    return 2 * np.exp(0.1 * noise)


def coverage(ratios, block=None, resamples=200):
    found = [
        paired_ratio(row, np.ones(len(row)), block=block, resamples=resamples, seed=draw)
        for draw, row in enumerate(ratios)
    ]
    return np.mean([one.low <= 2 <= one.high for one in found])


@pytest.mark.parametrize(
    ("rounds", "correlation", "resamples"), [(100, 0.0, 500), (100, 0.2, 500), (300, 0.2, 200)]
)
def test_intervals_cover_the_true_ratio_as_often_as_they_say(rounds, correlation, resamples):
    ratios = rounds_of(np.random.default_rng(0), 2000, rounds, correlation)
    assert 0.93 <= coverage(ratios, resamples=resamples) <= 0.97


def test_blocks_cover_where_rounds_resemble_their_neighbours_and_single_rounds_do_not():
    ratios = rounds_of(np.random.default_rng(0), 500, 300, 0.5)
    assert coverage(ratios) >= 0.9
    assert coverage(ratios, block=1) <= 0.8


def test_one_pair_has_no_interval():
    found = paired_ratio([3.0], [2.0])
    assert (found.ratio, found.low, found.high) == (1.5, None, None)


@pytest.mark.parametrize(
    ("numerator", "denominator", "block", "message"),
    [
        ([], [], None, "need pairs"),
        ([1.0], [1.0, 2.0], None, "need pairs"),
        ([1.0, 0.0], [1.0, 2.0], None, "above 0"),
        ([1.0, np.nan], [1.0, 2.0], None, "above 0"),
        ([1.0, 1.0], [1.0, 2.0], 3, "a block must hold 1 to 2 ratios, but holds 3"),
        ([1.0, 1.0], [1.0, 2.0], 0, "a block must hold 1 to 2 ratios, but holds 0"),
    ],
)
def test_what_is_no_pair_of_measurements_is_refused(numerator, denominator, block, message):
    with pytest.raises(ValueError, match=message):
        paired_ratio(numerator, denominator, block=block)

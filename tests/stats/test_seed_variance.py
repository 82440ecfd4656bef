import numpy as np
import pytest
import scipy.special
import scipy.stats
from helpers.scored import all_differences, crossed
from hypothesis import assume, given
from hypothesis import strategies as st

from kdbench.stats.comparisons import holm_pairs
from kdbench.stats.seed_variance import SeedSpread, seed_spreads


def moments(spread):
    """Return the mean and the standard deviation of the log variance."""
    logs, weights = np.log(spread.posterior.variances), np.array(spread.posterior.weights)
    mean = weights @ logs
    return mean, np.sqrt(weights @ (logs - mean) ** 2)


def test_a_row_of_one_seed_has_the_prior_of_the_others():
    # Log sample variances of 2 df lie below the true ones by log(1) - digamma(1), and scatter by trigamma(1) more.
    rows = [[0.0, v, 3 * v] for v in (0.1, 0.5, 1.0, 2.0, 3.0, 10.0)]
    logs = np.log(np.var(rows, axis=1, ddof=1)) - scipy.special.digamma(1)
    *_, prior = seed_spreads([*rows, [7.0]])
    mean, sd = moments(prior)
    assert mean == pytest.approx(logs.mean())
    expected = 1.75 * np.sqrt(logs.var(ddof=1) - scipy.special.polygamma(1, 1))
    assert sd == pytest.approx(expected, rel=0.02)
    # The prior ends at three standard deviations on either side.
    assert np.log(max(prior.posterior.variances) / min(prior.posterior.variances)) == pytest.approx(
        6 * expected
    )


def test_rows_that_scatter_no_more_than_by_chance_do_not_share_one_variance_for_certain():
    rows = [[-np.sqrt(v), 0.0, np.sqrt(v)] for v in (1.0, 2.0, 3.0)]
    *_, prior = seed_spreads([*rows, [7.0]])
    # As uncertain as the log of a sample variance of three rows, 2 df.
    assert moments(prior)[1] == pytest.approx(1.75 * np.sqrt(scipy.special.polygamma(1, 1)), rel=0.02)


def test_a_rows_own_seeds_weigh_the_variances_by_their_likelihood():
    rows = [[0.0, v, 3 * v] for v in (0.1, 0.5, 1.0, 2.0, 3.0)]
    *others, prior = seed_spreads([*rows, [7.0]])
    own = others[3]
    likelihood = [
        scipy.stats.chi2.pdf(2 * np.var(rows[3], ddof=1) / v, 2) / v for v in own.posterior.variances
    ]
    expected = np.array(prior.posterior.weights) * likelihood
    assert own.posterior.weights == pytest.approx(expected / expected.sum())
    precisions = 1 / np.array(own.posterior.variances)
    assert own.variance == pytest.approx(1 / np.average(precisions, weights=own.posterior.weights))


def test_a_row_that_collapsed_on_a_seed_stays_wide():
    rng = np.random.default_rng(0)
    usual = rng.normal(0.9, 0.005, size=(9, 3)).tolist()
    *others, wide = seed_spreads([*usual, [0.9, 0.91, 0.5]])
    assert wide.variance > 0.4 * np.var([0.9, 0.91, 0.5], ddof=1)
    assert all(spread.variance < 0.01**2 for spread in others)


def test_seeds_that_agree_do_not_move_the_prior_and_are_not_certain():
    rows = [[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0], [-1.0, 0.0, 1.5]]
    *others, agreeing = seed_spreads([*rows, [0.9, 0.9, 0.9]])
    assert others == seed_spreads(rows)
    assert 0 < agreeing.variance < min(spread.variance for spread in others)


def test_without_a_prior_each_row_has_its_own():
    assert seed_spreads([[1.0, 2.0, 3.0], [5.0], [], [4.0, 4.0]]) == [
        SeedSpread(1.0, 2),
        None,
        None,
        SeedSpread(0.0, 1),
    ]
    assert seed_spreads([[0.7, 0.7, 0.7], [0.1, 0.1]]) == [SeedSpread(0.0, 2), SeedSpread(0.0, 1)]
    assert seed_spreads([]) == []


def test_a_row_of_no_seed_has_no_spread_even_where_there_is_a_prior():
    assert seed_spreads([[1.0, 2.0], [1.0, 3.0], []])[2] is None


@pytest.mark.slow
def test_equal_rows_of_very_unequal_spreads_rarely_show_any_difference():
    rng = np.random.default_rng(0)
    false = 0
    for _ in range(60):
        of_seed = np.exp(rng.uniform(np.log(0.3), np.log(5), 28)) ** 2
        rows = list(crossed(rng, 28, 3, 60, shared=1.0, of_model=0.2, of_seed=of_seed))
        spreads = seed_spreads([row[..., 0].mean(axis=1).tolist() for row in rows])
        pairs = all_differences(rows, spreads, resamples=200)
        false += holm_pairs(pairs.p).min() < 0.05
    assert false <= 6  # one moderated variance per row gives about 15


scores = st.lists(st.integers(0, 1000).map(lambda hits: hits / 1000), min_size=0, max_size=5)


@given(st.lists(scores, max_size=8))
def test_spreads_lie_between_what_the_rows_show_and_are_never_nan(rows):
    spreads = seed_spreads(rows)
    variances = [np.var(row, ddof=1) for row in rows if len(row) > 1]
    for row, spread in zip(rows, spreads, strict=True):
        if spread is None:
            assert len(row) < 2
            continue
        assert spread.df > 0
        assert np.isfinite(spread.variance)
        assert spread.variance >= 0
        if max(variances) == 0:
            assert spread.variance == 0


@given(
    st.lists(st.lists(st.floats(0.5, 0.9), min_size=3, max_size=3), min_size=2, max_size=6),
    st.floats(0.1, 10),
)
def test_the_unit_of_the_score_changes_nothing(rows, unit):
    # A variance of rounding errors alone has other errors in other units.
    assume(all(max(row) == min(row) or max(row) - min(row) > 1e-6 for row in rows))
    spreads = seed_spreads(rows)
    scaled = seed_spreads([[unit * score for score in row] for row in rows])
    for before, after in zip(spreads, scaled, strict=True):
        assert after.variance == pytest.approx(unit**2 * before.variance, rel=1e-6)
        assert after.df == pytest.approx(before.df, rel=1e-6)

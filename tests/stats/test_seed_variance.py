import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from kdbench.stats.seed_variance import SeedSpread, seed_spreads


def test_rows_alike_pool_their_variances():
    # Sample variances 1, 2 and 3, closer than samples of one true variance are: their mean is the prior, of 2 df.
    rows = [[-np.sqrt(v), 0.0, np.sqrt(v)] for v in (1.0, 2.0, 3.0)]
    spreads = seed_spreads(rows)
    assert [spread.variance for spread in spreads] == pytest.approx([1.5, 2.0, 2.5])
    assert [spread.df for spread in spreads] == [4, 4, 4]


def test_rows_of_many_seeds_that_differ_keep_their_own_variances():
    # With d = 4,000 degrees of freedom each the sample variances are all but known.
    rng = np.random.default_rng(0)
    rows = [rng.normal(scale=scale, size=4001) for scale in (1.0, 2.0, 4.0, 8.0)]
    for row, spread in zip(rows, seed_spreads(rows), strict=True):
        assert spread.variance == pytest.approx(np.var(row, ddof=1), rel=0.01)
        assert 4000 < spread.df < 4003


def test_the_prior_is_found_again_in_many_rows():
    rng = np.random.default_rng(0)
    variances = 4.0 * 8 / rng.chisquare(8, size=20_000)
    rows = np.sqrt(variances)[:, None] * rng.normal(size=(20_000, 3))
    *_, one_seed = seed_spreads([*rows.tolist(), [0.5]])
    assert one_seed.variance == pytest.approx(4.0, rel=0.05)
    assert one_seed.df == pytest.approx(8, rel=0.15)


def test_the_prior_solves_smyths_equations():
    rows = [[0.0, v, 3 * v] for v in (0.1, 0.5, 1.0, 2.0, 3.0, 10.0)]
    logs = np.log(np.var(rows, axis=1, ddof=1)) - scipy.special.digamma(1)
    *_, prior = seed_spreads([*rows, [7.0]])
    excess = scipy.special.polygamma(1, prior.df / 2)
    assert excess == pytest.approx(logs.var(ddof=1) - scipy.special.polygamma(1, 1))
    expected_log = np.log(prior.variance) - scipy.special.digamma(prior.df / 2) + np.log(prior.df / 2)
    assert logs.mean() == pytest.approx(expected_log)


def test_a_row_that_collapsed_on_a_seed_stays_wide_and_leaves_the_others_narrow():
    rng = np.random.default_rng(0)
    usual = rng.normal(0.9, 0.005, size=(9, 3)).tolist()
    collapsed = [0.9, 0.91, 0.5]
    *others, wide = seed_spreads([*usual, collapsed])
    assert wide == SeedSpread(pytest.approx(np.var(collapsed, ddof=1)), 2)
    assert others == seed_spreads(usual)
    assert all(spread.variance < 0.01**2 and spread.df > 2 for spread in others)


def test_seeds_that_agree_share_the_prior_and_do_not_move_it():
    rows = [[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]]
    *others, agreeing = seed_spreads([*rows, [0.9, 0.9, 0.9]])
    assert others == seed_spreads(rows)
    # 2 df of variance 0 and 2 of variance 1.
    assert agreeing == SeedSpread(pytest.approx(0.5), 4)


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


def test_moderated_t_intervals_cover_where_own_ones_are_far_wider():
    rng = np.random.default_rng(0)
    covered, width, own_width = [], [], []
    for _ in range(250):
        scales = np.sqrt(6 / rng.chisquare(6, size=20))
        rows = scales[:, None] * rng.normal(size=(20, 3))
        spreads = seed_spreads(rows.tolist())
        half = [scipy.stats.t.ppf(0.975, s.df) * np.sqrt(s.variance / 3) for s in spreads]
        covered.append(np.abs(rows.mean(axis=1)) < half)
        width.append(np.median(half))
        own_width.append(np.median(scipy.stats.t.ppf(0.975, 2) * rows.std(axis=1, ddof=1) / np.sqrt(3)))
    assert 0.93 <= np.mean(covered) <= 0.97
    assert np.mean(width) < 0.7 * np.mean(own_width)


scores = st.lists(st.integers(0, 1000).map(lambda hits: hits / 1000), min_size=0, max_size=5)


@given(st.lists(scores, max_size=8))
def test_spreads_lie_between_what_the_rows_show_and_are_never_nan(rows):
    spreads = seed_spreads(rows)
    variances = [np.var(row, ddof=1) for row in rows if len(row) > 1]
    for row, spread in zip(rows, spreads, strict=True):
        if spread is None:
            assert len(row) < 2
            continue
        assert spread.df >= max(len(row) - 1, 0)
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

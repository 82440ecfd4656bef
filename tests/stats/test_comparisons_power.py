import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.power import TTestPower

from kdbench.stats import smallest_difference


@pytest.mark.parametrize(("examples", "alpha", "power"), [(5, 0.05, 0.8), (30, 0.01, 0.9), (900, 0.05, 0.5)])
def test_equals_statsmodels(examples, alpha, power):
    effect = TTestPower().solve_power(nobs=examples, alpha=alpha, power=power, alternative="two-sided")
    standard_error = 0.1 / np.sqrt(examples)
    ours = smallest_difference(standard_error, examples - 1, alpha=alpha, power=power)
    assert ours == pytest.approx(0.1 * effect, rel=1e-4)


def test_of_a_known_error_is_the_textbooks_2_8_standard_errors():
    expected = scipy.stats.norm.ppf(0.975) + scipy.stats.norm.ppf(0.8)
    assert smallest_difference(0.01, np.inf) == pytest.approx(0.01 * expected, rel=1e-4)
    assert smallest_difference(0.01, 99_000) == pytest.approx(smallest_difference(0.01, np.inf), rel=1e-4)


@pytest.mark.parametrize("df", [1, 2, 4.5])
def test_few_degrees_of_freedom_ask_for_much_more(df):
    rng = np.random.default_rng(0)
    difference = smallest_difference(1.0, df)
    errors = np.sqrt(rng.chisquare(df, 40_000) / df)
    shown = np.abs(rng.normal(difference, 1, 40_000)) > scipy.stats.t.ppf(0.975, df) * errors
    assert np.mean(shown) == pytest.approx(0.8, abs=0.01)


def test_without_an_error_any_difference_shows():
    assert smallest_difference(0.0, 10) == 0.0


@pytest.mark.parametrize("power", [0.05, 1.0])
def test_power_is_more_than_the_level_and_less_than_certainty(power):
    with pytest.raises(ValueError, match=r"power must lie between alpha = 0.05 and 1"):
        smallest_difference(0.1, 5, power=power)

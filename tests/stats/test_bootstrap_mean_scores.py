"""Models resampled apart can be held against each other as those resampled together."""

import numpy as np
import pytest
from helpers.scored import ACCURACY, simulated

from kdbench.stats import (
    bootstrap_interval,
    gap_recovered,
    pairwise_differences,
    resample,
    resampled_differences,
    resampled_gap,
    resampled_interval,
)


@pytest.fixture
def models():
    rng = np.random.default_rng(0)
    return [simulated(rng, accuracies, 300) for accuracies in ([0.9, 0.92], [0.8], [0.85, 0.83, 0.86])]


def test_models_resampled_one_by_one_are_those_resampled_together(models):
    together = resample(models, ACCURACY)
    apart = [resample([model], ACCURACY)[0] for model in models]
    for one, other in zip(together, apart, strict=True):
        assert one.means.tolist() == other.means.tolist()
        assert one.scores.tolist() == other.scores.tolist()
        assert one.own_examples_variance == pytest.approx(other.own_examples_variance, abs=1e-15)


def test_what_was_resampled_before_gives_the_same_statistics(models):
    apart = [resample([model], ACCURACY)[0] for model in models]
    spreads = [None, None, None]
    known = resampled_differences(apart, spreads, np.eye(3, dtype=bool))
    direct = pairwise_differences(models, ACCURACY)
    np.testing.assert_allclose(known.p, direct.p)
    np.testing.assert_allclose(known.standard_error, direct.standard_error)
    assert known.of(0, 1).p == pytest.approx(direct.of(0, 1).p)
    assert resampled_interval(apart[2]) == pytest.approx(bootstrap_interval(models[2], ACCURACY))
    gap = resampled_gap([apart[2], apart[1], apart[0]], spreads)
    assert gap.share == pytest.approx(gap_recovered(models[2], models[1], models[0], ACCURACY).share)


def test_a_pair_of_many_is_the_pair_alone(models):
    many, pair = pairwise_differences(models, ACCURACY), pairwise_differences(models[:2], ACCURACY)
    assert many.of(0, 1).p == pytest.approx(pair.of(0, 1).p)
    assert many.of(0, 1).low == pytest.approx(pair.of(0, 1).low)

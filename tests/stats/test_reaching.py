"""The count at which one model reaches another's score is where the interpolated line is, and bounds know the ends."""

from __future__ import annotations

import numpy as np
import pytest

from kdbench.stats.bootstrap import Resampled
from kdbench.stats.reaching import Reached, reached


def model(score: float, spread: float = 0.0, units: int = 100) -> tuple[Resampled, None]:
    """Return a model of one seed whose resampled scores are evenly spread around its score."""
    means = score + np.linspace(-spread, spread, 1001)
    return Resampled(units, np.array([score]), means, means[:, None].astype(np.float32), 0.0), None


def test_the_middle_of_two_counts_on_the_logarithm() -> None:
    assert reached([16, 64], [model(0.6), model(0.8)], model(0.7)) == Reached(*[pytest.approx(32)] * 3)


def test_what_is_below_and_above_all_counts() -> None:
    curve = [model(0.6), model(0.8)]
    assert reached([16, 64], curve, model(0.5)) == Reached(-np.inf, -np.inf, -np.inf)
    assert reached([16, 64], curve, model(0.9)) == Reached(np.inf, np.inf, np.inf)


def test_an_interval_may_have_one_end() -> None:
    found = reached([16, 64], [model(0.6), model(0.8)], model(0.75, 0.1))
    assert 16 < found.low < found.count < 64
    assert found.high == np.inf


def test_models_of_other_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="not scored on the same examples"):
        reached([16, 64], [model(0.6), model(0.8)], model(0.7, units=99))

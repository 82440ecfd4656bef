import numpy as np
import pytest
from helpers.scored import ACCURACY, right

from kdbench.stats.bootstrap import Resampled, resample
from kdbench.stats.crossings import crossing, last_changes

COUNTS = (16, 64, 256)


def model(score, means):
    """A model of one seed with this score, and these on resampled test sets."""
    drawn = np.array(means)
    return Resampled(100, np.array([score]), drawn, drawn[:, None], own_examples_variance=0.0), None


def curves(observed, resampled):
    """The curve of a model whose lead over one that always scores 0.5 is as given, at each count; and the other's."""
    first = [
        model(0.5 + lead, [0.5 + drawn for drawn in leads])
        for lead, leads in zip(observed, resampled, strict=True)
    ]
    return first, [model(0.5, [0.5] * len(resampled[0])) for _ in observed]


@pytest.mark.parametrize(
    ("leads", "position", "number", "sign"),
    [
        ([-1, 1, 3, 5], 4.5, 1, 1),  # half way from 4 to 5
        ([3, -1, -1, -1], 4.75, 1, -1),
        ([-1, 1, -1, 3], 6.25, 3, 1),  # the last of three
        ([1, 2, 1, 3], np.nan, 0, 1),
        ([-2, 0, 2, 2], 5.0, 1, 1),  # at the count where they are equal
        ([-2, 0, 0, 2], 5.5, 1, 1),  # in the middle of the counts where they are
        ([-2, 0, 0, -2], np.nan, 0, -1),
        ([0, 2, 0, 0], np.nan, 0, 1),
        ([0, 0, 0, 0], np.nan, 0, 0),
    ],
)
def test_a_lead_changes_sides_where_the_lines_between_the_counts_cross_zero(leads, position, number, sign):
    found = last_changes(np.array([4.0, 5.0, 6.0, 7.0]), np.array([leads, leads], dtype=float))
    np.testing.assert_array_equal(found.position, [position] * 2)
    assert found.number.tolist() == [number] * 2
    assert found.sign.tolist() == [sign] * 2


def test_a_crossing_is_placed_on_the_logarithm_of_the_count_and_bounded_by_quantiles():
    # Of 100 resamples 90 cross where the scores do, five half way to the left and five half way to the right.
    low, high = [-0.1 * 1 / 3] * 5 + [-0.1] * 90 + [-0.1] * 5, [0.1] * 95 + [0.1 / 3] * 5
    first, second = curves([-0.1, 0.1, 0.1], [low, high, [0.2] * 100])
    found = crossing(COUNTS, first, second)
    assert found.count == pytest.approx(32)
    assert (found.low, found.high) == (pytest.approx(16 * 2**0.5), pytest.approx(16 * 2**1.5))
    assert (found.changes, found.share, found.first_leads) == (1, 1.0, True)
    assert crossing(COUNTS, second, first).first_leads is False


def test_resamples_without_the_crossing_place_it_beyond_the_counts():
    # In a tenth of the resamples the later leader leads at all counts, in another tenth at none.
    ahead, never = [0.1] * 10, [-0.1] * 10
    leads = [ahead + never + [-0.1] * 80, ahead + never + [0.1] * 80, ahead + never + [0.1] * 80]
    found = crossing(COUNTS, *curves([-0.1, 0.1, 0.1], leads))
    assert (found.low, found.high) == (None, None)
    assert found.share == pytest.approx(0.8)


def test_a_model_that_leads_at_every_count_overtakes_nowhere():
    found = crossing(COUNTS, *curves([0.1, 0.2, 0.1], [[0.1, -0.1], [0.1, 0.1], [0.2, 0.2]]))
    assert (found.count, found.low, found.high, found.changes) == (None, None, None, 0)
    assert (found.share, found.first_leads) == (0.5, True)


def test_curves_of_other_lengths_or_examples_are_refused():
    first, second = curves([0.1, 0.2, 0.1], [[0.1], [0.1], [0.2]])
    with pytest.raises(ValueError, match="3 counts need as many scores, but there are 2 and 3"):
        crossing(COUNTS, first[:2], second)
    other = (
        Resampled(99, np.array([0.5]), np.array([0.5]), np.array([[0.5]]), own_examples_variance=0.0),
        None,
    )
    with pytest.raises(ValueError, match="not scored on the same examples"):
        crossing(COUNTS, first, [*second[:2], other])


def accuracies(rng, curve, spread, seeds, examples):
    """The statistics at each count of a model with these true accuracies, whose seeds differ by `spread`."""
    return [
        right(*(rng.random(examples) < truth + spread * rng.normal() for _ in range(seeds)))
        for truth in curve
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "spread", "least"), [(1, 0.0, 0.92), (3, 0.01, 0.94)])
def test_intervals_cover_a_known_crossing(seeds, spread, least):
    rng = np.random.default_rng(0)
    first, second = (0.60, 0.72, 0.84), (0.70, 0.76, 0.78)  # the lead is -10, -4 and 6 points
    truth, draws, covered = 64 * 4**0.4, 200, 0
    for draw in range(draws):
        models = accuracies(rng, first, spread, seeds, 300) + accuracies(rng, second, spread, seeds, 300)
        scored = [(one, None) for one in resample(models, ACCURACY, resamples=300)]
        found = crossing(COUNTS, scored[:3], scored[3:], seed=draw)
        covered += (found.low or 0) <= truth <= (found.high or np.inf) and found.first_leads
    assert least <= covered / draws

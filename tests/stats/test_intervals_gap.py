import numpy as np
import pytest
from helpers.scored import ACCURACY, crossed, right, simulated, valued

from kdbench.stats import SeedSpread, gap_recovered, paired_difference


def accurate(*correct: int, examples: int = 1000) -> np.ndarray:
    """Return one seed a number, which answers that many of the examples right, the first ones."""
    return right(*(np.arange(examples) < number for number in correct))


def test_by_hand():
    found = gap_recovered(accurate(850), accurate(800), accurate(900), ACCURACY)
    assert found.share == pytest.approx(0.5)
    assert 0 < found.low < 0.5 < found.high < 1
    assert found.reason is None


def test_the_control_recovers_nothing_and_the_teacher_all():
    control, teacher = simulated(np.random.default_rng(0), [0.6, 0.9], examples=500)[:, None]
    nothing = gap_recovered(control, control, teacher, ACCURACY)
    everything = gap_recovered(teacher, control, teacher, ACCURACY)
    assert (nothing.share, nothing.low, nothing.high) == pytest.approx((0, 0, 0), abs=1e-9)
    assert (everything.share, everything.low, everything.high) == pytest.approx((1, 1, 1), abs=1e-9)


def test_it_equals_fiellers_formula():
    # Numerator and denominator independent, normal, of known variances.
    rng = np.random.default_rng(0)
    student, control, teacher = (rng.normal(loc, 1, size=(1, 4000)) for loc in (0.3, 0.0, 0.5))
    found = gap_recovered(valued(student), valued(control), valued(teacher), ACCURACY, resamples=4000)
    x, y = student - control, teacher - control
    cov = np.cov(x, y) / 4000
    t2, (mx, my) = 1.96**2, (x.mean(), y.mean())
    a, b, c = my**2 - t2 * cov[1, 1], mx * my - t2 * cov[0, 1], mx**2 - t2 * cov[0, 0]
    root = np.sqrt(b**2 - a * c)
    assert (found.low, found.high) == pytest.approx(((b - root) / a, (b + root) / a), abs=0.01)


@pytest.mark.parametrize(
    ("teacher", "share", "reason"),
    [
        (820, 0.5, "the teacher does not significantly lead the control"),
        (800, None, "the teacher does not lead the control"),
        (700, None, "the teacher does not lead the control"),
    ],
)
def test_without_a_lead_there_is_no_share_of_it(teacher, share, reason):
    spread = SeedSpread(0.02**2, 4)
    found = gap_recovered(
        accurate(810),
        accurate(800),
        accurate(teacher),
        ACCURACY,
        spread_control=spread,
        spread_teacher=spread,
    )
    assert (found.low, found.high, found.reason) == (None, None, reason)
    assert found.share == (None if share is None else pytest.approx(share))


def test_an_interval_is_given_exactly_where_the_lead_is_shown():
    given = []
    for lead in range(5, 80, 5):
        control, teacher = accurate(800), right(np.roll(np.arange(1000) < 800 + lead, 20))
        shown = paired_difference(teacher, control, ACCURACY).p < 0.05
        given.append(gap_recovered(accurate(810), control, teacher, ACCURACY).low is not None)
        assert given[-1] == shown
    assert set(given) == {True, False}


def test_intervals_cover_the_true_share():
    rng = np.random.default_rng(0)
    covered, draws = [], 2000
    for draw in range(draws):
        models = crossed(rng, 3, 3, 40, of_model=0.3, of_seed=1.0, of_answer=0.2)
        student, control, teacher = (
            model + np.array([mean, 0.0]) for model, mean in zip(models, (3.0, 0.0, 6.0), strict=True)
        )
        found = gap_recovered(student, control, teacher, ACCURACY, resamples=100, seed=draw)
        if found.low is not None:
            covered.append(found.low <= 0.5 <= found.high)
    assert len(covered) > 0.9 * draws
    assert 0.93 <= np.mean(covered) <= 0.97

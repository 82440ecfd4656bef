import numpy as np
import pytest
import scipy.stats
from helpers.scored import ACCURACY, crossed, paired_difference, recovered, right, simulated, valued

from kdbench.api.predictions import Predictions
from kdbench.evaluation.metrics import METRICS
from kdbench.stats.bootstrap import resample
from kdbench.stats.intervals import bootstrap_interval, share_kept
from kdbench.stats.seed_variance import SeedSpread, seed_spreads

F1 = METRICS["f1"].score
DRAWS = 1000
"""Of a simulation: the share of intervals that cover is known to 0.7 points, and what is wrong misses by more."""


def test_interval_of_accuracy_equals_scipys():
    hits = np.random.default_rng(0).random(872) < 0.9
    theirs = scipy.stats.bootstrap(
        (hits,), np.mean, n_resamples=9999, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    ours = bootstrap_interval(right(hits), ACCURACY, resamples=9999)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.002)


def test_a_share_without_any_error_has_wilsons_interval():
    # 30 of 30 right: z² / (n + z²) below 1, by hand (1.96² = 3.8415).
    assert bootstrap_interval(right(np.ones(30)), ACCURACY) == pytest.approx((30 / 33.8415, 1.0), abs=1e-4)
    assert bootstrap_interval(right(np.ones(30)), ACCURACY, plain=True) == (1.0, 1.0)
    theirs = scipy.stats.binomtest(3, 200).proportion_ci(method="wilson")
    low, high = bootstrap_interval(right(np.arange(200) < 3), ACCURACY)
    assert (low, high) == (pytest.approx(min(low, theirs.low)), pytest.approx(max(high, theirs.high)))
    # Far from both ends, and of what is no share, the percentiles stand alone.
    for statistics in (right(np.arange(200) < 100), valued(np.full((1, 30), 0.5))):
        assert bootstrap_interval(statistics, ACCURACY) == bootstrap_interval(
            statistics, ACCURACY, plain=True
        )


def test_the_share_kept_is_a_quotient_with_fiellers_interval():
    student, teacher = (
        valued(np.array([[0.70], [0.72], [0.74]]) @ np.ones((1, 40))),
        valued(np.array([[0.79], [0.80], [0.81]]) @ np.ones((1, 40))),
    )
    spreads = [SeedSpread(0.02**2, 1000), SeedSpread(0.01**2, 1000)]
    kept = share_kept(resample([student, teacher], ACCURACY, resamples=50), spreads)
    assert kept.value == pytest.approx(0.9)
    # By the delta method: variances of the means over (0.8)², the teacher's times 0.9².
    error = np.sqrt(0.02**2 / 3 + 0.9**2 * 0.01**2 / 3) / 0.8
    assert (kept.low, kept.high) == pytest.approx((0.9 - 1.96 * error, 0.9 + 1.96 * error), abs=3e-4)
    assert share_kept(resample([student, valued(-np.ones((3, 40)))], ACCURACY, resamples=50), spreads) is None


def test_interval_of_a_correlation_equals_scipys():
    rng = np.random.default_rng(0)
    targets = rng.normal(size=150).astype(np.float32)
    values = (targets + rng.normal(size=150)).astype(np.float32)
    theirs = scipy.stats.bootstrap(
        (values, targets),
        lambda x, y: scipy.stats.pearsonr(x, y, axis=-1).statistic,
        paired=True,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    pearson = METRICS["pearson"]
    statistics = pearson.statistics(Predictions(np.arange(150), values[:, None], targets), ())
    ours = bootstrap_interval(statistics[None], pearson.score)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.01)


@pytest.mark.slow
def test_intervals_cover_a_known_f1():
    rng = np.random.default_rng(0)
    # True and false positives, misses and true negatives as the terms of F1.
    outcomes = np.array([[2, 2], [0, 1], [0, 1], [0, 0]], dtype=np.float64)
    shares = np.array([0.35, 0.1, 0.15, 0.4])
    truth = F1(shares @ outcomes)
    covered = 0
    for draw in range(DRAWS):
        sample = outcomes[rng.choice(4, size=300, p=shares)]
        low, high = bootstrap_interval(sample[None], F1, resamples=300, seed=draw)
        covered += bool(low <= truth <= high)
    assert 0.93 <= covered / DRAWS <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "variances"),
    [
        (1, {"shared": 1.0}),
        (3, {"shared": 0.01, "of_seed": 1.0, "of_answer": 0.01}),
        (3, {"shared": 1.0, "of_seed": 0.01, "of_answer": 0.1}),
        (3, {"shared": 1.0, "of_seed": 1.5, "of_answer": 0.5}),
        (5, {"shared": 1.0, "of_seed": 1.0, "of_answer": 0.5}),
    ],
    ids=["one seed", "seeds dominate", "examples dominate", "mixed", "five seeds"],
)
def test_intervals_cover_the_truth_as_often_as_they_say(seeds, variances):
    rng = np.random.default_rng(1)
    covered = 0
    for draw in range(DRAWS):
        (model,) = crossed(rng, 1, seeds, 60, **variances)
        low, high = bootstrap_interval(model, ACCURACY, resamples=300, seed=draw)
        covered += bool(low <= 0 <= high)
    assert 0.93 <= covered / DRAWS <= 0.97


@pytest.mark.slow
def test_intervals_of_heteroscedastic_rows_cover_the_truth_with_the_rows_of_the_task():
    rng = np.random.default_rng(0)
    covered, own_width, moderated_width = 0, 0.0, 0.0
    for draw in range(200):
        of_seed = 6 / rng.chisquare(6, size=10)
        models = crossed(rng, 10, 3, 60, shared=0.5, of_seed=of_seed, of_answer=0.2)
        spreads = seed_spreads(ACCURACY(models.sum(axis=2)).tolist())
        for model, spread in zip(models, spreads, strict=True):
            low, high = bootstrap_interval(model, ACCURACY, spread=spread, resamples=300, seed=draw)
            covered += bool(low <= 0 <= high)
            moderated_width += high - low
        own_low, own_high = bootstrap_interval(models[0], ACCURACY, resamples=300, seed=draw)
        own_width += 10 * (own_high - own_low)
    assert 0.93 <= covered / 2000 <= 0.97
    assert moderated_width < 0.8 * own_width


def test_resampling_three_seeds_alone_would_cover_too_seldom():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2000, 3))
    drawn = scores[np.arange(2000)[:, None, None], rng.integers(3, size=(2000, 300, 3))].mean(axis=2)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
    assert np.mean((low <= 0) & (high >= 0)) < 0.8


def test_the_same_answers_from_every_seed_are_no_more_certain_than_from_one():
    hits = np.random.default_rng(0).random(200) < 0.8
    once = bootstrap_interval(right(hits), ACCURACY)
    assert bootstrap_interval(right(*[hits] * 5), ACCURACY) == pytest.approx(once, abs=1e-12)


def test_seeds_that_alone_are_uncertain_give_students_interval():
    accuracies = [0.70, 0.74, 0.78, 0.82, 0.86]
    # So many examples that the seeds are all that is uncertain.
    statistics = simulated(np.random.default_rng(0), accuracies, examples=20_000)
    scores = ACCURACY(statistics.sum(axis=1))
    expected = scipy.stats.t.interval(0.95, df=4, loc=scores.mean(), scale=scipy.stats.sem(scores))
    assert bootstrap_interval(statistics, ACCURACY, resamples=1000) == pytest.approx(expected, abs=0.004)


def test_a_given_spread_widens_even_one_seed():
    statistics = right(np.random.default_rng(0).random(5000) < 0.8)
    low, high = bootstrap_interval(statistics, ACCURACY, spread=SeedSpread(0.05**2, np.inf))
    variance = 0.05**2 + 0.8 * 0.2 / 5000
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.03)


def test_what_only_the_examples_make_seeds_differ_in_is_not_counted_twice():
    rng = np.random.default_rng(0)
    # Their sample variance is exactly what independent answers bring: 0.25 / 400.
    hits = np.stack([rng.permutation(np.arange(400) < right) for right in (190, 200, 210)])
    assert hits.mean(axis=1).var(ddof=1) == pytest.approx(0.25 / 400)
    low, high = bootstrap_interval(right(*hits), ACCURACY)
    alone = bootstrap_interval(right(*hits), ACCURACY, spread=SeedSpread(0.0, np.inf))
    twice = bootstrap_interval(right(*hits), ACCURACY, spread=SeedSpread(0.5 / 400, 2))
    assert high - low < 1.3 * (alone[1] - alone[0])
    assert twice[1] - twice[0] > 1.6 * (alone[1] - alone[0])


def test_seeds_that_collapse_onto_opposite_labels_are_no_more_certain_than_one_of_them():
    first = np.arange(32) < 14  # 43.8% and 56.2%: on any test set at all their mean is 50.0%
    low, high = bootstrap_interval(right(first, ~first), ACCURACY)
    half = scipy.stats.t.ppf(0.975, 31) * np.sqrt(14 / 32 * 18 / 32 / 32)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.01)


def test_an_interval_is_cut_at_the_ends_of_the_scores_range():
    wrong, spread = right(np.zeros(4)), SeedSpread(0.25**2, np.inf)  # 1.96 * 0.25 to either side
    assert bootstrap_interval(wrong, ACCURACY, spread=spread) == pytest.approx((-0.49, 0.49), abs=0.005)
    low, high = bootstrap_interval(wrong, ACCURACY, spread=spread, score_range=(0.0, 1.0))
    assert (low, high) == (0.0, pytest.approx(0.49, abs=0.005))
    assert bootstrap_interval(right(np.ones(4)), ACCURACY, spread=spread, score_range=(0.0, 1.0))[1] == 1.0


def accurate(*correct: int, examples: int = 1000) -> np.ndarray:
    """Return one seed a number, which answers that many of the examples right, the first ones."""
    return right(*(np.arange(examples) < number for number in correct))


def test_a_share_of_the_gap_by_hand():
    found = recovered(accurate(850), accurate(800), accurate(900))
    assert found.share == pytest.approx(0.5)
    assert 0 < found.low < 0.5 < found.high < 1
    assert found.reason is None


def test_the_control_recovers_nothing_and_the_teacher_all():
    control, teacher = simulated(np.random.default_rng(0), [0.6, 0.9], examples=500)[:, None]
    nothing = recovered(control, control, teacher)
    everything = recovered(teacher, control, teacher)
    assert (nothing.share, nothing.low, nothing.high) == pytest.approx((0, 0, 0), abs=1e-9)
    assert (everything.share, everything.low, everything.high) == pytest.approx((1, 1, 1), abs=1e-9)


def test_it_equals_fiellers_formula():
    # Numerator and denominator independent, normal, of known variances.
    rng = np.random.default_rng(0)
    student, control, teacher = (rng.normal(loc, 1, size=(1, 4000)) for loc in (0.3, 0.0, 0.5))
    found = recovered(valued(student), valued(control), valued(teacher), resamples=4000)
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
    found = recovered(accurate(810), accurate(800), accurate(teacher), (None, spread, spread))
    assert (found.low, found.high, found.reason) == (None, None, reason)
    assert found.share == (None if share is None else pytest.approx(share))


def test_an_interval_is_given_exactly_where_the_lead_is_shown():
    given = []
    for lead in range(5, 80, 5):
        control, teacher = accurate(800), right(np.roll(np.arange(1000) < 800 + lead, 20))
        shown = paired_difference(teacher, control).p < 0.05
        given.append(recovered(accurate(810), control, teacher).low is not None)
        assert given[-1] == shown
    assert set(given) == {True, False}


@pytest.mark.slow
def test_intervals_cover_the_true_share():
    rng = np.random.default_rng(0)
    covered = []
    for draw in range(DRAWS):
        models = crossed(rng, 3, 3, 40, of_model=0.3, of_seed=1.0, of_answer=0.2)
        student, control, teacher = (
            model + np.array([mean, 0.0]) for model, mean in zip(models, (3.0, 0.0, 6.0), strict=True)
        )
        found = recovered(student, control, teacher, resamples=100, seed=draw)
        if found.low is not None:
            covered.append(found.low <= 0.5 <= found.high)
    assert len(covered) > 0.9 * DRAWS
    assert 0.93 <= np.mean(covered) <= 0.97

"""What seeds or examples would settle, against numbers worked out by hand and what the tests then say."""

import math

import numpy as np
import pytest
from helpers.scored import ACCURACY, crossed
from scipy.stats import norm

from kdbench.stats.bootstrap import resample
from kdbench.stats.comparisons import PairedSeeds, pairwise_differences
from kdbench.stats.prospects import OneSided, Prospect, parts_of_variance, prospects, worth_a_seed
from kdbench.stats.seed_variance import seed_spreads
from kdbench.stats.sequential import Design, SequentialClaims

Z = norm.isf(0.025)


def prospect(difference=1.0, *, shared=0.1, of_seeds=((0.9, 3),), margin=0.0, excess=0.0, **known):
    """Return a prospect whose tests have the level 2.5%, and critical values `excess` above the normal ones."""
    now = math.sqrt(shared + sum(variance / seeds for variance, seeds in of_seeds))
    test = OneSided(0.025, lambda: (Z + excess) * now)
    return Prospect(difference, shared, of_seeds, margin, test, test, **known)


def test_the_chance_is_that_of_what_new_seeds_may_change():
    # With nine seeds the variance is 0.1 + 0.9 / 9 = 0.2, so that 0.8765 is significant. Six new ones change the
    # difference with the variance 0.9 (1/3 - 1/9) = 0.2.
    above, below = (0.8765 - 1) / math.sqrt(0.2), (-0.8765 - 1) / math.sqrt(0.2)
    assert prospect().chance(9) == pytest.approx(norm.sf(above) + norm.cdf(below), abs=1e-4)
    # Of two rows each contributes its own.
    assert prospect(of_seeds=((0.5, 3), (0.4, 3))).chance(9) == pytest.approx(prospect().chance(9))


def test_equivalence_settles_too():
    # Between 1.5 - 0.8765 on either side.
    close, sd = 1.5 - 0.8765, math.sqrt(0.2)
    inside = norm.cdf(close / sd) - norm.cdf(-close / sd)
    outside = 2 * norm.sf(0.8765 / sd)
    assert prospect(0.0, margin=1.5).chance(9) == pytest.approx(inside + outside, abs=1e-4)
    # One side is shown already: only the other is needed.
    shown = prospect(0.0, margin=1.5, a_is_close=True).chance(9)
    assert shown == pytest.approx(norm.cdf(close / sd) + norm.sf(0.8765 / sd), abs=1e-4)


def test_without_further_seeds_an_open_pair_stays_open():
    assert prospect().chance(3) == pytest.approx(0, abs=1e-9)
    assert prospect(2.0).chance(3) == pytest.approx(1)


def test_how_many_seeds_it_takes():
    # 1.96**2 (0.1 + 0.9 / n) <= 1 from n = 5.61 on.
    assert prospect().seeds_needed() == 3
    # The excess of 1.0 with three seeds is 0.4 with six, 0.33 with seven, and so on: it takes more.
    assert prospect(excess=1.0).seeds_needed() == 6
    # (0.65 / 1.96)**2 = 0.10998 leaves 0.00998 for the seeds: n >= 90.1.
    assert prospect(0.65).seeds_needed() == 91 - 3
    assert not prospect().is_limited_by_examples()


def test_where_examples_dominate_no_seed_helps_and_the_examples_are_counted():
    # (0.5 / 1.96)**2 = 0.0651 is less than what the examples alone contribute.
    limited = prospect(0.5)
    assert limited.seeds_needed() is None
    assert limited.is_limited_by_examples()
    assert limited.examples_needed() == pytest.approx(0.1 * (Z / 0.5) ** 2)
    # To show that equal rows differ by less than the margin it takes (0.3 / 1.96)**2.
    assert prospect(0.0, margin=0.3).examples_needed() == pytest.approx(0.1 * (Z / 0.3) ** 2)


def test_only_rows_of_pairs_with_a_chance_are_worth_a_seed():
    found = {
        ("a", "b"): prospect(),
        ("a", "c"): prospect(0.0, shared=1.0, of_seeds=((0.001, 3),)),
        ("d", "e"): prospect(0.1, shared=1.0, of_seeds=((0.001, 3),)),
    }
    assert worth_a_seed(found, 9) == {"a", "b"}


@pytest.fixture(scope="module")
def models():
    rng = np.random.default_rng(0)
    drawn = crossed(rng, 3, 5, 400, shared=1e-4, of_model=1e-4, of_seed=4e-4, of_answer=2e-4)
    first, *others = resample(list(drawn), ACCURACY, resamples=2000)
    return [first.of_seeds([0, 1, 2]), *others]


def test_the_parts_of_the_variance_add_up_to_that_of_the_difference(models):
    spreads = seed_spreads([model.scores.tolist() for model in models])
    rows = list(zip(models, spreads, strict=True))
    pairs = pairwise_differences(models, spreads, np.eye(3, dtype=bool))
    for a, b in ((0, 1), (1, 2)):
        shared, of_seeds = parts_of_variance(rows[a], rows[b])
        assert [seeds for _, seeds in of_seeds] == [len(models[a].scores), len(models[b].scores)]
        total = shared + sum(variance / seeds for variance, seeds in of_seeds)
        assert total == pytest.approx(pairs.standard_error[a, b] ** 2)
        assert shared == pytest.approx(2e-4, rel=0.5)  # what is hard for all models cancels out


def test_paired_rows_differ_by_what_their_common_seeds_do(models):
    spreads = seed_spreads([model.scores.tolist() for model in models])
    common = (range(3), range(3))
    by_seed = [models[0].scores - models[1].scores[:3]]
    paired = {(0, 1): PairedSeeds(seed_spreads([by_seed[0].tolist()])[0], common)}
    pairs = pairwise_differences(models, spreads, np.eye(3, dtype=bool), paired)
    assert pairs.difference[0, 1] == pytest.approx(by_seed[0].mean())
    assert pairs.difference[1, 0] == -pairs.difference[0, 1]
    rows = list(zip(models, spreads, strict=True))
    shared, of_seeds = parts_of_variance(rows[0], rows[1], paired[0, 1])
    assert [seeds for _, seeds in of_seeds] == [3]
    assert shared + of_seeds[0][0] / 3 == pytest.approx(pairs.standard_error[0, 1] ** 2)
    claims = SequentialClaims("abc", Design(0.005, 3, 10))
    claims.look("abc", pairs, "")
    found = prospects(claims, dict(zip("abc", rows, strict=True)), pairs, paired)
    assert set(found) == {("a", "b"), ("a", "c"), ("b", "c")}
    assert found["a", "b"].of_seeds == of_seeds
    assert found["a", "c"].differ.level == pytest.approx(0.05 / 2 / 8 / 3 / 2)
    assert found["a", "c"].close.level == pytest.approx(0.05 / 2 / 8 / 3)


def test_the_error_that_ten_seeds_would_leave_is_predicted_from_three():
    rng = np.random.default_rng(0)
    variances = np.exp(rng.normal(np.log(4e-4), 0.7, 12))
    drawn = crossed(rng, 12, 10, 400, shared=1e-4, of_model=1e-4, of_seed=variances, of_answer=1e-4)
    all_seeds = resample(list(drawn), ACCURACY, resamples=400)
    models, spreads, pairs = {}, {}, {}
    for seeds in (3, 10):
        models[seeds] = [model.of_seeds(range(seeds)) for model in all_seeds]
        spreads[seeds] = seed_spreads([model.scores.tolist() for model in models[seeds]])
        pairs[seeds] = pairwise_differences(models[seeds], spreads[seeds], np.eye(12, dtype=bool))
    level, predicted, now = 1e-4, [], []
    rows = list(zip(models[3], spreads[3], strict=True))
    for a in range(12):
        for b in range(a):
            actual = pairs[10].errors.bound(a, b, level)
            bound_now = pairs[3].errors.bound(a, b, level)
            test = OneSided(level, lambda bound=bound_now: bound)
            one = Prospect(0.0, *parts_of_variance(rows[a], rows[b]), 0.0, test, test)
            predicted.append(one.bound(test, 10) / actual)
            now.append(bound_now / actual)
    assert np.median(now) > 1.5
    assert 0.85 < np.median(predicted) < 1.2

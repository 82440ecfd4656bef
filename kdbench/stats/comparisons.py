"""How much better one model scored than another on the same examples, and whether that is more than luck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from kdbench.stats.mean_scores import Resampled, mean_scores, resample, satterthwaite
from kdbench.stats.resampling import CONFIDENCE, RESAMPLES, Flags, Floats, Score
from kdbench.stats.spread import SeedSpread


@dataclass(frozen=True)
class Difference:
    """How much better the first of two models scored on one test set."""

    difference: float
    """The first's score less the second's, each a mean over its seeds."""
    low: float
    high: float
    """The interval of `difference`, by t."""
    p: float
    """Two-sided: how often chance alone would show a difference as large, were there none."""
    standard_error: float
    df: float
    """The degrees of freedom of the standard error."""


@dataclass(frozen=True, eq=False)
class PairwiseDifferences:
    """Every model against every other; all arrays are (models, models), [i, j] of model i less model j."""

    difference: Floats
    standard_error: Floats
    df: Floats
    p: Floats
    """Two-sided, for each pair alone: see `holm_pairs`."""

    def interval(self, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
        """Return the low and high ends of the intervals of `difference`, for each pair alone."""
        half = scipy.stats.t.ppf((1 + confidence) / 2, self.df) * self.standard_error
        return self.difference - half, self.difference + half

    def of(self, a: int, b: int, confidence: float = CONFIDENCE) -> Difference:
        """Return how much better model `a` scored than model `b`, and the interval of that."""
        low, high = self.interval(confidence)
        return Difference(
            difference=float(self.difference[a, b]),
            low=float(low[a, b]),
            high=float(high[a, b]),
            p=float(self.p[a, b]),
            standard_error=float(self.standard_error[a, b]),
            df=float(self.df[a, b]),
        )


def paired_difference(
    a: Floats,
    b: Floats,
    score: Score,
    *,
    spread_a: SeedSpread | None = None,
    spread_b: SeedSpread | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Return how much better model a scored than model b on the same examples: `pairwise_differences` of the two.

    Args:
        a: (seeds of a, examples, k).
        b: (seeds of b, examples, k), of the same examples in the same order.
        score: turns sums of statistics (..., k) into scores (...).
        spread_a: what is known of a's seeds, as `seed_spreads` gives it; None takes the sample variance of these.
        spread_b: the same of b.
        confidence: the interval's nominal coverage.
        resamples: how many resamples are drawn.
        seed: fixes the draws.

    Raises:
        ValueError: the models were not scored on the same examples.
    """
    both = pairwise_differences([a, b], score, [spread_a, spread_b], resamples=resamples, seed=seed)
    return both.of(0, 1, confidence)


def pairwise_differences(
    models: Sequence[Floats],
    score: Score,
    spreads: Sequence[SeedSpread | None] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairwiseDifferences:
    """Return how much better each model scored than each other, by one paired bootstrap of the examples.

    A difference's variance is that of its bootstrap (Efron & Tibshirani 1993, ch. 6), and what each model's seeds
    add to it (`MeanScores`); two models' seeds count as independent, which asks for more evidence than is needed
    where a lucky seed helps both. p comes from Student's t with the degrees of freedom of the whole variance
    (Satterthwaite 1946), not from counting resamples, so that it can be small enough for hundreds of comparisons; but
    it is never below 2 / 2**examples, all that swapping the two models' answers could show (Noreen 1989).

    A model against one of the very same statistics, seed for seed, differs by exactly 0 with no error and p = 1.

    Args:
        models: each (its seeds, examples, k), of the same examples in the same order.
        score: turns sums of statistics (..., k) into scores (...).
        spreads: what is known of each model's seeds, as `seed_spreads` gives it; a None takes the model's own sample
            variance; a single seed without a spread adds nothing, and p is then for these very weights.
        resamples: how many resamples are drawn.
        seed: fixes the draws.

    Raises:
        ValueError: the models were not scored on the same examples, or there is another number of spreads.
    """
    resampled = resample(models, score, resamples=resamples, seed=seed)
    same = np.array([[np.array_equal(a, b) for b in models] for a in models])
    return resampled_differences(resampled, [None] * len(models) if spreads is None else spreads, same)


def resampled_differences(
    models: Sequence[Resampled], spreads: Sequence[SeedSpread | None], same: Flags
) -> PairwiseDifferences:
    """Return `pairwise_differences` of models that were resampled before, from one seed.

    Args:
        models: as `kdbench.stats.resample` gives them.
        spreads: what is known of each model's seeds, as `seed_spreads` gives it; a None takes the sample variance.
        same: (models, models): whether two have the very same statistics, seed for seed.

    Raises:
        ValueError: there is another number of spreads.
    """
    means = mean_scores(models, spreads)
    # The variance of differences, not a sum of covariances: of equal columns it is exactly 0.
    from_examples = np.stack(
        [(column[:, None] - means.resampled).var(axis=0, ddof=1) for column in means.resampled.T]
    )
    variance = from_examples + _sums(means.added_variance)
    added_terms = _sums(means.added_terms)
    df = satterthwaite(variance, from_examples, means.examples, added_terms)
    difference = np.subtract.outer(means.observed, means.observed)
    standard_error = np.where(same, 0.0, np.sqrt(variance))
    return PairwiseDifferences(
        difference=difference,
        standard_error=standard_error,
        df=df,
        p=_p(difference, standard_error, df, lowest=2.0 ** (1 - means.examples)),
    )


def _sums(values: Floats) -> Floats:
    """Return (models, models): the sum of each two of `values`."""
    sums: Floats = np.add.outer(values, values)
    return sums


def _p(difference: Floats, standard_error: Floats, df: Floats, lowest: float) -> Floats:
    # No error and yet a difference is infinitely many errors; no difference is none, whatever the error.
    far = np.where(difference == 0, 0.0, np.inf)
    t = np.divide(np.abs(difference), standard_error, out=far, where=standard_error > 0)
    p: Floats = np.maximum(2 * scipy.stats.t.sf(t, df), lowest)
    return p

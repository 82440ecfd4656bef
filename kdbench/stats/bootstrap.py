"""Scores of test sets that might have been: examples drawn with replacement from the one that was scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdbench.stats.seed_variance import SeedSpread, own_spread

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Score = Callable[[Floats], Floats]
"""Turns sums of statistics (..., k) into scores (...), as `kdbench.evaluation.metrics.Metric.score` does."""

ANY_SCORE = (-np.inf, np.inf)
"""The range of a score of which nothing is known."""

RESAMPLES = 2000
CONFIDENCE = 0.95

NUMBERS_AT_ONCE = 1_000_000
"""Draws, or sums of statistics, held before they become scores: bounds memory to some 40 MB."""


def resampled_scores(statistics: Floats, score: Score, resamples: int, rng: np.random.Generator) -> Floats:
    """Return (resamples, seeds): each seed's score on examples drawn with replacement, the same for all seeds.

    All seeds share the examples, as they share the one test set: drawn apart for each seed, the luck of that test
    set would average out. "Seeds" may as well be models; whatever is stacked on the first axis shares the draws.

    Args:
        statistics: (seeds, examples, k), one seed's examples in the order of every other's.
        score: turns sums of statistics (..., k) into scores (...).
        resamples: how many test sets are drawn.
        rng: draws them.
    """
    seeds, examples, k = statistics.shape
    by_example = examples_first(statistics)
    scores = []
    for rows in chunks(resamples, max(examples, seeds * k)):
        # Row r draws from r * examples upward, so that one bincount counts all rows.
        drawn = rng.integers(examples, size=(rows, examples)) + examples * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * examples).reshape(rows, examples)
        scores.append(score((counts @ by_example).reshape(rows, seeds, k)))
    return np.concatenate(scores)


def examples_first(statistics: Floats) -> Floats:
    """Return (examples, seeds * k) of (seeds, examples, k): what one product sums for all seeds at once."""
    seeds, examples, k = statistics.shape
    return statistics.transpose(1, 0, 2).reshape(examples, seeds * k)


def chunks(total: int, width: int) -> list[int]:
    """Return row counts that sum to `total`, so that a chunk of `width` numbers a row fits in memory."""
    size = max(1, NUMBERS_AT_ONCE // width)
    return [min(size, total - start) for start in range(0, total, size)]


@dataclass(frozen=True, eq=False)
class Resampled:
    """One model's scores on its test set and on test sets that might have been."""

    examples: int
    scores: Floats
    """(seeds,)."""
    means: Floats
    """(resamples,): the mean over seeds on examples drawn with replacement."""
    own_examples_variance: float
    """Of one seed's score, by what it alone finds hard; 0 of one seed."""
    score_range: tuple[float, float] = ANY_SCORE
    """The least and the greatest value that a score can have."""


@dataclass(frozen=True, eq=False)
class MeanScores:
    """Models scored on one test set, each a mean over its seeds.

    Examples and seeds are crossed: every seed answers every example. A mean over n seeds therefore varies by what all
    seeds find hard in the test set, by the luck of the seeds, and by what single seeds find hard in single examples.
    That last part is in the bootstrap of the examples and in the seeds' sample variance alike, and must not count
    twice: a model's seeds add to the variance of its bootstrap only what their spread holds beyond it. So the variance
    is the analysis of variance's estimate for two crossed random factors, but never less than the bootstrap's. And it is
    never less than what single seeds find hard leaves in a mean: where every seed answers otherwise than the others (two
    that have collapsed, each onto its own label), what they all find hard would come out below 0, and counts as 0.
    """

    examples: int
    observed: Floats
    """(models,)."""
    resampled: Floats
    """(resamples, models): on examples drawn with replacement, the same for all models."""
    added_variance: Floats
    """(models,): what is added to the variance of each bootstrapped mean: the seeds' spread, and what was below 0."""
    added_df: Floats
    """(models,): the degrees of freedom of `added_variance`; infinite where nothing is added and no spread known."""
    added_terms: Floats
    """(models,): the sum over the added parts of variance**2 / degrees of freedom, the variance of the spread being all
    that it gives a mean; 0 where nothing is added."""

    def contrast(self, weights: Floats) -> tuple[float, float]:
        """Return the variance of the sum of the models' means, each times its weight, and its degrees of freedom."""
        from_examples = np.asarray((self.resampled @ weights).var(ddof=1))
        variance = from_examples + weights**2 @ self.added_variance
        added_terms = np.asarray(weights**4 @ self.added_terms)
        return float(variance), float(satterthwaite(variance, from_examples, self.examples, added_terms))


def resample(
    models: Sequence[Floats],
    score: Score,
    *,
    score_range: tuple[float, float] = ANY_SCORE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Resampled]:
    """Return `models`, scored on the same test sets drawn anew.

    The draws follow from `seed` and the number of examples alone: models that were resampled by different calls can
    still be held against each other pair by pair.

    Args:
        models: each (its seeds, examples, k), of the same examples in the same order.
        score: turns sums of statistics (..., k) into scores (...).
        score_range: the least and the greatest value that `score` can return.
        resamples: how many test sets are drawn.
        seed: fixes the draws.

    Raises:
        ValueError: the models were not scored on the same examples.
    """
    check_same_examples(models)
    (rng,) = np.random.default_rng(seed).spawn(1)
    each = resampled_scores(np.concatenate(list(models)), score, resamples, rng)
    by_model = np.split(each, np.cumsum([len(model) for model in models])[:-1], axis=1)
    return [
        Resampled(
            examples=model.shape[1],
            scores=score(model.sum(axis=1)),
            means=drawn.mean(axis=1),
            own_examples_variance=_own_examples_variance(drawn),
            score_range=score_range,
        )
        for model, drawn in zip(models, by_model, strict=True)
    ]


def mean_scores(models: Sequence[Resampled], spreads: Sequence[SeedSpread | None]) -> MeanScores:
    """Return the mean scores of `models`, which were resampled from one seed.

    Args:
        models: as `resample` gives them.
        spreads: what is known of each model's seeds; None takes the model's own sample variance, if it has two seeds.

    Raises:
        ValueError: there is another number of spreads.
    """
    if len(spreads) != len(models):
        raise ValueError(f"{len(models)} models need as many spreads, but there are {len(spreads)}")
    added = [_added(model, spread) for model, spread in zip(models, spreads, strict=True)]
    return MeanScores(
        examples=models[0].examples,
        observed=np.array([model.scores.mean() for model in models]),
        resampled=np.stack([model.means for model in models], axis=1),
        added_variance=np.array([one.variance for one in added]),
        added_df=np.array([one.df for one in added]),
        added_terms=np.array([one.term for one in added]),
    )


@dataclass(frozen=True)
class _Added:
    variance: float
    df: float
    term: float


def _added(model: Resampled, given: SeedSpread | None) -> _Added:
    """Return what is added to the variance of the bootstrapped mean of `model`, and how well that is known."""
    seeds = len(model.scores)
    spread = given or own_spread(model.scores.tolist()) or SeedSpread(0.0, np.inf)
    of_seeds = max(0.0, spread.variance - model.own_examples_variance) / seeds
    # The bootstrap's variance is that of what all seeds find hard, and this; it falls short where they err oppositely.
    least = model.own_examples_variance / seeds
    missing = max(0.0, least - float(model.means.var(ddof=1))) if seeds > 1 else 0.0
    variance = of_seeds + missing
    if not missing:
        return _Added(variance, spread.df, (spread.variance / seeds) ** 2 / spread.df if variance else 0.0)
    of_missing = missing**2 / max(1, (model.examples - 1) * (seeds - 1))
    term = of_missing + ((spread.variance / seeds) ** 2 / spread.df if of_seeds else 0.0)
    return _Added(variance, variance**2 / (of_missing + of_seeds**2 / spread.df), term)


def satterthwaite(variance: Floats, from_examples: Floats, examples: int, added_terms: Floats) -> Floats:
    """Return the degrees of freedom of a sum of variances (Satterthwaite 1946, eq. 17), any shape, at least 1.

    Args:
        variance: the sum.
        from_examples: the part of it that the bootstrap of `examples` gave, with examples - 1 degrees of freedom.
        examples: how many there are.
        added_terms: the sum over the other parts of variance**2 / degrees of freedom.
    """
    alone = max(1, examples - 1)
    squares = np.asarray(from_examples**2 / alone + added_terms)
    df: Floats = np.divide(variance**2, squares, out=np.full(squares.shape, float(alone)), where=squares > 0)
    return np.maximum(df, 1.0)


def check_same_examples(models: Sequence[Floats]) -> None:
    """Raise a ValueError unless all `models` (seeds, examples, k) have as many examples and statistics."""
    shapes = {model.shape[1:] for model in models}
    if len(shapes) != 1:
        raise ValueError(
            f"models must be scored on the same examples, but theirs are of shapes {sorted(shapes)}"
        )


def _own_examples_variance(resampled: Floats) -> float:
    """Return the variance of one seed's score by what it alone finds hard, of (resamples, seeds); 0 of one seed."""
    if resampled.shape[1] < 2:
        return 0.0
    deviations = resampled - resampled.mean(axis=1, keepdims=True)
    return float(deviations.var(axis=0, ddof=1).sum() / (resampled.shape[1] - 1))

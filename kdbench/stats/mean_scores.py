"""Mean scores over seeds, and how sure any weighted sum of them is: the part of the test set and that of the seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.stats.resampling import ANY_SCORE, RESAMPLES, Floats, Score, resampled_scores
from kdbench.stats.spread import SeedSpread, own_spread


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
    is the analysis of variance's estimate for two crossed random factors, but never less than the bootstrap's.
    """

    examples: int
    observed: Floats
    """(models,)."""
    resampled: Floats
    """(resamples, models): on examples drawn with replacement, the same for all models."""
    added_variance: Floats
    """(models,): what the seeds' spread adds to the variance of each bootstrapped mean."""
    seed_df: Floats
    """(models,): the degrees of freedom of the seeds' spread; infinite where it is unknown."""
    seed_terms: Floats
    """(models,): all the variance that the spread gives a mean, squared, by its df; 0 where it adds nothing."""

    def contrast(self, weights: Floats) -> tuple[float, float]:
        """Return the variance of the sum of the models' means, each times its weight, and its degrees of freedom."""
        from_examples = np.asarray((self.resampled @ weights).var(ddof=1))
        variance = from_examples + weights**2 @ self.added_variance
        seed_terms = np.asarray(weights**4 @ self.seed_terms)
        return float(variance), float(satterthwaite(variance, from_examples, self.examples, seed_terms))


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
    observed, added, seed_df, seed_terms = [], [], [], []
    for model, given in zip(models, spreads, strict=True):
        spread = given or own_spread(model.scores.tolist()) or SeedSpread(0.0, np.inf)
        seeds = len(model.scores)
        observed.append(model.scores.mean())
        added.append(max(0.0, spread.variance - model.own_examples_variance) / seeds)
        seed_df.append(spread.df)
        seed_terms.append((spread.variance / seeds) ** 2 / spread.df if added[-1] else 0.0)
    return MeanScores(
        examples=models[0].examples,
        observed=np.array(observed),
        resampled=np.stack([model.means for model in models], axis=1),
        added_variance=np.array(added),
        seed_df=np.array(seed_df),
        seed_terms=np.array(seed_terms),
    )


def satterthwaite(variance: Floats, from_examples: Floats, examples: int, seed_terms: Floats) -> Floats:
    """Return the degrees of freedom of a sum of variances (Satterthwaite 1946, eq. 17), any shape, at least 1.

    Args:
        variance: the sum.
        from_examples: the part of it that the bootstrap of `examples` gave, with examples - 1 degrees of freedom.
        examples: how many there are.
        seed_terms: the sum over the seeds' parts of variance**2 / degrees of freedom.
    """
    alone = max(1, examples - 1)
    squares = np.asarray(from_examples**2 / alone + seed_terms)
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

"""Bootstrap scores: resample the examples of the test set with replacement, and estimate variances from that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kdbench.stats.seed_variance import SeedSpread, own_spread

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Score = Callable[[Floats], Floats]
"""Turns sums of statistics (..., k) into scores (...), as `kdbench.evaluation.metrics.Metric.score` does."""

Rescore = Callable[[Floats, Floats], Floats]
"""Turns how often each example was drawn (resamples, examples) and one model's statistics (examples, k) into scores
(resamples,), as `kdbench.evaluation.metrics.Metric.rescore` does."""

Groups = npt.NDArray[np.int64]
"""(examples,): the number of each example's group, from 0, without gaps."""

ANY_SCORE = (-np.inf, np.inf)
"""The range of a score whose range is unknown."""

RESAMPLES = 2000
CONFIDENCE = 0.95
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
"""The quantiles that bound an interval."""

NUMBERS_AT_ONCE = 1_000_000
"""Draws, or sums of statistics, held at once before they become scores: limits memory to about 40 MB."""


def resampled_scores(
    statistics: Floats,
    score: Score,
    resamples: int,
    rng: np.random.Generator,
    rescore: Rescore | None = None,
    groups: Groups | None = None,
) -> Floats:
    """Return (resamples, seeds): each seed's score on examples drawn with replacement, the same for all seeds.

    All seeds share the drawn examples, as they share one test set: with separate draws per seed, the sampling variation
    of the test set would average out. "Seeds" may also be models; all that is stacked on the first axis shares draws.

    Args:
        statistics: (seeds, examples, k), with the examples of all seeds in the same order.
        rescore: scores resamples where a score is not a formula of sums of `statistics`.
        groups: draws whole groups of examples, since the answers within one are not independent.
    """
    if groups is not None and rescore is None:
        statistics, groups = sum_by_group(statistics, groups), None
    seeds, examples, k = statistics.shape
    units = number_of_units(examples, groups)
    by_example = examples_first(statistics)
    scores = []
    for rows in chunks(resamples, max(examples, seeds * k)):
        # Row r draws from r * units upward, so that one bincount counts all rows.
        drawn = rng.integers(units, size=(rows, units)) + units * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)
        if rescore is None:
            scores.append(score((counts @ by_example).reshape(rows, seeds, k)))
        else:
            by_unit = counts if groups is None else counts[:, groups]
            scores.append(np.stack([rescore(by_unit, own) for own in statistics], axis=1))
    return np.concatenate(scores)


def sum_by_group(statistics: Floats, groups: Groups) -> Floats:
    """Return (seeds, groups, k): the sums over each group of `statistics` (seeds, examples, k)."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    sums: Floats = np.add.reduceat(statistics[:, order], starts, axis=1)
    return sums


def number_of_units(examples: int, groups: Groups | None) -> int:
    """Return how many units are drawn: the groups, or all examples where there are none."""
    return examples if groups is None else int(groups.max()) + 1


def examples_first(statistics: Floats) -> Floats:
    """Rearrange (seeds, examples, k) to (examples, seeds * k), so that one matrix product sums for all seeds."""
    seeds, examples, k = statistics.shape
    return statistics.transpose(1, 0, 2).reshape(examples, seeds * k)


def chunks(total: int, width: int) -> list[int]:
    """Return row counts that sum to `total`, each small enough that rows of `width` numbers fit in memory."""
    size = max(1, NUMBERS_AT_ONCE // width)
    return [min(size, total - start) for start in range(0, total, size)]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval."""

    value: float
    low: float | None
    high: float | None
    """None where there is too little to estimate an interval from."""


@dataclass(frozen=True, eq=False)
class Resampled:
    """One model's scores on its test set and on resampled test sets."""

    units: int
    """How many were drawn: groups of examples where a task has these (Miller 2024, arXiv:2411.00640), else examples."""
    scores: Floats
    """(seeds,)."""
    means: Floats
    """(resamples,): the mean over seeds on examples drawn with replacement."""
    by_seed: npt.NDArray[np.float32]
    """(resamples, seeds): each seed's score on these examples."""
    own_examples_variance: float
    """Variance of one seed's score from examples that it alone finds hard; 0 with one seed."""
    score_range: tuple[float, float] = ANY_SCORE
    """The smallest and the largest value that a score can have."""
    answers: int | None = None
    """Where a score is the share of right answers, how many answers there are; else None."""

    def of_seeds(self, places: Sequence[int]) -> Resampled:
        """Return the same model with only the seeds at these `places`, on the same resampled test sets."""
        if list(places) == list(range(len(self.scores))):
            return self
        drawn = self.by_seed[:, places].astype(np.float64)
        return replace(
            self,
            scores=self.scores[places],
            means=drawn.mean(axis=1),
            by_seed=self.by_seed[:, places],
            own_examples_variance=_own_examples_variance(drawn),
        )


@dataclass(frozen=True, eq=False)
class MeanScores:
    """The mean scores of models over their seeds, all on one test set.

    Examples and seeds are crossed: every seed answers every example. A mean over n seeds therefore varies with the
    examples (what all seeds find hard), with the seeds, and with their interaction (what single seeds find hard in
    single examples). The interaction is part of both the bootstrap of the examples and the seeds' sample variance, and
    must not count twice: a model's seeds add to the variance of its bootstrap only the part of their variance beyond
    the interaction. So the variance is the ANOVA estimate for two crossed random factors, but never less than the
    bootstrap's, and never less than what the interaction contributes to a mean: where seeds answer in opposite ways
    (two that collapsed, each onto its own label), the component of the examples would be negative, and counts as 0.
    """

    units: int
    """How many groups of examples were drawn, or examples."""
    observed: Floats
    """(models,)."""
    resampled: Floats
    """(resamples, models): on examples drawn with replacement, the same for all models."""
    added_variance: Floats
    """(models,): what is added to the variance of each bootstrapped mean, from seeds and from negative components."""
    added_df: Floats
    """(models,): the degrees of freedom of `added_variance`; infinite where nothing is added and no spread known."""
    added_terms: Floats
    """(models,): the sum over the added parts of variance**2 / degrees of freedom, where the seeds' part counts with
    the whole variance that they contribute to a mean; 0 where nothing is added."""
    possible: tuple[Floats, Floats] | None = None
    """Each (models, nodes): the possible values of `added_variance`, and how likely each is; None where some model's
    variance over seeds is known by its own seeds alone."""

    def contrast(self, weights: Floats) -> tuple[float, float]:
        """Return the variance of the weighted sum of the models' means, and its degrees of freedom."""
        from_examples = np.asarray((self.resampled @ weights).var(ddof=1))
        variance = from_examples + weights**2 @ self.added_variance
        added_terms = np.asarray(weights**4 @ self.added_terms)
        return float(variance), float(satterthwaite(variance, from_examples, self.units, added_terms))


def resample(
    models: Sequence[Floats],
    score: Score,
    *,
    score_range: tuple[float, float] = ANY_SCORE,
    resamples: int = RESAMPLES,
    seed: int = 0,
    rescore: Rescore | None = None,
    groups: Groups | None = None,
) -> list[Resampled]:
    """Score `models` on the same resampled test sets.

    The draws depend on `seed` and the number of examples or groups alone: models that were resampled by different calls can
    still be compared in pairs.

    Args:
        models: each (its seeds, examples, k), with the same examples in the same order.
        score_range: the smallest and the largest value that `score` can return.
        rescore: scores resamples where a score is not a formula of sums.
        groups: draws whole groups of examples.

    Raises:
        ValueError: the models were not scored on the same examples.
    """
    check_same_examples(models)
    (rng,) = np.random.default_rng(seed).spawn(1)
    each = resampled_scores(np.concatenate(list(models)), score, resamples, rng, rescore, groups)
    by_model = np.split(each, np.cumsum([len(model) for model in models])[:-1], axis=1)
    return [
        Resampled(
            units=number_of_units(model.shape[1], groups),
            scores=score(model.sum(axis=1)),
            means=drawn.mean(axis=1),
            by_seed=drawn.astype(np.float32),
            own_examples_variance=_own_examples_variance(drawn),
            score_range=score_range,
            answers=model.shape[1] if _is_share(model, score) else None,
        )
        for model, drawn in zip(models, by_model, strict=True)
    ]


def _is_share(statistics: Floats, score: Score) -> bool:
    """Return whether the score of `statistics` (seeds, examples, k) is a share of the examples, as an accuracy is."""
    if statistics.shape[2] != 2 or score(np.array([1.0, 4.0])) != 0.25:
        return False
    right, ones = statistics[..., 0], statistics[..., 1]
    return bool((ones == 1).all() and ((right == 0) | (right == 1)).all())


def difference_by_seed(a: Resampled, b: Resampled, places: tuple[Sequence[int], Sequence[int]]) -> Resampled:
    """Return the differences between two models' scores, seed by seed, as if they were one model's scores.

    What a seed does to both cancels out, so that the differences may vary far less than either model's scores.

    Args:
        a: resampled with the same seed of the generator as `b`.
        b: the other model.
        places: where the seeds that both have are among those of `a`, and of `b`.
    """
    a, b = a.of_seeds(places[0]), b.of_seeds(places[1])
    drawn = a.by_seed.astype(np.float64) - b.by_seed
    return Resampled(
        units=a.units,
        scores=a.scores - b.scores,
        means=a.means - b.means,
        by_seed=drawn.astype(np.float32),
        own_examples_variance=_own_examples_variance(drawn),
    )


def root_of(model: Resampled) -> Resampled:
    """Return the model whose scores are the square roots of the scores of `model`, an unbiased square; 0 for negative ones.

    Resampling adds the sampling variance to a square once more, so that the resampled squares are first centred on the
    observed one.
    """
    drawn = model.by_seed.astype(np.float64)
    roots = np.sqrt(np.maximum(0.0, drawn - drawn.mean(axis=0) + model.scores))
    return replace(
        model,
        scores=np.sqrt(np.maximum(0.0, model.scores)),
        means=roots.mean(axis=1),
        by_seed=roots.astype(np.float32),
        own_examples_variance=_own_examples_variance(roots),
        score_range=(0.0, np.inf),
    )


def mean_scores(models: Sequence[Resampled], spreads: Sequence[SeedSpread | None]) -> MeanScores:
    """Return the mean scores of `models`, which were resampled with the same seed; see `pairwise_differences`."""
    if len(spreads) != len(models):
        raise ValueError(f"{len(models)} models need as many spreads, but there are {len(spreads)}")
    added = [_added(model, spread) for model, spread in zip(models, spreads, strict=True)]
    added_variance, added_df, added_terms = np.array(added).T
    return MeanScores(
        units=models[0].units,
        observed=np.array([model.scores.mean() for model in models]),
        resampled=np.stack([model.means for model in models], axis=1),
        added_variance=added_variance,
        added_df=added_df,
        added_terms=added_terms,
        possible=_possible(models, spreads),
    )


def _added(model: Resampled, given: SeedSpread | None) -> tuple[float, float, float]:
    """Return of one model its `added_variance`, `added_df` and `added_terms`, as in `MeanScores`."""
    seeds = len(model.scores)
    spread = given or own_spread(model.scores.tolist()) or SeedSpread(0.0, np.inf)
    of_seeds = max(0.0, spread.variance - model.own_examples_variance) / seeds
    # The bootstrap's variance contains this one; it comes out smaller only where seeds err in opposite ways.
    minimum = model.own_examples_variance / seeds
    missing = max(0.0, minimum - float(model.means.var(ddof=1))) if seeds > 1 else 0.0
    variance = of_seeds + missing
    if not missing:
        return variance, spread.df, (spread.variance / seeds) ** 2 / spread.df if variance else 0.0
    of_missing = missing**2 / max(1, (model.units - 1) * (seeds - 1))
    term = of_missing + ((spread.variance / seeds) ** 2 / spread.df if of_seeds else 0.0)
    return variance, variance**2 / (of_missing + of_seeds**2 / spread.df), term


def _possible(
    models: Sequence[Resampled], spreads: Sequence[SeedSpread | None]
) -> tuple[Floats, Floats] | None:
    posteriors = [
        spread.posterior for spread in spreads if spread is not None and spread.posterior is not None
    ]
    if len(posteriors) < len(models):
        return None
    added = [
        [_added(model, SeedSpread(variance, np.inf))[0] for variance in posterior.variances]
        for model, posterior in zip(models, posteriors, strict=True)
    ]
    return np.array(added), np.array([posterior.weights for posterior in posteriors])


def satterthwaite(variance: Floats, from_examples: Floats, units: int, added_terms: Floats) -> Floats:
    """Return the degrees of freedom of a sum of variances (Satterthwaite 1946, eq. 17), of any shape, at least 1.

    Args:
        variance: the sum.
        from_examples: the part of it from the bootstrap of `units`, with units - 1 degrees of freedom.
        units: the number of examples, or of groups of them.
        added_terms: the sum over the other parts of variance**2 / degrees of freedom.
    """
    alone = max(1, units - 1)
    squares = np.asarray(from_examples**2 / alone + added_terms)
    df: Floats = np.divide(variance**2, squares, out=np.full(squares.shape, float(alone)), where=squares > 0)
    return np.maximum(df, 1.0)


def check_same_examples(models: Sequence[Floats]) -> None:
    """Raise a ValueError unless all `models` (seeds, examples, k) have the same numbers of examples and statistics."""
    shapes = {model.shape[1:] for model in models}
    if len(shapes) != 1:
        raise ValueError(
            f"models must be scored on the same examples, but theirs are of shapes {sorted(shapes)}"
        )


def _own_examples_variance(resampled: Floats) -> float:
    """Estimate from (resamples, seeds) the variance of one seed's score from what it alone finds hard; 0 with one seed."""
    if resampled.shape[1] < 2:
        return 0.0
    deviations = resampled - resampled.mean(axis=1, keepdims=True)
    return float(deviations.var(axis=0, ddof=1).sum() / (resampled.shape[1] - 1))

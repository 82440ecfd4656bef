"""Test differences between two models without assumptions on distributions, for these trained weights alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.stats

from kdbench.stats.bootstrap import CONFIDENCE, Floats, Score, check_same_examples, chunks, examples_first

_SAME = 1e-12
"""Scores are discrete, so that many shuffles tie with the observed difference up to rounding of this size."""


@dataclass(frozen=True)
class McNemar:
    """McNemar's test on the examples where exactly one of two models is right."""

    only_a: int
    """How many examples only model a answered correctly."""
    only_b: int
    p: float
    """Two-sided and exact: the probability that a fair coin splits them at least as unevenly."""


def mcnemar(right_a: npt.ArrayLike, right_b: npt.ArrayLike) -> McNemar:
    """Test whether two classifiers are right equally often, by the exact binomial test (McNemar 1947).

    Args:
        right_a: (examples,): whether model a was right.
        right_b: (examples,): whether model b was right, on the same examples.

    Raises:
        ValueError: the lengths differ.
    """
    a, b = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(
            f"the answers must be two lists of one length, but their shapes are {a.shape} and {b.shape}"
        )
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    discordant = only_a + only_b
    p = float(scipy.stats.binomtest(only_a, discordant).pvalue) if discordant else 1.0
    return McNemar(only_a, only_b, p)


def approximate_randomization(
    a: Floats, b: Floats, score: Score, *, permutations: int = 10_000, seed: int = 0
) -> float:
    """Return the two-sided p of the difference of two models' mean scores (Noreen 1989, ch. 2; Yeh 2000).

    Under the null hypothesis the answers to any example are exchangeable: each shuffle swaps the answers to random
    examples, for all seeds together, since seeds on one example are not independent. p is the share of shuffles with a
    difference at least as large as the observed one, which counts as a shuffle; it is never 0. It holds for these
    trained weights: it does not cover the variation over seeds.

    Args:
        a: (seeds, examples, k).
        b: the same shape, with the same examples in the same order.

    Raises:
        ValueError: the models differ in their examples or in their number of seeds.
    """
    check_same_examples([a, b])
    if len(a) != len(b):
        raise ValueError(f"swapping needs as many seeds of both models, but there are {len(a)} and {len(b)}")
    seeds, examples, k = a.shape
    rng = np.random.default_rng(seed)
    sum_a, sum_b, moved_by = a.sum(axis=1), b.sum(axis=1), examples_first(b - a)
    observed = abs(score(sum_a).mean() - score(sum_b).mean())
    as_large = 0
    for rows in chunks(permutations, max(examples, seeds * k)):
        swapped = rng.integers(2, size=(rows, examples)).astype(np.float64)
        moved = (swapped @ moved_by).reshape(rows, seeds, k)
        differences = score(sum_a + moved).mean(axis=-1) - score(sum_b - moved).mean(axis=-1)
        as_large += int((np.abs(differences) >= observed - _SAME).sum())
    return (as_large + 1) / (permutations + 1)


def almost_stochastic_order(
    a: Sequence[float] | Floats,
    b: Sequence[float] | Floats,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> float:
    """Return the smallest epsilon, 0 to 1, for which a significantly dominates b up to a violation of epsilon.

    The violation ratio is the part of the squared distance between the two quantile functions that lies where b's
    is above a's: 0 if every quantile of a is higher, 1 if every one of b is (del Barrio, Cuesta-Albertos & Matran 2018,
    eq. 4). Its upper confidence bound, with a bootstrapped standard deviation, is the minimal epsilon (Dror, Shlomov &
    Reichart 2019, section 4): below 0.5, a is called almost stochastically dominant; nearer 0 is stronger. Samples that
    are identical value for value have a ratio of 0.5.

    The bound is optimistic. For samples from one distribution, 3 to 50 seeds each, it falls below 0.5 in 16% to 22% of
    simulations, and below 0.2, the threshold of Ulmer, Hardmeier & Frellsen 2022, in 3% with ten seeds or more, but in
    7% with five and 9% with three.

    Args:
        a: (seeds of a,): scores, higher is better.
        b: (seeds of b,).

    Raises:
        ValueError: a sample has fewer than two scores.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if min(len(first), len(second)) < 2:
        raise ValueError(
            f"an order of distributions needs two scores of each, but has {len(first)}, {len(second)}"
        )
    rng = np.random.default_rng(seed)
    ratio = float(violation_ratio(first, second))
    resampled = violation_ratio(_drawn(first, resamples, rng), _drawn(second, resamples, rng))
    bound = ratio + scipy.stats.norm.ppf(CONFIDENCE) * resampled.std(ddof=1)
    return float(np.clip(bound, 0.0, 1.0))


def violation_ratio(a: Floats, b: Floats) -> Floats:
    """Return (...): the violation ratio of samples a (..., n) and b (..., m), as `almost_stochastic_order` defines it.

    The samples' quantile functions are step functions, so that the integrals are sums over the steps of both.
    """
    n, m = a.shape[-1], b.shape[-1]
    # In units of 1 / (n * m), so that rounding cannot separate two equal ends.
    ends = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    starts, widths = ends[:-1], np.diff(ends)
    distance = np.sort(a, axis=-1)[..., starts // m] - np.sort(b, axis=-1)[..., starts // n]
    violation = (widths * np.minimum(distance, 0) ** 2).sum(axis=-1)
    total = (widths * distance**2).sum(axis=-1)
    ratio: Floats = np.divide(violation, total, out=np.full_like(total, 0.5), where=total > 0)
    return ratio


def _drawn(values: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    return values[rng.integers(len(values), size=(resamples, len(values)))]

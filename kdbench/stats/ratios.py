"""Ratios of paired measurements in time: how much faster one model is than another, round by round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from kdbench.stats.resampling import CONFIDENCE, RESAMPLES, Floats, chunks


@dataclass(frozen=True)
class Ratio:
    """A median ratio."""

    ratio: float
    low: float | None
    high: float | None
    """Its interval; None where one pair is all there is."""


def paired_ratio(
    numerator: Sequence[float] | Floats,
    denominator: Sequence[float] | Floats,
    *,
    block: int | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ratio:
    """Return the median of the ratios of pairs, with the interval of a moving-block bootstrap.

    What slows a machine lasts longer than a round, so that neighbouring ratios resemble each other. A resample
    therefore joins whole runs of `block` consecutive ratios, drawn with replacement out of all n - block + 1
    (Kuensch 1989, section 2), and cuts them to n.

    The percentiles of so few blocks lie too near to the median: they are moved away from it by the factor that is
    Student's t, of the blocks less 1 degrees of freedom, over the normal quantile, times sqrt(n / (n - block)), the
    part of the variance that the mean of a block is missing. In simulations of 100 to 1,000 rounds 95% intervals then
    cover the truth in 93% to 97% of draws, where neighbours correlate by 0.5 in 90% to 93%; of 20 rounds in 92%.

    Args:
        numerator: (n,), such as the teacher's milliseconds, in the order of the rounds.
        denominator: (n,), such as the student's, of the same rounds.
        block: how many consecutive ratios stay together; by default n**(1/3), rounded: the order of the best length
            (Hall, Horowitz & Jing 1995), with a constant of 1. 1 is the ordinary bootstrap.
        confidence: the interval's nominal coverage.
        resamples: how many resamples are drawn.
        seed: fixes the draws.

    Raises:
        ValueError: there is no pair, the lengths differ, a measurement is not above 0, or `block` is not in 1 to n.
    """
    above, below = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    if above.shape != below.shape or above.ndim != 1 or not len(above):
        raise ValueError(f"ratios need pairs, but the shapes are {above.shape} and {below.shape}")
    if not (np.all(above > 0) and np.all(below > 0)):
        raise ValueError("ratios need measurements above 0")
    ratios = above / below
    n = len(ratios)
    length = round(n ** (1 / 3)) if block is None else block
    if not 1 <= length <= n:
        raise ValueError(f"a block must hold 1 to {n} ratios, but holds {length}")
    median = float(np.median(ratios))
    if n == 1:
        return Ratio(median, None, None)
    rng = np.random.default_rng(seed)
    medians = np.concatenate(
        [np.median(ratios[_blocks(rng, rows, n, length)], axis=1) for rows in chunks(resamples, n)]
    )
    ends = np.quantile(medians, [(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = median * (ends / median) ** _widening(n, length, confidence)
    return Ratio(median, float(low), float(high))


def _widening(n: int, length: int, confidence: float) -> float:
    """Return by what factor the bootstrap of n / length blocks is too narrow; 1 of single ratios, which are many."""
    if length == 1:
        return 1.0
    upper = (1 + confidence) / 2
    few_blocks = scipy.stats.t.ppf(upper, max(1.0, n / length - 1)) / scipy.stats.norm.ppf(upper)
    return float(few_blocks * np.sqrt(n / max(1, n - length)))


def _blocks(rng: np.random.Generator, rows: int, n: int, length: int) -> np.ndarray:
    """Return (rows, n): indices of runs of `length` out of n."""
    starts = rng.integers(n - length + 1, size=(rows, -(-n // length)))
    return (starts[:, :, None] + np.arange(length)).reshape(rows, -1)[:, :n]

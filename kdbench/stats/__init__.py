"""Quantify the uncertainty of scores: intervals, comparisons and ranks over examples and seeds."""

from kdbench.stats.bootstrap import Flags, Floats, Resampled, Score, resample
from kdbench.stats.comparisons import (
    Difference,
    PairwiseDifferences,
    holm,
    holm_pairs,
    paired_difference,
    pairwise_differences,
    resampled_differences,
    smallest_difference,
)
from kdbench.stats.intervals import (
    Gap,
    Ratio,
    bootstrap_interval,
    gap_recovered,
    paired_ratio,
    resampled_gap,
    resampled_interval,
)
from kdbench.stats.ranking import (
    InterquartileMean,
    TieRank,
    average_ranks,
    interquartile_mean,
    pareto_front,
    score_ranks,
    tie_ranks,
)
from kdbench.stats.seed_variance import SeedSpread, seed_spreads
from kdbench.stats.significance import McNemar, almost_stochastic_order, approximate_randomization, mcnemar

__all__ = [
    "Difference",
    "Flags",
    "Floats",
    "Gap",
    "InterquartileMean",
    "McNemar",
    "PairwiseDifferences",
    "Ratio",
    "Resampled",
    "Score",
    "SeedSpread",
    "TieRank",
    "almost_stochastic_order",
    "approximate_randomization",
    "average_ranks",
    "bootstrap_interval",
    "gap_recovered",
    "holm",
    "holm_pairs",
    "interquartile_mean",
    "mcnemar",
    "paired_difference",
    "paired_ratio",
    "pairwise_differences",
    "pareto_front",
    "resample",
    "resampled_differences",
    "resampled_gap",
    "resampled_interval",
    "score_ranks",
    "seed_spreads",
    "smallest_difference",
    "tie_ranks",
]

"""How sure scores are: intervals, comparisons and ranks over the examples and seeds that were scored."""

from kdbench.stats.across_tasks import InterquartileMean, average_ranks, interquartile_mean, score_ranks
from kdbench.stats.comparisons import (
    Difference,
    PairwiseDifferences,
    paired_difference,
    pairwise_differences,
    resampled_differences,
)
from kdbench.stats.correction import holm, holm_pairs
from kdbench.stats.dominance import almost_stochastic_order
from kdbench.stats.exact import McNemar, approximate_randomization, mcnemar
from kdbench.stats.gap import Gap, gap_recovered, resampled_gap
from kdbench.stats.intervals import bootstrap_interval, resampled_interval
from kdbench.stats.mean_scores import Resampled, resample
from kdbench.stats.pareto import pareto_front
from kdbench.stats.power import smallest_difference
from kdbench.stats.ranks import TieRank, tie_ranks
from kdbench.stats.ratios import Ratio, paired_ratio
from kdbench.stats.resampling import Flags, Floats, Score
from kdbench.stats.spread import SeedSpread, seed_spreads

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

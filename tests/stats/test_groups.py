"""Examples of one group are drawn together: their answers are not independent."""

import numpy as np
import pytest
from helpers.scored import ACCURACY, right, valued
from helpers.toytasks import ToyTask

from kdbench.api.predictions import Predictions
from kdbench.evaluation.metrics import METRICS
from kdbench.results.quality import quality_of
from kdbench.stats.bootstrap import resample, sum_by_group
from kdbench.stats.intervals import bootstrap_interval


def test_sums_over_groups_by_hand():
    statistics = np.array([[[1.0, 1], [0, 1], [1, 1], [1, 1]]])
    assert sum_by_group(statistics, np.array([1, 0, 1, 1])).tolist() == [[[0, 1], [3, 3]]]


def test_copies_of_an_example_say_nothing_new():
    alone = right(np.random.default_rng(0).random(80) < 0.7)
    copied, groups = alone.repeat(5, axis=1), np.arange(80).repeat(5)
    assert bootstrap_interval(copied, ACCURACY, groups=groups) == pytest.approx(
        bootstrap_interval(alone, ACCURACY)
    )
    low, high = bootstrap_interval(copied, ACCURACY)
    assert high - low < 0.55 * np.subtract(*bootstrap_interval(alone, ACCURACY)[::-1])


def test_of_a_metric_of_ranks_whole_groups_are_drawn_too():
    spearman = METRICS["spearman"]
    rng = np.random.default_rng(0)
    values = rng.normal(size=60)
    predictions = Predictions(
        np.arange(60),
        (values + rng.normal(size=60)).astype(np.float32)[:, None],
        values.astype(np.float32),
    )
    alone = spearman.statistics(predictions, ())[None]
    copied, groups = alone.repeat(4, axis=1), np.arange(60).repeat(4)
    drawn = [
        resample([statistics], spearman.score, resamples=50, rescore=spearman.own_rescore, groups=of_groups)[
            0
        ]
        for statistics, of_groups in ((alone, None), (copied, groups))
    ]
    assert drawn[1].means == pytest.approx(drawn[0].means)
    assert drawn[1].units == 60


def test_intervals_cover_the_truth_where_answers_within_a_group_are_alike():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), rng.integers(1, 12, 60))
    covered = {"examples": [], "groups": []}
    for _ in range(300):
        hard = rng.normal(size=60)[groups] + rng.normal(size=len(groups))
        statistics = valued(hard)[None]
        for way, of_groups in (("examples", None), ("groups", groups)):
            low, high = bootstrap_interval(statistics, ACCURACY, groups=of_groups, resamples=300)
            covered[way].append(low <= 0 <= high)
    assert 0.92 <= np.mean(covered["groups"]) <= 0.98
    assert np.mean(covered["examples"]) < 0.75


def test_a_record_s_interval_is_over_groups():
    toy_task = ToyTask({})
    right = np.random.default_rng(0).random(100) < 0.7
    logits = np.stack([1 - right, right], axis=1).repeat(3, axis=0).astype(np.float32)
    alone = Predictions(np.arange(300), logits, np.ones(300, dtype=np.int64))
    grouped = Predictions(alone.ids, logits, alone.references, groups=7 * np.arange(100).repeat(3))
    assert grouped.group_places.tolist() == np.arange(100).repeat(3).tolist()
    wide, narrow = quality_of(grouped, toy_task), quality_of(alone, toy_task)
    assert wide.score == narrow.score
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)

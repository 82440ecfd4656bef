"""What strategies are worth over all tasks."""

import pandas as pd
import pytest
from helpers.boards import tables_without_predictions
from helpers.support import make_record
from scipy.stats import trim_mean

from kdbench.board.tables import copies_of
from kdbench.results.records import Status


def across(records):
    return tables_without_predictions(records).across.set_index("strategy")


def records_of(scores):
    """Return records of ``{strategy: {task: one score a seed}}``; the majority scores 0.646 on every task."""
    return [
        make_record(strategy, task, score, seed=seed, is_teacher=strategy == "teacher" and seed == 0)
        for strategy, by_task in scores.items()
        for task, of_seeds in by_task.items()
        for seed, score in enumerate(of_seeds)
    ]


def test_ranks_are_averaged_and_ties_share_their_mean():
    found = across(
        records_of(
            {
                "teacher": {"x": [0.9], "y": [0.8]},
                "a": {"x": [0.8], "y": [0.8]},
                "b": {"x": [0.7], "y": [0.7]},
            }
        )
    )
    assert found["average_rank"].to_dict() == {"teacher": 1.25, "a": 1.75, "b": 3.0}
    assert list(found.index) == ["teacher", "a", "b"]


def test_scores_are_normalized_by_majority_and_teacher_before_the_middle_half_is_averaged():
    own = {"x": [0.8, 0.82, 0.7], "y": [0.75, 0.9, 0.78]}
    found = across(records_of({"teacher": {"x": [0.9] * 3, "y": [0.8] * 3}, "a": own}))
    normalized = [
        (score - 0.646) / (one - 0.646) for task, one in (("x", 0.9), ("y", 0.8)) for score in own[task]
    ]
    assert found.loc["a", "interquartile_mean"] == pytest.approx(trim_mean(normalized, 0.25))
    assert found.loc["a", "interquartile_mean_low"] < found.loc["a", "interquartile_mean"]
    assert found.loc["a", "interquartile_mean_high"] > found.loc["a", "interquartile_mean"]
    assert found.loc["teacher", "interquartile_mean"] == pytest.approx(1)


def test_the_worst_task_stands_beside_the_mean():
    scores = {"teacher": {"x": [0.9] * 3, "y": [0.8] * 3}, "a": {"x": [0.88] * 3, "y": [0.66, 0.64, 0.65]}}
    found = across(records_of(scores))
    assert found.loc["a", "worst_task"] == "y"
    assert found.loc["a", "worst_normalized"] == pytest.approx((0.65 - 0.646) / (0.8 - 0.646))
    assert found.loc["teacher", "worst_normalized"] == pytest.approx(1)


def test_a_derived_row_that_loses_nothing_on_any_task_is_a_copy_and_counts_once():
    def row(strategy, task, source=None, no_loss=None):
        return {"strategy": strategy, "task": task, "derived_from": source, "no_loss": no_loss}

    rows = [row("full", task) for task in "xy"]
    rows += [row("int8", task, "full", no_loss=True) for task in "xy"]
    rows += [row("int8+fp16", task, "int8", no_loss=True) for task in "xy"]
    rows += [row("cut", "x", "full", no_loss=True), row("cut", "y", "full", no_loss=False)]
    assert copies_of(pd.DataFrame(rows)) == {"int8": "full", "int8+fp16": "full"}


def test_one_seed_has_no_interval():
    found = across(records_of({"teacher": {"x": [0.9]}, "a": {"x": [0.8]}}))
    assert found.loc["a", ["interquartile_mean_low", "interquartile_mean_high"]].isna().all()


def test_an_average_needs_every_cell_and_says_which_are_missing():
    records = records_of(
        {
            "teacher": {"x": [0.9, 0.9], "y": [0.8, 0.8]},
            "elsewhere": {"x": [0.8, 0.8]},
            "broken": {"x": [0.8, 0.8], "y": [0.7]},
        }
    )
    records.append(make_record("broken", "y", status=Status.FAILED, reason="r", seed=1))
    found = across(records)
    assert found["missing"].drop("teacher").to_dict() == {
        "elsewhere": "y (not run)",
        "broken": "y (failed)",
    }
    assert found[["average_rank", "interquartile_mean"]].drop("teacher").isna().all(axis=None)
    assert found.loc["teacher", "average_rank"] == 1
    assert pd.isna(found.loc["teacher", "missing"])


def test_a_strategy_with_more_seeds_on_one_task_is_ranked_by_its_means_and_averaged_over_common_seeds():
    own = {"x": [0.8, 0.82, 0.6], "y": [0.75, 0.9]}
    records = records_of(
        {"teacher": {"x": [0.9] * 3, "y": [0.8] * 3}, "a": own, "b": {"x": [0.75], "y": [0.7]}}
    )
    found = across(records)
    assert found["missing"].isna().all()
    # On x, a has a mean of 0.74 and b of 0.75.
    assert found["average_rank"].to_dict() == {"teacher": 1.5, "a": 2.0, "b": 2.5}
    normalized = [
        (score - 0.646) / (one - 0.646) for task, one in (("x", 0.9), ("y", 0.8)) for score in own[task][:2]
    ]
    assert found.loc["a", "interquartile_mean"] == pytest.approx(trim_mean(normalized, 0.25))


def test_a_strategy_without_a_common_seed_is_not_averaged():
    records = records_of({"teacher": {"x": [0.9], "y": [0.8]}})
    records += [make_record("a", "x", 0.7, seed=0), make_record("a", "y", 0.7, seed=1)]
    assert across(records).loc["a", "missing"] == "y (no seed that it has on every other task)"


def test_without_a_lead_of_the_teacher_nothing_is_normalized_and_the_task_is_named():
    found = across(records_of({"teacher": {"x": [0.9], "y": [0.6]}, "a": {"x": [0.8], "y": [0.7]}}))
    assert found["interquartile_mean"].isna().all()
    reason = "y: its teacher is no better than always giving the most frequent answer"
    assert list(found["not_normalized"]) == [reason, reason]

"""Intervals of what rows show beside their scores, on answers counted by hand."""

import numpy as np
import pytest
from helpers.boards import tables_in
from helpers.comparisons import put_row, right
from helpers.support import save_predictions


@pytest.fixture
def rows(tmp_path):
    put_row(tmp_path, "finetune", {seed: right(800) for seed in range(3)}, is_teacher=True)
    for record in put_row(tmp_path, "kd", {seed: right(700 + 5 * seed) for seed in range(3)}):
        save_predictions(tmp_path, f"{record.key}.noisy", list(right(650)))
    return tables_in(tmp_path).rows.set_index("strategy")


def test_loyalty_is_bounded_like_an_accuracy(rows):
    # kd differs from the teacher where only the teacher is right: on 100, 95 and 90 of 1,000 examples.
    row = rows.loc["kd"]
    assert row["label_loyalty"] == pytest.approx(0.905)
    error = np.sqrt(0.905 * 0.095 / 1000)
    assert row["label_loyalty_low"] == pytest.approx(0.905 - 1.96 * error, abs=0.006)
    assert row["label_loyalty_high"] == pytest.approx(0.905 + 1.96 * error, abs=0.006)


def test_brier_score_and_likelihood_have_intervals_around_them(rows):
    for figure in ("brier_score", "negative_log_likelihood"):
        row = rows.loc["kd"]
        assert row[f"{figure}_low"] < row[figure] < row[f"{figure}_high"]


def test_the_loss_to_typos_is_bounded_on_the_same_examples(rows):
    # 50, 55 and 60 of 1,000 answers are lost: a share of 0.055 on average.
    row = rows.loc["kd"]
    assert row["noisy_drop_low"] < 0.055 < row["noisy_drop_high"]
    error = np.sqrt(0.055 * 0.945 / 1000)
    assert row["noisy_drop_high"] - row["noisy_drop_low"] == pytest.approx(2 * 1.96 * error, rel=0.5)
    assert row["noisy_score_low"] < 0.65 < row["noisy_score_high"]

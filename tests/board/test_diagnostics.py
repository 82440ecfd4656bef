"""What predictions tell beside the score, cell by cell."""

import numpy as np
import pandas as pd
import pytest
from helpers.boards import tables_of
from helpers.predicted import predictions_of
from helpers.support import make_record

from kdbench.board.statistics import Known


def put(results, record, probabilities, references=(0, 1), ids=None):
    predictions = predictions_of(probabilities, list(references), ids=ids)
    predictions.save(results / "predictions" / f"{record.key}.safetensors")
    return record


def test_loyalty_is_to_the_teacher_and_calibration_to_the_truth(tmp_path):
    teacher = put(tmp_path, make_record("finetune", is_teacher=True), [(0.9, 0.1), (0.2, 0.8)])
    again = put(tmp_path, make_record("finetune", seed=1), [(0.9, 0.1), (0.6, 0.4)])
    student = put(tmp_path, make_record("kd"), [(0.9, 0.1), (0.7, 0.3)])
    tables = tables_of([teacher, again, student], tmp_path)
    cells = tables.cells.set_index(["strategy", "seed"])
    assert cells.loc[("kd", 0), "label_loyalty"] == 0.5
    assert 0.5 < cells.loc[("kd", 0), "probability_loyalty"] < 1
    # The squared distances are 2 * 0.1² and 2 * 0.7².
    assert cells.loc[("kd", 0), "brier_score"] == pytest.approx(0.5)
    # 0.8 sure on average and half right, of which luck explains 0.25: (0.3² - 0.25) is below 0.
    assert cells.loc[("kd", 0), "calibration_error"] == 0
    assert cells.loc[("kd", 0), "negative_log_likelihood"] == pytest.approx(-np.log([0.9, 0.3]).mean())
    # The teacher itself is loyal to nobody; its row tells of its other seeds.
    assert pd.isna(cells.loc[("finetune", 0), "label_loyalty"])
    rows = tables.rows.set_index("strategy")
    assert rows.loc["finetune", "label_loyalty"] == 0.5
    assert rows.loc["kd", "brier_score"] == pytest.approx(0.5)


def test_loyalty_is_to_the_teacher_of_the_seed(tmp_path):
    records = [
        put(tmp_path, make_record("finetune", seed=0, is_teacher=True), [(0.9, 0.1), (0.2, 0.8)]),
        put(tmp_path, make_record("finetune", seed=1, is_teacher=True), [(0.1, 0.9), (0.8, 0.2)]),
        put(tmp_path, make_record("kd", seed=0), [(0.9, 0.1), (0.2, 0.8)]),
        put(tmp_path, make_record("kd", seed=1), [(0.9, 0.1), (0.8, 0.2)]),
    ]
    cells = tables_of(records, tmp_path).cells.set_index(["strategy", "seed"])
    assert cells["label_loyalty"].dropna().to_dict() == {("kd", 0): 1.0, ("kd", 1): 0.5}


def test_a_row_scored_on_other_examples_has_no_loyalty_and_no_rank(tmp_path):
    teacher = put(tmp_path, make_record("finetune", is_teacher=True), [(0.9, 0.1), (0.2, 0.8)])
    alike = put(tmp_path, make_record("kd"), [(0.9, 0.1), (0.7, 0.3)])
    other = put(tmp_path, make_record("pkd"), [(0.9, 0.1), (0.7, 0.3)], ids=[5, 6])
    rows = tables_of([teacher, alike, other], tmp_path).rows.set_index("strategy")
    assert pd.isna(rows.loc["pkd", "label_loyalty"])
    assert pd.isna(rows.loc["pkd", "rank"])
    assert rows.loc["pkd", "warnings"] == (
        "not compared with other rows: scored on other examples, or by other groups of them, than most rows"
    )
    assert rows.loc["pkd", "brier_score"] == pytest.approx(0.5)


def test_what_is_known_is_not_read_again(tmp_path):
    teacher = put(tmp_path, make_record("finetune", is_teacher=True), [(0.9, 0.1), (0.2, 0.8)])
    student = put(tmp_path, make_record("kd"), [(0.9, 0.1), (0.7, 0.3)])
    known = Known()
    first = tables_of([teacher, student], tmp_path, known=known)
    again = tables_of([teacher, student], tmp_path / "gone", known=known)
    pd.testing.assert_frame_equal(first.rows, again.rows)
    pd.testing.assert_frame_equal(first.cells, again.cells)

import numpy as np
import pytest
from helpers.predicted import REGRESSION, predictions_of
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from kdbench.evaluation.diagnostics import brier_score, expected_calibration_error


def test_calibration_error_by_hand():
    # Of 15 bins, 0.9 falls into the 14th, 0.8 into the 12th (both with one right of two), 0.6 into the 9th (right).
    answers = predictions_of([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.8, 0.2], [0.62, 0.38]], [0, 1, 1, 1, 0])
    expected = (abs(1 - 1.8) + abs(1 - 1.6) + abs(1 - 0.62)) / 5
    assert expected_calibration_error(answers) == pytest.approx(expected, abs=1e-6)


def test_gaps_within_a_bin_cancel_and_across_bins_do_not():
    answers = predictions_of([[0.75, 0.25]] * 4, [0, 0, 0, 1])
    assert expected_calibration_error(answers) == pytest.approx(0, abs=1e-6)
    apart = predictions_of([[0.95, 0.05], [0.55, 0.45]], [1, 0])
    assert expected_calibration_error(apart, bins=1) == pytest.approx(0.25, abs=1e-6)
    assert expected_calibration_error(apart) == pytest.approx((0.95 + 0.45) / 2, abs=1e-6)


def test_brier_score_by_hand():
    answers = predictions_of([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]], [0, 1])
    first, second = 0.09 + 0.04 + 0.01, 0.09 + 0.49 + 0.16
    assert brier_score(answers) == pytest.approx((first + second) / 2, abs=1e-6)


def test_of_two_classes_it_is_twice_the_score_of_one_probability():
    answers = predictions_of([[0.7, 0.3], [0.4, 0.6]], [1, 1])
    assert brier_score(answers) == pytest.approx(2 * (0.49 + 0.16) / 2, abs=1e-6)


cases = st.lists(
    st.tuples(st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 2)),
    min_size=2,
    max_size=30,
)


@given(cases)
def test_brier_score_is_that_of_scikit_learn(cases):
    rows = np.array([case[:3] for case in cases])
    probabilities, right = rows / rows.sum(1, keepdims=True), [case[3] for case in cases]
    theirs = brier_score_loss(right, probabilities, labels=[0, 1, 2], scale_by_half=False)
    assert brier_score(predictions_of(probabilities, right)) == pytest.approx(theirs, abs=1e-5)


@given(cases)
def test_calibration_error_is_the_weighted_gap_of_each_bin(cases):
    rows = np.array([case[:3] for case in cases])
    right = [case[3] for case in cases]
    answers = predictions_of(rows / rows.sum(1, keepdims=True), right)
    exact = np.exp(answers.logits.astype(np.float64))
    confidence = (exact / exact.sum(1, keepdims=True)).max(1)
    correct = answers.predicted == answers.references
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    # A confidence on a border between bins may fall to either side.
    borders = np.abs(confidence * 15 - np.round(confidence * 15)).min()
    if borders > 1e-6:
        assert expected_calibration_error(answers) == pytest.approx(expected, abs=1e-6)
    assert 0 <= expected_calibration_error(answers) <= 1


def test_in_token_classification_words_are_counted():
    words = predictions_of([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]], [0, 1, 0], offsets=[0, 1, 3])
    texts = predictions_of([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]], [0, 1, 0])
    assert brier_score(words) == brier_score(texts)
    assert expected_calibration_error(words) == expected_calibration_error(texts)


def test_a_regression_has_no_calibration():
    assert expected_calibration_error(REGRESSION) is None
    assert brier_score(REGRESSION) is None

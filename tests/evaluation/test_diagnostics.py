import math

import numpy as np
import pytest
from helpers.predicted import REGRESSION, predictions_of, tagged
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from seqeval.metrics import classification_report
from seqeval.scheme import IOB2
from sklearn.metrics import brier_score_loss, log_loss, precision_recall_fscore_support

from kdbench.errors import KdbenchError, UsageError
from kdbench.evaluation.diagnostics import (
    ClassScore,
    area_under_risk_coverage,
    brier_score,
    class_scores,
    confusion_matrix,
    entity_scores,
    expected_calibration_error,
    label_loyalty,
    negative_log_likelihood,
    probability_loyalty,
    risk_at_coverage,
    selective_risks,
)
from kdbench.evaluation.metrics import METRICS

SURE = 1 - 1e-9


def test_label_loyalty_is_the_share_of_equal_answers_right_or_wrong():
    student = predictions_of([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], [1, 1, 0, 0])
    teacher = predictions_of([[0.6, 0.4], [0.9, 0.1], [0.7, 0.3], [0.1, 0.9]], [1, 1, 0, 0])
    assert label_loyalty(student, teacher) == 3 / 4


def test_examples_are_matched_by_their_ids_not_their_places():
    student = predictions_of([[0.9, 0.1], [0.2, 0.8]], [0, 1], ids=[1, 2])
    teacher = predictions_of([[0.2, 0.8], [0.9, 0.1]], [1, 0], ids=[2, 1])
    assert label_loyalty(student, teacher) == 1
    assert probability_loyalty(student, teacher) == pytest.approx(1)


def test_in_token_classification_words_are_counted():
    student = predictions_of([[0.9, 0.1]] * 4, [0, 0, 0, 1], offsets=[0, 3, 4])
    teacher = predictions_of([[0.9, 0.1]] * 3 + [[0.1, 0.9]], [0, 0, 0, 1], offsets=[0, 3, 4])
    assert label_loyalty(student, teacher) == 3 / 4


def test_probability_loyalty_by_hand():
    # Against a coin, an answer that is certain has the divergence 1/2 (log2(4/3) + (log2(2/3) + log2(2))/2) bits.
    divergence = (math.log2(4 / 3) + (math.log2(2 / 3) + 1) / 2) / 2
    student, teacher = predictions_of([[SURE, 1 - SURE]], [0]), predictions_of([[0.5, 0.5]], [0])
    assert probability_loyalty(student, teacher) == pytest.approx(1 - math.sqrt(divergence), abs=1e-6)


def test_opposite_certainties_share_nothing_and_equal_ones_all():
    yes, no = predictions_of([[SURE, 1 - SURE]], [0]), predictions_of([[1 - SURE, SURE]], [0])
    assert probability_loyalty(yes, no) == pytest.approx(0, abs=1e-3)
    assert probability_loyalty(yes, yes) == 1


probability_rows = st.lists(st.tuples(*[st.floats(0.01, 1)] * 6), min_size=1, max_size=5).map(
    lambda rows: np.array(rows)
)


@given(probability_rows)
def test_it_is_the_definition_by_kullback_and_leibler_and_symmetric(rows):
    own, other = (part / part.sum(1, keepdims=True) for part in np.split(rows, 2, axis=1))
    middle = (own + other) / 2
    divergence = (entropy(own, middle, base=2, axis=1) + entropy(other, middle, base=2, axis=1)) / 2
    right = [0] * len(rows)
    student, teacher = predictions_of(own, right), predictions_of(other, right)
    found = probability_loyalty(student, teacher)
    assert found == pytest.approx(1 - np.sqrt(divergence.clip(0)).mean(), abs=1e-3)
    assert found == pytest.approx(probability_loyalty(teacher, student), abs=1e-9)
    assert 0 <= found <= 1


def test_a_regression_has_no_loyalty():
    assert label_loyalty(REGRESSION, REGRESSION) is None
    assert probability_loyalty(REGRESSION, REGRESSION) is None


def test_other_examples_are_refused():
    one, two = predictions_of([[0.9, 0.1]], [0], ids=[1]), predictions_of([[0.9, 0.1]], [0], ids=[2])
    for loyalty in (label_loyalty, probability_loyalty):
        with pytest.raises(KdbenchError, match="no prediction for example 1"):
            loyalty(one, two)


def test_calibration_error_by_hand():
    # Two bins of ten: 0.6 sure and five right, 0.9 sure and nine right.
    answers = predictions_of([[0.9, 0.1], [0.6, 0.4]] * 10, [0, 0] * 5 + [0, 1] * 4 + [1, 1])
    squared = ((0.6 - 0.5) ** 2 - 0.25 / 9 + (0.9 - 0.9) ** 2 - 0.09 / 9) / 2
    assert squared < 0
    assert expected_calibration_error(answers) == 0
    wrong = predictions_of([[0.9, 0.1], [0.6, 0.4]] * 10, [1, 0] * 5 + [1, 1] * 5)
    expected = ((0.6 - 0.5) ** 2 - 0.25 / 9 + 0.9**2) / 2
    assert expected_calibration_error(wrong) == pytest.approx(np.sqrt(expected), abs=1e-6)


def test_calibration_error_of_calibrated_answers_is_unbiased_and_that_of_bins_of_equal_width_is_not():
    rng = np.random.default_rng(0)
    squares = []
    for _ in range(200):
        sure = rng.uniform(0.5, 1, 300)
        right = rng.random(300) < sure
        squares.append(
            expected_calibration_error(predictions_of(np.column_stack([sure, 1 - sure]), 1 - right)) ** 2
        )
    # Cut at 0 the mean is a little above it; undebiased it would be 15 * 0.19 / 300 on average.
    assert np.mean(squares) < 0.4 * 15 * 0.19 / 300


def test_negative_log_likelihood_is_that_of_scikit_learn():
    probabilities, right = [[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.1, 0.8, 0.1]], [0, 1, 1]
    expected = log_loss(right, probabilities, labels=[0, 1, 2])
    assert negative_log_likelihood(predictions_of(probabilities, right)) == pytest.approx(expected, abs=1e-6)
    assert negative_log_likelihood(REGRESSION) is None


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


def test_calibration_of_token_classification_counts_words():
    words = predictions_of([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]], [0, 1, 0], offsets=[0, 1, 3])
    texts = predictions_of([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]], [0, 1, 0])
    assert brier_score(words) == brier_score(texts)
    assert expected_calibration_error(words) == expected_calibration_error(texts)


def test_a_regression_has_no_calibration():
    assert expected_calibration_error(REGRESSION) is None
    assert brier_score(REGRESSION) is None


LABELS = ("bad", "fair", "good")


TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def answers(predicted, right):
    return predictions_of(np.eye(3)[predicted] + 0.1, right)


def test_classes_by_hand():
    found = answers([0, 0, 1, 1, 0], [0, 1, 1, 0, 0])
    assert confusion_matrix(found, LABELS).tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert class_scores(found, LABELS) == (
        ClassScore("bad", 2 / 3, 2 / 3, 2 / 3, 3),
        ClassScore("fair", 1 / 2, 1 / 2, 1 / 2, 2),
        ClassScore("good", 0.0, 0.0, 0.0, 0),
    )


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40))
def test_classes_are_those_of_scikit_learn_and_of_the_metric(pairs):
    predicted, right = zip(*pairs, strict=True)
    found = answers(list(predicted), list(right))
    scores = class_scores(found, LABELS)
    theirs = precision_recall_fscore_support(right, predicted, labels=[0, 1, 2], zero_division=0)
    ours = [(score.precision, score.recall, score.f1, score.support) for score in scores]
    np.testing.assert_allclose(np.array(ours).T, np.array(theirs, dtype=float), atol=1e-12)
    present = [score.f1 for score, name in zip(scores, range(3), strict=True) if name in predicted + right]
    assert METRICS["macro-f1"].of(found, LABELS) == pytest.approx(np.mean(present))


def test_entities_by_hand():
    found = tagged(
        [["B-PER", "I-PER", "O", "B-LOC"], ["B-LOC", "O"]],
        [["B-PER", "I-PER", "O", "B-PER"], ["B-LOC", "I-LOC"]],
        TAGS,
    )
    assert entity_scores(found, TAGS) == (
        ClassScore("LOC", 0.0, 0.0, 0.0, 1),
        ClassScore("PER", 1.0, 0.5, 2 / 3, 2),
    )


sentences = st.lists(
    st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=7),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)
@given(sentences)
def test_entities_are_those_of_seqeval_and_sum_to_the_metric(sentences):
    predicted = [[pair[0] for pair in sentence] for sentence in sentences]
    right = [[pair[1] for pair in sentence] for sentence in sentences]
    found = tagged(predicted, right, TAGS)
    report = (
        classification_report(right, predicted, mode="strict", scheme=IOB2, output_dict=True, zero_division=0)
        if any(tag[0] == "B" for tags in right + predicted for tag in tags)
        else {}
    )
    for score in entity_scores(found, TAGS):
        theirs = report.get(score.name, {"precision": 0, "recall": 0, "f1-score": 0, "support": 0})
        assert (score.precision, score.recall, score.support) == pytest.approx(
            (theirs["precision"], theirs["recall"], theirs["support"])
        )
        assert score.f1 == pytest.approx(theirs["f1-score"])
    if "micro avg" in report:
        assert METRICS["entity-f1"].of(found, TAGS) == pytest.approx(report["micro avg"]["f1-score"])


def test_tags_are_classes_too_word_by_word():
    found = tagged([["O", "B-PER"]], [["O", "B-LOC"]], TAGS)
    scores = {score.name: score for score in class_scores(found, TAGS)}
    assert (scores["O"].f1, scores["B-PER"].f1, scores["B-LOC"].support) == (1.0, 0.0, 1)


def test_labels_that_are_no_tags_have_no_entities():
    with pytest.raises(UsageError, match="'bad'"):
        entity_scores(answers([0], [0]), LABELS)


def test_a_regression_has_no_classes():
    assert class_scores(REGRESSION, ()) is None
    assert confusion_matrix(REGRESSION, ()) is None


def test_selective_risks_are_the_errors_among_the_most_confident():
    # In the order of confidence: right, wrong, right, right, wrong.
    probabilities = [[0.6, 0.4], [0.05, 0.95], [0.1, 0.9], [0.8, 0.2], [0.7, 0.3]]
    predictions = predictions_of(probabilities, [1, 1, 0, 0, 0])
    assert selective_risks(predictions) == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4, 2 / 5])
    assert area_under_risk_coverage(predictions) == pytest.approx((1 / 2 + 1 / 3 + 1 / 4 + 2 / 5) / 5)
    assert risk_at_coverage(predictions) == pytest.approx(1 / 4)  # the four most confident of five
    assert selective_risks(REGRESSION) is None
    assert area_under_risk_coverage(REGRESSION) is None


def test_answers_of_equal_confidence_count_in_proportion_whatever_their_order():
    for references in ([0, 0, 1, 1], [1, 0, 1, 0], [1, 1, 0, 0]):
        risks = selective_risks(predictions_of([[0.9, 0.1]] * 4, references))
        assert risks == pytest.approx([1 / 2] * 4)

"""Several labels per text: metrics, diagnostics and thresholds equal their definitions and scikit-learn's."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
)

from kdbench.api.predictions import Predictions
from kdbench.errors import KdbenchError
from kdbench.evaluation.diagnostics import (
    brier_score,
    class_scores,
    confusion_matrix,
    expected_calibration_error,
    label_loyalty,
    negative_log_likelihood,
    probability_loyalty,
    select_examples,
)
from kdbench.evaluation.metrics import METRICS
from kdbench.evaluation.thresholds import (
    LEAST_EXAMPLES,
    f1_threshold,
    f1_thresholds,
    with_thresholds_chosen,
)

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

LABELS = ("story", "music", "actor", "cats")


def several(logits, references, thresholds=None) -> Predictions:
    logits = np.asarray(logits, dtype=np.float32)
    thresholds = np.zeros(logits.shape[1]) if thresholds is None else thresholds
    references = np.asarray(references, dtype=np.int64)
    return Predictions(
        np.arange(len(logits)), logits, references, thresholds=np.asarray(thresholds, dtype=np.float32)
    )


def drawn(seed=0, texts=80):
    rng = np.random.default_rng(seed)
    references = (rng.random((texts, 4)) < [0.5, 0.3, 0.2, 0.1]).astype(np.int64)
    references[:4] = np.eye(4)
    # Rounded, so that many logits are equal.
    logits = np.round(2 * references - 1 + rng.normal(size=references.shape), 1)
    return several(logits, references, [0.0, 0.5, -0.5, 0.2])


def test_a_label_is_given_where_its_logit_exceeds_its_threshold():
    predictions = several([[0.4, 0.4, -1.0], [0.6, 0.2, 0.0]], [[1, 0, 0], [0, 0, 1]], [0.5, 0.3, -0.5])
    assert predictions.predicted.tolist() == [[0, 1, 0], [1, 0, 1]]
    assert not predictions.is_classification
    decisions = predictions.decisions
    assert decisions.predicted.tolist() == [0, 1, 0, 1, 0, 1]
    assert decisions.references.tolist() == [1, 0, 0, 0, 0, 1]
    assert decisions.offsets.tolist() == [0, 3, 6]
    assert decisions.probabilities[:, 1] == pytest.approx(expit(predictions.logits.ravel()))


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_scikit_learn(seed):
    predictions = drawn(seed)
    y, p = predictions.references, predictions.predicted
    expected = {
        "micro-f1": f1_score(y, p, average="micro"),
        "macro-f1": f1_score(y, p, average="macro"),
        "map": average_precision_score(y, predictions.logits, average="macro"),
    }
    found = {name: METRICS[name].of(predictions, LABELS) for name in expected}
    assert found == pytest.approx(expected, abs=1e-12)


def test_metrics_by_hand():
    predictions = several([[3.0, -1.0], [2.0, 1.0], [1.0, -2.0]], [[1, 0], [0, 0], [1, 0]])
    assert METRICS["micro-f1"].of(predictions, LABELS[:2]) == pytest.approx(2 * 2 / (4 + 2))
    assert METRICS["macro-f1"].of(predictions, LABELS[:2]) == pytest.approx((4 / 5 + 0) / 2)
    # The texts with the first label rank first and third; no text has the second, which does not count.
    assert METRICS["map"].of(predictions, LABELS[:2]) == pytest.approx((1 + 2 / 3) / 2)
    assert METRICS["map"].of(several([[1.0]], [[0]]), LABELS[:1]) == 0.0


def test_mean_average_precision_of_a_resample_is_that_of_its_texts():
    predictions, metric = drawn(texts=60), METRICS["map"]
    rows = np.random.default_rng(1).integers(60, size=(20, 60))
    counts = np.stack([np.bincount(row, minlength=60) for row in rows]).astype(np.float64)
    expected = [
        metric.of(
            replace(predictions, logits=predictions.logits[row], references=predictions.references[row]),
            LABELS,
        )
        for row in rows
    ]
    assert metric.rescore(counts, metric.statistics(predictions, LABELS)) == pytest.approx(expected)


def test_scores_by_label_equal_scikit_learn():
    predictions = drawn()
    scores = class_scores(predictions, LABELS)
    expected = precision_recall_fscore_support(predictions.references, predictions.predicted)
    found = [(score.precision, score.recall, score.f1, score.support) for score in scores]
    np.testing.assert_allclose(found, np.transpose(expected))
    assert [score.name for score in scores] == list(LABELS)
    assert confusion_matrix(predictions, LABELS) is None


def test_probabilities_are_judged_label_by_label():
    predictions = drawn()
    truth, sigmoids = predictions.references.ravel(), expit(predictions.logits.astype(np.float64)).ravel()
    assert negative_log_likelihood(predictions) == pytest.approx(log_loss(truth, sigmoids))
    assert brier_score(predictions) == pytest.approx(2 * brier_score_loss(truth, sigmoids))
    # 400 answers that are right in four of five cases, with the probability of 0.8.
    logit = float(np.log(4))
    references = np.tile([[1], [1], [1], [1], [0]], (80, 1))
    assert expected_calibration_error(several([[logit]] * 400, references)) == pytest.approx(0, abs=0.02)


def test_loyalty_counts_the_labels_that_both_models_decide_alike():
    student = several([[1.0, -1.0], [1.0, 1.0]], [[1, 0], [0, 1]])
    teacher = several([[1.0, 1.0], [1.0, 1.0]], [[1, 0], [0, 1]], [2.0, 0.0])
    assert label_loyalty(student, teacher) == 1 / 4
    assert probability_loyalty(student, student) == pytest.approx(1)
    other_order = select_examples(teacher, np.array([1, 0]))
    assert label_loyalty(student, other_order) == 1 / 4


def test_thresholds_are_stored_with_the_predictions(tmp_path):
    predictions = drawn()
    predictions.save(tmp_path / "a.safetensors")
    loaded = Predictions.load(tmp_path / "a.safetensors")
    assert loaded.thresholds.tolist() == pytest.approx([0.0, 0.5, -0.5, 0.2])
    assert np.array_equal(loaded.predicted, predictions.predicted)


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"thresholds": [0.0, 0.0]}, "the thresholds must be finite and 1"),
        ({"thresholds": [np.nan]}, "the thresholds must be finite"),
        ({"references": [[2], [0]]}, "zeros and ones"),
        ({"references": [[1, 0], [0, 0]]}, "zeros and ones"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays, problem):
    given = {"logits": [[1.0], [2.0]], "references": [[1], [0]], "thresholds": [0.0], **arrays}
    with pytest.raises(KdbenchError, match=problem):
        several(**given)


@pytest.mark.parametrize("seed", range(5))
def test_a_threshold_has_the_best_f1_of_all(seed):
    rng = np.random.default_rng(seed)
    positive = rng.random(60) < 0.3
    logits = np.round(rng.normal(size=60) + positive, 1).astype(np.float32)
    chosen = f1_threshold(logits, positive)
    tried = [f1_score(positive, logits > threshold) for threshold in [-9.0, 0.0, *(np.unique(logits) + 0.05)]]
    assert f1_score(positive, logits > chosen) == pytest.approx(max(tried))


def test_of_equally_good_thresholds_the_one_nearest_to_zero_is_chosen():
    positive = np.arange(20) >= 10
    assert f1_threshold(np.where(positive, 2.0, -2.0).astype(np.float32), positive) == 0.0
    assert f1_threshold(np.where(positive, 4.0, 2.0).astype(np.float32), positive) == 3.0


def test_a_label_of_too_few_texts_keeps_the_threshold_zero():
    references = np.zeros((20, 2), dtype=np.int64)
    references[:LEAST_EXAMPLES, 0] = 1
    references[: LEAST_EXAMPLES - 1, 1] = 1
    logits = np.where(references == 1, -1.0, -3.0)
    assert f1_thresholds(several(logits, references)) == (-2.0, 0.0)


def test_a_validation_is_scored_at_its_best_thresholds():
    references = np.tile([[1, 0], [0, 1], [0, 0], [0, 0]], (10, 1))
    shy = several(
        references - 3.0, references
    )  # ranks perfectly, and gives no label at a probability of one half
    assert METRICS["micro-f1"].of(shy, LABELS[:2]) == 0.0
    assert METRICS["micro-f1"].of(with_thresholds_chosen(shy), LABELS[:2]) == 1.0
    classes = Predictions(np.arange(2), np.eye(2, dtype=np.float32), np.array([0, 1]))
    assert with_thresholds_chosen(classes) is classes

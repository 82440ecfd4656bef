import numpy as np
import pytest
from helpers.predicted import REGRESSION, predictions_of, tagged
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.scheme import IOB2
from sklearn.metrics import precision_recall_fscore_support

from kdbench.errors import UsageError
from kdbench.evaluation.diagnostics import ClassScore, class_scores, confusion_matrix, entity_scores
from kdbench.evaluation.metrics import METRICS

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

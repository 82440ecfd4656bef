from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from kdbench.api.metric import check_suits, get_metric
from kdbench.api.predictions import Predictions
from kdbench.api.task import TaskKind
from kdbench.errors import UsageError
from kdbench.evaluation.metrics import METRICS

# A score out of 0/0 with a warning on standard error would not be a convention but an accident.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

IOB2 = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def classified(predicted, references, classes: int) -> tuple[Predictions, tuple[str, ...]]:
    references = np.asarray(references, dtype=np.int64)
    logits = np.eye(classes, dtype=np.float32)[np.asarray(predicted)]
    return Predictions(np.arange(len(references)), logits, references), tuple("abcdefgh"[:classes])


def regressed(predicted, references) -> Predictions:
    values, targets = (np.asarray(side, dtype=np.float32) for side in (predicted, references))
    return Predictions(np.arange(len(values)), values[:, None], targets)


SECOND_OPINIONS = {
    "accuracy": sklearn.metrics.accuracy_score,
    "f1": lambda y, p: sklearn.metrics.f1_score(y, p, zero_division=0),
    "macro-f1": lambda y, p: sklearn.metrics.f1_score(y, p, average="macro", zero_division=0),
    "matthews": sklearn.metrics.matthews_corrcoef,
    "pearson": lambda y, p: scipy.stats.pearsonr(y, p).statistic,
    "spearman": lambda y, p: scipy.stats.spearmanr(y, p).statistic,
}
CLASS_CASES = [
    ("accuracy", 2),
    ("accuracy", 5),
    ("f1", 2),
    ("macro-f1", 2),
    ("macro-f1", 5),
    ("matthews", 2),
    ("matthews", 5),
]


@pytest.mark.parametrize(("name", "classes"), CLASS_CASES)
@pytest.mark.parametrize("seed", range(5))
def test_class_metrics_equal_scikit_learn(name, classes, seed):
    rng = np.random.default_rng(seed)
    references = rng.integers(classes, size=50)
    predicted = np.where(rng.random(50) < 0.6, references, rng.integers(classes, size=50))
    predictions, labels = classified(predicted, references, classes)
    expected = SECOND_OPINIONS[name](references, predicted)
    assert METRICS[name].of(predictions, labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.filterwarnings("ignore:A single label was found")
@pytest.mark.parametrize(("name", "classes"), CLASS_CASES)
@pytest.mark.parametrize(
    ("predicted", "references"),
    [
        ([0, 0, 0], [0, 0, 0]),
        ([1, 1, 1], [1, 1, 1]),
        ([0, 0, 0], [1, 1, 1]),
        ([1, 1, 1], [0, 0, 0]),
        ([0, 0, 0], [0, 1, 1]),
        ([0, 1, 1], [0, 0, 0]),
        ([1], [1]),
    ],
)
def test_one_class_alone_scores_as_in_scikit_learn(name, classes, predicted, references):
    predictions, labels = classified(predicted, references, classes)
    expected = SECOND_OPINIONS[name](references, predicted)
    assert METRICS[name].of(predictions, labels) == pytest.approx(expected, abs=1e-12)


def test_class_metrics_by_hand():
    # Positives: 2 right, 1 too many, 1 missed; the others: 1 right.
    predictions, labels = classified([1, 1, 1, 0, 0], [1, 1, 0, 1, 0], 2)
    assert METRICS["accuracy"].of(predictions, labels) == pytest.approx(3 / 5)
    assert METRICS["f1"].of(predictions, labels) == pytest.approx(2 / 3)
    assert METRICS["macro-f1"].of(predictions, labels) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert METRICS["matthews"].of(predictions, labels) == pytest.approx((2 * 1 - 1 * 1) / 6)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
@pytest.mark.parametrize("seed", range(5))
def test_correlations_equal_scipy(name, seed):
    rng = np.random.default_rng(seed)
    references = rng.integers(0, 11, size=60).astype(np.float32) / 2
    predicted = (references + rng.normal(size=60)).round(1).astype(np.float32)
    expected = SECOND_OPINIONS[name](references.astype(np.float64), predicted.astype(np.float64))
    assert METRICS[name].of(regressed(predicted, references), ()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "map"])  # a ranking is never all wrong
def test_all_right_scores_the_most_of_the_range_and_all_wrong_the_least(name):
    metric = METRICS[name]
    if TaskKind.SEQUENCE_REGRESSION in metric.kinds:
        best, worst, labels = regressed([1, 2, 3], [1, 2, 3]), regressed([3, 2, 1], [1, 2, 3]), ()
    elif name == "micro-f1":
        settings = {"references": np.eye(2, dtype=np.int64), "thresholds": np.zeros(2, dtype=np.float32)}
        sides = np.eye(2, dtype=np.float32), -np.eye(2, dtype=np.float32)
        best, worst = (Predictions(np.arange(2), side, **settings) for side in sides)
        labels = ("story", "music")
    else:
        (best, _), (worst, _) = classified([0, 1], [0, 1], 2), classified([1, 0], [0, 1], 2)
        best, worst = (replace(side, offsets=np.array([0, 1, 2])) for side in (best, worst))
        labels = ("O", "B-PER")
    assert (metric.of(worst, labels), metric.of(best, labels)) == pytest.approx(metric.score_range)


def test_pearson_keeps_its_digits_far_from_zero_and_when_predictions_hardly_differ():
    rng = np.random.default_rng(0)
    references = rng.normal(size=100).astype(np.float32)
    predicted = (3.0 + 1e-6 * rng.normal(size=100)).astype(np.float32)
    predicted[0] = 3.00001
    expected = SECOND_OPINIONS["pearson"](references.astype(np.float64), predicted.astype(np.float64))
    assert METRICS["pearson"].of(regressed(predicted, references), ()) == pytest.approx(expected, abs=1e-9)


def test_a_perfect_and_an_inverted_order_have_rank_correlation_one_and_minus_one():
    spearman = METRICS["spearman"]
    assert spearman.of(regressed([1, 10, 100], [1, 2, 3]), ()) == pytest.approx(1.0)
    assert spearman.of(regressed([-1, -10, -100], [1, 2, 3]), ()) == pytest.approx(-1.0)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
@pytest.mark.parametrize(
    ("predicted", "references"),
    [([0.1, 0.1, 0.1], [1, 2, 3]), ([1, 2, 3], [0.3, 0.3, 0.3]), ([0.1] * 3, [0.3] * 3), ([1], [2])],
)
def test_a_constant_side_has_no_correlation(name, predicted, references):
    assert METRICS[name].of(regressed(predicted, references), ()) == 0.0


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_a_resample_of_one_example_over_and_over_has_no_correlation(name):
    metric = METRICS[name]
    rng = np.random.default_rng(0)
    statistics = metric.statistics(regressed(rng.normal(size=50), rng.normal(size=50)), ())
    for count in (2, 3, 7, 50):
        assert (metric.score(count * statistics) == 0.0).all()


@pytest.mark.parametrize("name", ["accuracy", "f1", "macro-f1", "matthews", "pearson"])
def test_sums_over_a_resample_give_the_score_of_the_resample(name):
    rng = np.random.default_rng(1)
    references, predicted = rng.integers(2, size=(2, 40))
    predictions, labels = classified(predicted, references, 2)
    if name == "pearson":
        predictions, labels = regressed(references + rng.normal(size=40), references), ()
    metric = METRICS[name]
    statistics = metric.statistics(predictions, labels)
    drawn = rng.integers(40, size=(30, 40))
    resamples = [
        replace(predictions, logits=predictions.logits[rows], references=predictions.references[rows])
        for rows in drawn
    ]
    expected = [metric.of(resample, labels) for resample in resamples]
    np.testing.assert_allclose(metric.score(statistics[drawn].sum(axis=1)), expected, atol=1e-12)


def test_spearman_of_a_resample_is_ranked_again_with_its_ties():
    rng = np.random.default_rng(2)
    references = rng.integers(0, 6, size=60).astype(np.float32)
    predictions = regressed(np.round(references + rng.normal(size=60), 1), references)
    spearman = METRICS["spearman"]
    drawn = rng.integers(60, size=(20, 60))
    counts = np.stack([np.bincount(row, minlength=60) for row in drawn]).astype(np.float64)
    exact = [
        SECOND_OPINIONS["spearman"](predictions.references[row], predictions.predicted[row]) for row in drawn
    ]
    found = spearman.rescore(counts, spearman.statistics(predictions, ()))
    assert found == pytest.approx(exact)
    assert spearman.own_rescore is not None
    assert METRICS["accuracy"].own_rescore is None


def test_accuracy_of_tags_counts_words_and_keeps_sentences_apart():
    # Sentences of two, no and three words, of which two, none and one are right.
    predictions, labels = classified([0, 1, 0, 0, 2], [0, 1, 1, 0, 1], 3)
    sentences = replace(predictions, ids=np.arange(3), offsets=np.array([0, 2, 2, 5]))
    accuracy = METRICS["accuracy"]
    assert accuracy.statistics(sentences, labels).tolist() == [[2, 2], [0, 0], [1, 3]]
    assert accuracy.of(sentences, labels) == pytest.approx(3 / 5)


def test_an_unknown_metric_is_told_with_the_nearest_name():
    with pytest.raises(UsageError, match=r"unknown metric 'acuracy' \(did you mean 'accuracy'\?\)"):
        get_metric("acuracy", METRICS)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("kind", TaskKind)
def test_a_metric_serves_its_kinds_alone_and_names_those_that_serve_another(name, kind):
    labels = {
        TaskKind.SEQUENCE_CLASSIFICATION: ("no", "yes"),
        TaskKind.SEQUENCE_REGRESSION: (),
        TaskKind.TOKEN_CLASSIFICATION: IOB2,
        TaskKind.MULTI_LABEL_CLASSIFICATION: ("story", "music"),
    }[kind]
    if kind in METRICS[name].kinds:
        check_suits(name, kind, METRICS)
        METRICS[name].check_labels(labels)
        return
    with pytest.raises(UsageError, match=f"'{name}' does not suit a {kind} task; choose one of ") as caught:
        check_suits(name, kind, METRICS)
    for suggested in str(caught.value).rpartition("choose one of ")[2].split(", "):
        check_suits(suggested, kind, METRICS)
        METRICS[suggested].check_labels(labels)


def test_f1_of_three_classes_points_to_macro_f1():
    predictions, labels = classified([0, 1, 2], [0, 1, 1], 3)
    with pytest.raises(UsageError, match="'f1' needs two labels, but there are 3; use 'macro-f1'"):
        METRICS["f1"].check_labels(labels)
    with pytest.raises(UsageError, match="macro-f1"):
        METRICS["f1"].of(predictions, labels)


def test_entity_f1_refuses_labels_that_are_no_iob2_tags():
    with pytest.raises(UsageError, match="'E-PER'"):
        METRICS["entity-f1"].check_labels(("O", "B-PER", "E-PER"))

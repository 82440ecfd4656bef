import math

import numpy as np
import pytest
from kdbench_plugins._probe_fits import logistic_fits, multi_label_fits, ridge_fits


def test_ridge_of_two_points_is_that_of_the_formula():
    # Standardized: x = -1, 1 for y = 0, 2, so that the slope is 1 / (1 + penalty).
    features, targets = np.array([[0.0], [10.0]], np.float32), np.array([0.0, 2.0], np.float32)
    for penalty, (weights, bias) in zip((1.0, 3.0), ridge_fits(features, targets, (1.0, 3.0)), strict=True):
        slope = 1 / (1 + penalty)
        assert weights == pytest.approx(np.array([[slope / 5]]))
        assert bias == pytest.approx([1 - slope])


def test_logistic_regression_of_two_points_is_that_of_the_formula():
    # The loss log(1 + exp(-w)) + penalty w² / 2 is least at w = 1 where the penalty is 1 / (1 + e).
    features, labels = np.array([[-3.0], [5.0]], np.float32), np.array([0, 1])
    ((weights, bias),) = logistic_fits(features, labels, (1 / (1 + math.e),), 2)
    logits = features @ weights.T + bias
    assert logits == pytest.approx(np.array([[0.5, -0.5], [-0.5, 0.5]]), abs=1e-3)


def test_a_class_without_an_example_is_never_answered():
    draw = np.random.default_rng(0)
    features = draw.normal(size=(60, 3)).astype(np.float32)
    labels = np.array([0, 2, 3])[features.argmax(axis=1)]
    ((weights, bias),) = logistic_fits(features, labels, (0.01,), 5)
    assert weights.shape == (5, 3)
    far = draw.normal(size=(1000, 3)) * 20
    answered = (far @ weights.T + bias).argmax(axis=1)
    assert set(answered) == {0, 2, 3}
    assert ((features @ weights.T + bias).argmax(axis=1) == labels).mean() > 0.9


def test_a_smaller_penalty_gives_larger_weights_and_a_closer_fit():
    draw = np.random.default_rng(1)
    features = draw.normal(size=(200, 4)).astype(np.float32) * [1, 10, 0.1, 1] + 5
    labels = (features[:, 0] + draw.normal(size=200) > 5).astype(int)
    fits = list(logistic_fits(features, labels, (1.0, 0.1, 0.01), 2))
    losses, sizes = [], []
    for weights, bias in fits:
        logits = features @ weights.T + bias
        losses.append(np.mean(np.logaddexp(0, -np.where(labels == 1, 1, -1) * (logits[:, 1] - logits[:, 0]))))
        sizes.append(np.square(weights * features.std(axis=0)).sum())
    assert losses == sorted(losses, reverse=True)
    assert sizes == sorted(sizes)


def test_a_constant_feature_does_not_matter():
    features = np.array([[0.0, 7.0], [1.0, 7.0], [2.0, 7.0]], np.float32)
    ((weights, bias),) = ridge_fits(features, np.array([0.0, 1.0, 2.0], np.float32), (1e-6,))
    assert weights == pytest.approx(np.array([[1.0, 0.0]]), abs=1e-4)
    assert bias == pytest.approx([0.0], abs=1e-4)


def test_each_of_several_labels_has_its_own_logistic_regression():
    # As above: of two points the logit of a label is ±1 where the penalty is 1 / (1 + e); nobody and all have the others.
    features, labels = np.array([[-3.0], [5.0]], np.float32), np.array([[0, 0, 1], [1, 0, 1]])
    ((weights, bias),) = multi_label_fits(features, labels, (1 / (1 + math.e),))
    logits = features @ weights.T + bias
    assert logits[:, 0] == pytest.approx([-1.0, 1.0], abs=1e-3)
    assert (logits[:, 1] < -10).all()
    assert (logits[:, 2] > 10).all()

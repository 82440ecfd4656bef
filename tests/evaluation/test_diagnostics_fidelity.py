import math

import numpy as np
import pytest
from helpers.predicted import REGRESSION, predictions_of
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from kdbench.errors import KdbenchError
from kdbench.evaluation.diagnostics import label_loyalty, probability_loyalty

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

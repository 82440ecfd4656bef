import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.api.predictions import Predictions
from kdbench.errors import KdbenchError
from kdbench.evaluation.diagnostics import same_units, select_examples


def sentences(lengths, ids):
    """Return predictions whose unit j of example i has the logits (i, j)."""
    units = [(number, place) for number, length in zip(ids, lengths, strict=True) for place in range(length)]
    return Predictions(
        ids=np.array(ids, dtype=np.int64),
        logits=np.array(units, dtype=np.float32).reshape(-1, 2),
        references=np.array([place % 2 for _, place in units], dtype=np.int64),
        offsets=np.cumsum([0, *lengths]),
    )


def test_texts_are_taken_in_the_order_asked_for():
    answers = Predictions(
        np.array([7, 3, 5]), np.array([[0, 7], [0, 3], [0, 5]], dtype=np.float32), np.array([1, 0, 1])
    )
    chosen = select_examples(answers, np.array([5, 7]))
    assert chosen.ids.tolist() == [5, 7]
    assert chosen.logits[:, 1].tolist() == [5, 7]
    assert chosen.references.tolist() == [1, 1]


@given(st.data())
def test_a_sentence_keeps_its_words_wherever_it_goes(data):
    lengths = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=6))
    ids = data.draw(st.permutations(range(10, 10 + len(lengths))))
    chosen = data.draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))
    selected = select_examples(sentences(lengths, ids), np.array(chosen))
    expected = [(number, place) for number in chosen for place in range(lengths[ids.index(number)])]
    assert selected.logits.tolist() == [list(unit) for unit in expected]
    assert np.diff(selected.offsets).tolist() == [lengths[ids.index(number)] for number in chosen]


def test_an_example_without_a_prediction_is_named():
    with pytest.raises(KdbenchError, match="no prediction for example 8 and 1 more"):
        select_examples(sentences([1, 2], [4, 5]), np.array([4, 8, 9]))


def test_two_models_answers_are_brought_into_one_order():
    ordered = same_units(sentences([2, 1], [3, 4]), sentences([1, 2], [4, 3]))
    assert ordered.ids.tolist() == [3, 4]
    assert ordered.logits.tolist() == [[3, 0], [3, 1], [4, 0]]


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        (sentences([2], [3]), "predictions for 2 examples cannot be compared with those for 1"),
        (sentences([2, 1], [3, 9]), "no prediction for example 4"),
        (sentences([2, 2], [3, 4]), "different labels"),
    ],
)
def test_answers_to_other_questions_are_refused(other, complaint):
    with pytest.raises(KdbenchError, match=complaint):
        same_units(sentences([2, 1], [3, 4]), other)

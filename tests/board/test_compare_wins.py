import numpy as np
import pytest

from kdbench.api.predictions import Predictions
from kdbench.board.compare import Wins, count_wins
from kdbench.board.predictions import Scored
from kdbench.evaluation.metrics import METRICS


def scored(metric, labels, predictions):
    """Return the answers of one row, seed 0 upward."""
    statistics = np.stack([METRICS[metric].statistics(one, labels) for one in predictions])
    ids = np.sort(predictions[0].ids)
    return Scored(
        METRICS[metric], labels, tuple(range(len(predictions))), ids, statistics, tuple(predictions)
    )


def classes(answers, right, ids=None, offsets=None):
    logits = np.eye(2, dtype=np.float32)[answers]
    ids = np.arange(len(right)) if ids is None else np.array(ids)
    return Predictions(ids, logits, np.array(right), None if offsets is None else np.array(offsets))


def test_classes_by_hand_each_seed_counted():
    right = [0, 0, 1, 1]
    a = scored("accuracy", ("n", "y"), [classes([0, 0, 1, 0], right), classes([0, 0, 1, 1], right)])
    b = scored("accuracy", ("n", "y"), [classes([0, 1, 0, 1], right), classes([1, 0, 1, 1], right)])
    assert count_wins(a, b, [0]) == Wins(wins=2, ties=1, losses=1)
    assert count_wins(a, b, [0, 1]) == Wins(wins=3, ties=4, losses=1)
    assert count_wins(b, a, [0, 1]) == Wins(wins=1, ties=4, losses=3)
    assert count_wins(a, b, []) is None


def test_examples_are_matched_by_their_ids():
    a = scored("accuracy", ("n", "y"), [classes([0, 1], [0, 0], ids=[5, 7])])
    b = scored("accuracy", ("n", "y"), [classes([1, 0], [0, 0], ids=[7, 5])])
    assert count_wins(a, b, [0]) == Wins(wins=0, ties=2, losses=0)


def test_a_sentence_is_right_where_all_its_words_are():
    right, offsets = [0, 1, 1, 0], [0, 2, 4]
    a = scored("accuracy", ("n", "y"), [classes([0, 1, 0, 1], right, ids=[0, 1], offsets=offsets)])
    b = scored("accuracy", ("n", "y"), [classes([0, 0, 1, 1], right, ids=[0, 1], offsets=offsets)])
    # Only a has the first sentence right; of the second both miss a word, b one less: neither is right.
    assert count_wins(a, b, [0]) == Wins(wins=1, ties=1, losses=0)


@pytest.mark.parametrize(("own", "other", "wins"), [(1.4, 2.0, 1), (0.6, 1.4, 0), (0.0, 1.4, -1)])
def test_in_regression_the_nearer_is_better(own, other, wins):
    a, b = (
        scored(
            "pearson",
            (),
            [
                Predictions(
                    np.arange(1), np.array([[value]], dtype=np.float32), np.array([1.0], dtype=np.float32)
                )
            ],
        )
        for value in (own, other)
    )
    found = count_wins(a, b, [0])
    assert found.wins - found.losses == pytest.approx(wins)

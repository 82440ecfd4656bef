"""What an example answers, held beside what was scored."""

from types import SimpleNamespace

import numpy as np
import pytest
from datasets import Dataset
from torch import nn

from kdbench.api.kinds import TaskKind
from kdbench.api.predictions import Predictions
from kdbench.errors import KdbenchError
from kdbench.evaluation.metrics import METRICS
from kdbench.export.answers import Answered, Asked, compare

CLASSES = np.array([[2.0, -1.0], [0.5, 1.0], [-3.0, 3.0]], dtype=np.float32)
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
WORDS = [["Anna", "van", "Dyk", "left", "U.S.", "."], ["So", "it", "goes"]]
EMPTY = Dataset.from_dict({"length": [0, 0]})
PREDICTED = [1, 2, 2, 0, 3, 0, 0, 0, 4]  # the last continues nothing


def compared(kind, labels, predictions, answers, *, words=(), rows=None, exact=True, metric="accuracy"):
    texts = [f"text {i}" for i in range(len(predictions))]
    task = SimpleNamespace(task=SimpleNamespace(kind=kind, labels=labels))
    asked = Asked(texts, list(words), rows, predictions)
    return compare(asked, answers, task, METRICS[metric], nn.Linear(1, 1), exact=exact)


def classified(answers, **settings):
    predictions = Predictions(np.arange(3), CLASSES, np.array([0, 1, 1]))
    return compared(TaskKind.SEQUENCE_CLASSIFICATION, ("no", "yes"), predictions, answers, **settings)


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def in_pipeline(scores):
    return [[{"label": ("no", "yes")[row.argmax()], "score": float(row.max())}] for row in scores]


@pytest.mark.parametrize(
    "answers",
    [
        in_pipeline(softmax(CLASSES)),
        [answer[0] for answer in in_pipeline(softmax(CLASSES))],  # pairs
        ["no", "yes", "yes"],
    ],
)
def test_the_scored_classes_in_any_form_are_the_same(answers):
    assert classified(answers) == Answered(3, 3)


@pytest.mark.parametrize(
    "answers",
    [
        in_pipeline(1 / (1 + np.exp(-CLASSES))),  # what problem_type = multi_label_classification gives
        ["yes", "no", "yes"],
        [[{"label": "LABEL_0", "score": 0.95}]] * 3,
    ],
)
def test_an_example_that_answers_otherwise_is_refused_or_where_allowed_counted(answers):
    with pytest.raises(
        KdbenchError, match=r"answers [23] of 3 scored texts otherwise than was scored, such as 'text"
    ):
        classified(answers)
    assert classified(answers, exact=False).same <= 1


def test_a_single_text_may_be_rounded_otherwise():
    assert classified(["no", "no", "yes"]) == Answered(3, 2)


@pytest.mark.parametrize("answers", [[[{"label": "LABEL_0", "score": 1.5}]], [{"value": 1.5}], [1.5]])
def test_values_are_compared(answers):
    predictions = Predictions(np.arange(1), np.array([[1.5]], np.float32), np.array([2.0], np.float32))
    kind = TaskKind.SEQUENCE_REGRESSION
    assert compared(kind, (), predictions, answers, metric="pearson") == Answered(1, 1)


def tagged(answers, rows=None):
    logits = np.eye(5, dtype=np.float32)[PREDICTED]
    references = np.array([1, 2, 2, 0, 3, 0, 0, 0, 0])
    predictions = Predictions(np.arange(2), logits, references, np.array([0, 6, 9]))
    kind = TaskKind.TOKEN_CLASSIFICATION
    return compared(kind, TAGS, predictions, answers, words=WORDS, rows=rows or EMPTY, metric="entity-f1")


def entity(label, start, end):
    return {"entity_group": label, "score": 0.9, "word": "?", "start": start, "end": end}


def test_entities_of_a_pipeline_are_found_at_their_words():
    same = [[entity("PER", 0, 12), entity("LOC", 18, 22)], []]
    assert tagged(same) == Answered(2, 2, 1.0, 1.0)
    # A byte-level tokenizer counts the blank before a word to it.
    assert tagged([[entity("PER", 0, 12), entity("LOC", 17, 22)], []]) == Answered(2, 2, 1.0, 1.0)
    # A pipeline takes an I- that continues nothing for an entity.
    assert tagged([same[0], [entity("LOC", 6, 10)]]) == Answered(2, 1, pytest.approx(0.8), 1.0)
    # The first word lost, as by a tokenizer without the space before it: the card states both scores.
    assert tagged([[entity("LOC", 18, 22)], []]) == Answered(2, 1, pytest.approx(2 / 3), 1.0)
    assert tagged([{"words": [], "entities": [{"label": "PER", "start": 0, "end": 12}]}, []]).same == 1


def test_tags_of_pieces_are_those_of_the_first_of_each_word():
    labels = [[-100, 0, 0, -100, 0, 0, 0, 0, -100], [-100, 0, 0, 0, -100]]
    rows = Dataset.from_dict({"labels": labels, "length": [9, 5]})
    pieces = [["piece", TAGS[tag]] for tag in (1, 2, 0, 2, 0, 3, 0)]  # the third continues "van"
    assert tagged([pieces, [["so", "O"], ["it", "O"], ["goes", "I-LOC"]]], rows) == Answered(2, 2, 1.0, 1.0)
    assert tagged([pieces[1:], [["so", "O"]]], rows).same == 1

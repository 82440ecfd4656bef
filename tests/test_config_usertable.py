import pytest
from pydantic import ValidationError

from kdbench.api.task import TaskKind
from kdbench.config import TaskTable


def test_columns_and_metric_follow_the_kind_where_the_table_is_silent():
    table = TaskTable(train="a.csv")
    assert (table.kind, table.text_columns, table.label_column, table.headline) == (
        TaskKind.SEQUENCE_CLASSIFICATION,
        ("text",),
        "label",
        "accuracy",
    )
    tokens = TaskTable(train="a.jsonl", kind="token-classification")
    assert (tokens.text_columns, tokens.label_column, tokens.headline) == (("tokens",), "tags", "entity-f1")
    assert TaskTable(train="a.csv", kind="sequence-regression").headline == "pearson"


def test_two_columns_make_a_pair():
    assert TaskTable(train="a.csv", text=["title", "body"]).text_columns == ("title", "body")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "name the training file as train, or a hub data set as dataset"),
        ({"train": "a.csv", "text": ["a", "b", "c"]}, "text"),
        ({"train": "a.csv", "txt": "body"}, "Extra inputs are not permitted"),
        ({"train": "a.csv", "kind": "ranking"}, "'sequence-classification', 'sequence-regression'"),
        ({"train": "a.conll", "kind": "token-classification", "text": ["a", "b"]}, "one column of words"),
        ({"train": "a.csv", "kind": "sequence-regression", "labels": ["a"]}, "leave labels out"),
    ],
)
def test_an_impossible_table_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        TaskTable.model_validate(settings)

import csv
import json

import pandas as pd
import pytest

import kdbench
from kdbench.errors import UsageError
from kdbench.export.predict import predict_file

pytestmark = pytest.mark.slow

LORA = ("lora[r=2]", "toy-sentiment")
TEXTS = ["a good film", "awful, and\nboring", '"weak" music', "=1+1"]


@pytest.fixture(scope="module")
def model(exported):
    return kdbench.load(exported(*LORA).folder)


@pytest.fixture(params=[".csv", ".tsv", ".jsonl"])
def source(tmp_path, request):
    path = tmp_path / f"in{request.param}"
    table = pd.DataFrame({"id": range(4), "text": TEXTS, "-note": ["", "@x", "y", None]})
    if request.param == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_dict("records")))
    else:
        table.to_csv(path, index=False, sep="," if request.param == ".csv" else "\t")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_rows_keep_their_order_and_columns_whatever_the_form(model, source, tmp_path, suffix):
    target = tmp_path / f"out{suffix}"
    assert predict_file(model, source, target) == 4
    if suffix == ".jsonl":
        rows = [json.loads(line) for line in target.read_text().splitlines()]
        assert [row["text"] for row in rows] == TEXTS
    else:
        with target.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="," if suffix == ".csv" else "\t"))
        assert [row["text"] for row in rows] == [*TEXTS[:3], "'=1+1"]  # shown, never run
        assert "'-note" in rows[0]
        assert rows[1]["'-note"] == "'@x"
    assert [str(row["id"]) for row in rows] == ["0", "1", "2", "3"]
    expected = model.predict(TEXTS)
    assert [row["predicted_label"] for row in rows] == [answer.label for answer in expected]
    assert [float(row["predicted_score"]) for row in rows] == pytest.approx(
        [answer.score for answer in expected]
    )


def test_another_column_may_hold_the_text(model, tmp_path):
    (tmp_path / "in.csv").write_text("review,text\ngood film,x\n")
    predict_file(model, tmp_path / "in.csv", tmp_path / "out.jsonl", ("review",))
    (row,) = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert row["predicted_score"] == pytest.approx(model.predict(["good film"])[0].score)


def test_entities_fit_into_a_cell(exported, tmp_path):
    tagger = kdbench.load(exported("hard-labels[layers=2]", "toy-tags").folder)
    (tmp_path / "in.csv").write_text("text\nanna was in new york\n")
    predict_file(tagger, tmp_path / "in.csv", tmp_path / "out.csv")
    row = pd.read_csv(tmp_path / "out.csv").iloc[0]
    (answer,) = tagger.predict(["anna was in new york"])
    assert json.loads(row["predicted_tags"]) == list(answer.tags)
    assert [entity["text"] for entity in json.loads(row["predicted_entities"])] == [
        entity.text for entity in answer.entities
    ]


@pytest.mark.parametrize(
    ("content", "source", "target", "columns", "told"),
    [
        ("text\na\n", "in.csv", "in.csv", (), "--out .*in.csv is the input itself"),
        ("text\na\n", "in.csv", "./../here/in.csv", (), "is the input itself"),
        ("text\na\n", "in.txt", "out.csv", (), "--file .*in.txt: unknown file type"),
        ("text\na\n", "in.csv", "out.xlsx", (), "--out .*out.xlsx: unknown file type"),
        ("text\na\n", "in.csv", "gone/out.csv", (), "there is no folder .*gone; create it first"),
        ("review\na\n", "in.csv", "out.csv", (), "has no column 'text', only 'review'"),
        ("text\na\n", "in.csv", "out.csv", ("text", "b"), "--text-column names 2 columns; .*name one"),
        ("text,predicted_label\na,b\n", "in.csv", "out.csv", (), "'predicted_label' exists already"),
        ('{"text": 3}\n', "in.jsonl", "out.csv", (), "in.jsonl, line 1: 'text' is 3, not a text"),
        ("text\n", "in.csv", "out.csv", (), "has a header but no rows"),
    ],
)
def test_a_file_that_cannot_be_answered_is_refused_and_nothing_is_written(
    model, tmp_path, content, source, target, columns, told
):
    here = tmp_path / "here"
    here.mkdir()
    (here / source).write_text(content)
    with pytest.raises(UsageError, match=told) as error:
        predict_file(model, here / source, here / target, columns)
    assert "\n" not in str(error.value)
    assert [path.name for path in here.iterdir()] == [source]
    assert (here / source).read_text() == content


def test_a_missing_file_is_named(model, tmp_path):
    with pytest.raises(UsageError, match=r"--file .*gone.csv: there is no such file"):
        predict_file(model, tmp_path / "gone.csv", tmp_path / "out.csv")

import csv
import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from kdbench.config import TaskTable
from kdbench.data import DataSettings, load_task
from kdbench.data.user_tasks import HELD_OUT, UserTask
from kdbench.errors import UsageError
from kdbench.utils.sealed import seal

TICKETS = [
    {"body": f"ticket {i} says hello", "queue": ("sales", "support", "spam")[i % 3]} for i in range(60)
]


@pytest.fixture
def task(tmp_path):
    """Return what makes a task of a table, its files in the test's folder."""

    def task(**table):
        return UserTask("tickets", TaskTable(**table), tmp_path, tmp_path / "cache")

    return task


@pytest.fixture
def load(task, tmp_path):
    def load(**table):
        return load_task(task(**table), DataSettings(cache_dir=tmp_path / "cache"))

    return load


def write_csv(path, rows, delimiter=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_one_csv_gives_classes_and_a_held_out_fifth(load, tmp_path):
    write_csv(tmp_path / "tickets.csv", TICKETS)
    data = load(train="tickets.csv", text="body", label="queue", metric="macro-f1")
    assert (data.task.labels, data.task.metric) == (("sales", "spam", "support"), "macro-f1")
    assert (data.task.eval_split, data.source) == (HELD_OUT, "file tickets.csv")
    assert {name: len(rows) for name, rows in data.splits.items()} == {HELD_OUT: 12, "train": 48}
    assert Counter(data.splits[HELD_OUT]["label"]) == {"sales": 4, "support": 4, "spam": 4}
    texts = [*data.splits["train"]["text"], *data.splits[HELD_OUT]["text"]]
    assert sorted(texts) == sorted(row["body"] for row in TICKETS)


def test_thousands_of_classes_are_classes_if_they_occur_again(load, tmp_path):
    write_csv(tmp_path / "a.csv", [{"text": f"text {i}", "label": f"c{i // 4}"} for i in range(4_800)])
    assert len(load(train="a.csv").task.labels) == 1_200


def test_class_names_in_the_metadata_of_parquet_are_used(load, tmp_path):
    """As `datasets` writes them; the numbers alone would be classes called 0 and 1."""
    classes = ClassLabel(names=["bad", "good"])
    rows = Dataset.from_list(
        [{"text": f"text {i}", "label": i % 2} for i in range(20)],
        features=Features({"text": Value("string"), "label": classes}),
    )
    rows.to_parquet(str(tmp_path / "a.parquet"))
    data = load(train="a.parquet")
    assert data.task.labels == ("bad", "good")
    assert {row["text"]: row["label"] for row in data.splits[HELD_OUT]}.items() <= {
        f"text {i}": ("bad", "good")[i % 2] for i in range(20)
    }.items()
    table = pq.read_table(tmp_path / "a.parquet")
    beyond = table.set_column(1, "label", pa.array([*[0, 1] * 9, 0, 2]))
    pq.write_table(beyond.replace_schema_metadata(table.schema.metadata), tmp_path / "b.parquet")
    with pytest.raises(UsageError, match=r"b\.parquet, row 20: class 2 of 2, counted from 0"):
        load(train="b.parquet")
    damaged = table.replace_schema_metadata({b"huggingface": b"no JSON"})
    pq.write_table(damaged, tmp_path / "c.parquet")
    assert load(train="c.parquet").task.labels == ("0", "1")


def test_tag_names_in_the_metadata_of_parquet_are_used(load, tmp_path):
    tags = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "B-PER"]))})
    rows = Dataset.from_list([{"tokens": ["Anna", "left"], "ner_tags": [1, 0]}] * 10, features=tags)
    rows.to_parquet(str(tmp_path / "a.parquet"))
    data = load(kind="token-classification", train="a.parquet", text="tokens", label="ner_tags")
    assert data.splits["train"][0]["tags"] == ["B-PER", "O"]


def test_rows_that_a_stray_quote_merges_are_remarked_on(load, tmp_path):
    lines = [f"text {i}\t{'no' if i % 2 else 'yes'}" for i in range(40)]
    lines[5], lines[8] = '"' + lines[5], 'text 8"\tyes'
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + "\n".join(lines) + "\n")
    data = load(train="a.tsv")
    (remark,) = data.remarks
    assert "a.tsv, line 7: a quote opens here and closes lines later, so that 3 lines" in remark
    assert "set --no-quotes (quotes = false in a config file)" in remark
    plain = load(train="a.tsv", quotes=False)
    assert (plain.remarks, sum(map(len, plain.splits.values()))) == ((), 40)


def test_quoted_prose_of_several_lines_is_not_remarked_on(load, tmp_path):
    write_csv(
        tmp_path / "a.csv",
        [
            {"text": f"Dear sir,\nI want, please,\nmy money {i}", "label": ["no", "yes"][i % 2]}
            for i in range(20)
        ],
    )
    assert load(train="a.csv").remarks == ()


@pytest.mark.parametrize("delimiter", [";", "\t", "tab", r"\t"])
def test_another_delimiter_is_named_and_read(load, tmp_path, delimiter):
    write_csv(tmp_path / "a.csv", TICKETS, "\t" if len(delimiter) > 1 else delimiter)
    with pytest.raises(UsageError, match=r"its delimiter seems to be .*: set --delimiter '(;|\\t)'"):
        load(train="a.csv", text="body", label="queue")
    data = load(train="a.csv", text="body", label="queue", delimiter=delimiter)
    assert data.task.labels == ("sales", "spam", "support")


def test_columns_of_conll_files_are_numbers_as_flags_give_them_too(load, tmp_path):
    (tmp_path / "a.conll").write_text("1 Anna B-PER x\n2 left O x\n\n" * 10)
    data = load(kind="token-classification", train="a.conll", text=("1",), label="2")
    assert data.splits["train"][0]["words"] == ["Anna", "left"]
    with pytest.raises(UsageError, match=r"no column names, such as 'word'; give text and label as numbers"):
        load(kind="token-classification", train="a.conll", text=("word",), label="2")


def test_the_same_rows_in_another_format_are_the_same_data(load, tmp_path):
    write_csv(tmp_path / "a.csv", TICKETS)
    write_csv(tmp_path / "a.tsv", TICKETS, "\t")
    write_jsonl(tmp_path / "a.jsonl", TICKETS)
    pq.write_table(pa.Table.from_pylist(TICKETS), tmp_path / "a.parquet")
    names = ("a.csv", "a.tsv", "a.jsonl", "a.parquet")
    assert len({load(train=name, text="body", label="queue").fingerprint for name in names}) == 1


def test_no_group_stands_on_both_sides_of_the_held_out_split(load, tmp_path):
    write_csv(tmp_path / "a.csv", [{**row, "customer": i // 4} for i, row in enumerate(TICKETS)])
    data = load(train="a.csv", text="body", label="queue", group="customer")
    train, held = set(data.splits["train"]["group"]), set(data.splits[HELD_OUT]["group"])
    assert not train & held
    assert len(data.splits[HELD_OUT]) == 12


def test_files_of_the_users_own_for_every_split(load, tmp_path):
    for name, rows in (("train", TICKETS[:40]), ("dev", TICKETS[40:50]), ("test", TICKETS[50:])):
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
    data = load(train="train.jsonl", validation="dev.jsonl", test="test.jsonl", text="body", label="queue")
    assert {name: len(rows) for name, rows in data.splits.items()} == {
        "test": 10,
        "train": 40,
        "validation": 10,
    }
    assert data.task.eval_split == "test"


def test_a_pair_and_a_regression(load, tmp_path):
    rows = [{"title": f"t {i}", "body": f"b {i}", "score": i / 2} for i in range(20)]
    write_csv(tmp_path / "a.csv", rows)
    data = load(kind="sequence-regression", train="a.csv", text=("title", "body"), label="score")
    assert data.splits["train"].column_names == ["text", "text_pair", "label"]
    assert data.task.labels == ()
    assert sorted([*data.splits["train"]["label"], *data.splits[HELD_OUT]["label"]]) == [
        i / 2 for i in range(20)
    ]


def test_whole_numbers_and_truth_values_are_classes(load, tmp_path):
    write_jsonl(
        tmp_path / "a.jsonl", [{"text": f"t {i}", "label": i % 2, "ok": i % 3 == 0} for i in range(20)]
    )
    assert load(train="a.jsonl").task.labels == ("0", "1")
    assert load(train="a.jsonl", label="ok").task.labels == ("false", "true")


EFFECTS = [("pain", "sleep"), (), ("sleep",), ("pain",)]
"""Of every four texts in turn."""


def effects_in(data):
    rows = [row for split in data.splits.values() for row in split]
    return {int(row["text"].rpartition(" ")[2]): tuple(row["label"]) for row in rows}


def test_several_columns_of_zeros_and_ones_are_the_labels_of_a_text(load, tmp_path):
    marks = [("1", "1.0"), ("0", "False"), (" 0", "true"), ("TRUE", "0.0")]
    rows = [
        {"text": f"text {i}", "pain": marks[i % 4][0], "sleep": marks[i % 4][1], "note": "x"}
        for i in range(40)
    ]
    write_csv(tmp_path / "a.csv", rows)
    data = load(train="a.csv", label=["pain", "sleep"])
    assert (data.task.kind, data.task.metric) == ("multi-label-classification", "micro-f1")
    assert data.task.labels == ("pain", "sleep")
    assert {name: len(rows) for name, rows in data.splits.items()} == {HELD_OUT: 8, "train": 32}
    assert effects_in(data) == {i: EFFECTS[i % 4] for i in range(40)}


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "other"])
def test_one_column_of_several_labels_is_a_list_or_names_with_a_separator(load, tmp_path, form):
    texts = [f"text {i}" for i in range(40)]
    lists = [list(EFFECTS[i % 4]) for i in range(40)]
    joined = " | " if form == "other" else "; "
    if form == "parquet":
        pq.write_table(pa.table({"text": texts, "label": lists}), tmp_path / "a.parquet")
    elif form == "jsonl":
        rows = [{"text": text, "label": names} for text, names in zip(texts, lists, strict=True)]
        write_jsonl(tmp_path / "a.jsonl", rows)
    else:
        rows = [{"text": text, "label": joined.join(names)} for text, names in zip(texts, lists, strict=True)]
        write_csv(tmp_path / "a.csv", rows)
    file = "a.csv" if form == "other" else f"a.{form}"
    data = load(train=file, kind="multi-label-classification", separator=joined.strip())
    assert data.task.labels == ("pain", "sleep")
    assert effects_in(data) == {i: EFFECTS[i % 4] for i in range(40)}


@pytest.mark.parametrize(
    ("label", "rows", "message"),
    [
        (["pain", "sleep"], "a,1,2", r"line 2: '2' in the label column 'sleep' is neither 1 nor 0; correct"),
        (["pain", "dream"], "a,1,0", "has no column 'dream', only 'text', 'pain', 'sleep'"),
        ("pain", "a,a;b;a,0", r"line 2: the label .* has a name twice; remove one of the two"),
        ("pain", "a,,0", "train has no text with a label; check the column of the labels"),
    ],
)
def test_labels_that_cannot_be_read_are_told_with_their_line(load, tmp_path, label, rows, message):
    (tmp_path / "a.csv").write_text(f"text,pain,sleep\n{rows}\nb,,0\n")
    with pytest.raises(UsageError, match=message):
        load(train="a.csv", label=label, kind="multi-label-classification")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"label": ["a", "b"], "kind": "sequence-classification"}, "several are for multi-label"),
        ({"label": ["a", "a"]}, "distinct columns"),
        ({"label": ["a", ""]}, "distinct columns"),
        ({"label": ["a", "b"], "labels": ["a", "b"]}, "leave labels out"),
    ],
)
def test_a_table_whose_label_columns_make_no_sense_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        TaskTable(train="a.csv", **table)


def test_listed_classes_keep_their_order(load, tmp_path):
    write_csv(tmp_path / "a.csv", TICKETS)
    names = ("support", "spam", "sales", "other")
    assert load(train="a.csv", text="body", label="queue", labels=names).task.labels == names


@pytest.mark.parametrize("scheme", ["BIOES", "BILOU", "IOB1"])
def test_tags_of_any_scheme_from_column_files_and_json_lines(load, tmp_path, scheme):
    tags = {
        "BIOES": ["B-PER", "E-PER", "S-LOC"],
        "BILOU": ["B-PER", "L-PER", "U-LOC"],
        "IOB1": ["I-PER", "I-PER", "I-LOC"],
    }
    rows = [{"tokens": [f"Anna{i}", "Smith", "Rome"], "tags": tags[scheme]} for i in range(10)]
    write_jsonl(tmp_path / "a.jsonl", rows)
    lines = ["\n".join(f"{w} {t}" for w, t in zip(row["tokens"], row["tags"], strict=True)) for row in rows]
    (tmp_path / "a.conll").write_text("\n\n".join(lines))
    json_lines = load(kind="token-classification", train="a.jsonl")
    assert json_lines.task.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert json_lines.splits[HELD_OUT]["tags"][0] == ["B-PER", "I-PER", "B-LOC"]
    assert load(kind="token-classification", train="a.conll").fingerprint == json_lines.fingerprint


def test_a_hub_data_set_by_the_same_table(load, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "library")
    features = Features({"text": Value("string"), "label": ClassLabel(names=["World", "Sports"])})
    for split, offset in (("train", 0), ("test", 100)):
        rows = [{"text": f"news {i + offset}", "label": i % 2} for i in range(20)]
        Dataset.from_list(rows, features=features).to_parquet(tmp_path / "news" / f"{split}.parquet")
    data = load(dataset=str(tmp_path / "news"), test="test")
    assert data.task.labels == ("Sports", "World")
    assert data.splits["test"][1] == {"text": "news 101", "label": "Sports"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("body,queue\na,x\nb,\n", r"a\.csv, line 3: the label in column 'queue' is empty"),
        ("body,queue\na,x\n  ,y\n", r"a\.csv, line 3: the text is empty"),
        (
            "body,queue\na,0.5\nb,1.5\n",
            r"a\.csv, line 2: the label 0\.5 is a decimal .* set --kind sequence-regression, or .* by --class",
        ),
        (
            "body,queue\n" + "a,x\n" * 20,
            "column 'queue' of train has one class only, 'x'; a classifier needs two",
        ),
        ("body,queue\na,x\nb,y\n", "a fifth of its 2 examples .* cannot be held out"),
        ("text,queue\na,x\n", "has no column 'body', only 'text', 'queue'"),
        (
            "body,queue\n" + "".join(f"a,{i}\n" for i in range(2000)),
            "has 2,000 different values in 2,000 rows, .* hardly classes; name another column by --label",
        ),
    ],
)
def test_a_bad_csv_is_told_with_its_line_and_leaves_nothing_half_built(load, tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        load(train="a.csv", text="body", label="queue")
    kept = tmp_path / "cache" / "data"
    assert not kept.exists() or not [path for path in kept.iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, "line 3: the sentence has 2 words but 1 tags"),
        ({"tokens": ["a", "b"], "tags": ["O", "I-PER"]}, "line 3: word 2: 'I-PER' continues no entity"),
        ({"tokens": [], "tags": []}, "line 3: the sentence has no words"),
        ({"tokens": ["a"], "tags": [1]}, "line 3: 'tags' is not a list of tags"),
        (
            {"tokens": ["a", 5], "tags": ["O", "O"]},
            "line 3: the word 5 is empty, too long or not a valid Unicode string",
        ),
    ],
)
def test_a_bad_sentence_is_told_with_its_line(load, tmp_path, row, message):
    good = {"tokens": ["Anna", "left"], "tags": ["B-PER", "O"]}
    write_jsonl(tmp_path / "a.jsonl", [good, good, row, *[good] * 10])
    with pytest.raises(UsageError, match=rf"a\.jsonl, {message}"):
        load(kind="token-classification", train="a.jsonl")


def test_a_column_file_without_an_entity_is_refused(task, tmp_path):
    (tmp_path / "a.conll").write_text("so O\n\nit O\n")
    with pytest.raises(UsageError, match="train has no entity at all; check the column of the tags"):
        assert task(kind="token-classification", train="a.conll").labels


def test_a_label_of_the_test_file_that_train_never_has_is_told_with_its_line(load, tmp_path):
    write_csv(tmp_path / "a.csv", TICKETS)
    write_csv(tmp_path / "b.csv", [*TICKETS[:2], {"body": "x", "queue": "refunds"}])
    with pytest.raises(UsageError, match=r"b\.csv, line 4: the label 'refunds' is none of the task's"):
        load(train="a.csv", test="b.csv", text="body", label="queue")


@pytest.mark.parametrize(
    ("label", "remedy"),
    [("sales", "correct or remove the row"), ("3,5", "write the decimal comma as a point")],
)
def test_a_regression_label_that_is_no_number_is_told_with_its_line(load, tmp_path, label, remedy):
    write_csv(tmp_path / "a.csv", [{"body": "text", "queue": label}, *TICKETS])
    problem = rf"a\.csv, line 2: the label '{label}' in column 'queue' is not a number; {remedy}"
    with pytest.raises(UsageError, match=problem):
        load(kind="sequence-regression", train="a.csv", text="body", label="queue")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"train": "none.csv"}, r"none\.csv does not exist; correct the path"),
        ({"train": "."}, "is a folder|is read from"),
        (
            {"train": "a.xlsx"},
            r"a\.xlsx: a sequence-classification task is read from \.jsonl, \.parquet, \.csv, \.tsv",
        ),
        (
            {"train": "a.csv", "kind": "token-classification"},
            r"is read from \.jsonl, \.parquet, \.conll files",
        ),
        ({"train": "a.conll", "kind": "token-classification", "text": "word"}, "has no column names"),
    ],
)
def test_a_file_that_cannot_be_read_so_is_named_with_a_remedy(task, tmp_path, table, message):
    for name in ("a.xlsx", "a.csv", "a.conll"):
        (tmp_path / name).write_text("text,label\n")
    with pytest.raises(UsageError, match=message):
        assert task(**table).labels


def test_classes_are_looked_for_once(task, tmp_path):
    write_csv(tmp_path / "a.csv", TICKETS)
    table = {"train": "a.csv", "text": "body", "label": "queue"}
    assert task(**table).labels == ("sales", "spam", "support")
    [kept] = [path for path in (tmp_path / "cache" / "labels").iterdir() if path.is_dir()]
    (kept / "names.json").write_text('["kept"]')
    seal(kept, ["names.json"])
    assert task(**table).labels == ("kept",)
    write_csv(tmp_path / "a.csv", TICKETS[1:])
    assert task(**table).labels == ("sales", "spam", "support")

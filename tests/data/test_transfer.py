import math

import pytest
from datasets import concatenate_datasets
from helpers.toytasks import ToyTask, labelled, settings_in
from transformers import AutoTokenizer

from kdbench.api.task import IGNORED, UNLABELLED, TaskKind
from kdbench.budgets import BUDGETS
from kdbench.data import load_task, prepare
from kdbench.data.transfer import read_transfer_set, sample_examples
from kdbench.errors import UsageError

BUDGET = BUDGETS["smoke"].model_copy(
    update={"train_examples": 20, "validation_examples": 10, "scored_examples": 8, "max_length": 16}
)
PAIRS = [{**row, "text_pair": "was it good"} for row in labelled(60)]
SCORES = [{"text": f"film {i}", "label": i / 4} for i in range(60)]
SENTENCES = [
    {"words": ["anna", "was", "in", f"oslo{'o' * (i % 3)}"], "tags": ["B-PER", "O", "O", "O"]}
    for i in range(60)
]


@pytest.fixture
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def read(tmp_path, tokenizer):
    """Rows of a file of `text` for the task whose training examples are `rows`, and the task made ready."""
    file = tmp_path / "texts.txt"

    def read(text, rows=None, *, limit=100, kind=TaskKind.SEQUENCE_CLASSIFICATION, labels=("no", "yes")):
        rows = labelled(60) if rows is None else rows
        settings = settings_in(tmp_path)
        task = ToyTask({"train": rows, "test": rows}, kind, labels)
        prepared = prepare(load_task(task, settings), BUDGET, tokenizer, settings.cache_dir)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_transfer_set(file, prepared, tokenizer, max_length=16, limit=limit), prepared

    return read


def test_each_line_is_a_text_without_a_label(read, tokenizer):
    rows, _ = read("a good film\n\n   \n the actor was\tweak\r\nboring")
    assert rows["input_ids"][:] == tokenizer(["a good film", "the actor was\tweak", "boring"])["input_ids"]
    assert rows["length"][:] == [5, 6, 3]
    assert rows["labels"][:] == [UNLABELLED] * 3


@pytest.mark.parametrize(
    ("rows", "kind", "labels"),
    [
        (labelled(60), TaskKind.SEQUENCE_CLASSIFICATION, ("no", "yes")),
        (SCORES, TaskKind.SEQUENCE_REGRESSION, ()),
        (SENTENCES, TaskKind.TOKEN_CLASSIFICATION, ("O", "B-PER", "I-PER")),
    ],
)
def test_its_rows_follow_those_of_train_with_numbers_that_no_other_row_has(read, rows, kind, labels):
    added, prepared = read("a film\nthe story\n", rows, kind=kind, labels=labels)
    assert added.features == prepared.train.features
    both = concatenate_datasets([prepared.train, added])
    assert len(both) == 22
    for column in ("id", "example"):
        assert sorted(both[column][-2:]) == [-2, -1]
        assert min(prepared.train[column]) >= 0


def test_in_regression_the_label_is_not_a_number(read):
    rows, _ = read("a film\n", SCORES, kind=TaskKind.SEQUENCE_REGRESSION, labels=())
    assert math.isnan(rows["labels"][0])


def test_for_tokens_words_stand_apart_by_white_space_and_each_first_piece_counts(read, tokenizer):
    rows, _ = read(
        "anna  was\tin zoltan\n",
        SENTENCES,
        kind=TaskKind.TOKEN_CLASSIFICATION,
        labels=("O", "B-PER", "I-PER"),
    )
    pieces = tokenizer.convert_ids_to_tokens(rows[0]["input_ids"])
    firsts = [not piece.startswith(("##", "[")) for piece in pieces]
    assert sum(firsts) == 4 < len(pieces) - 2  # zoltan has several
    assert rows[0]["labels"] == [UNLABELLED if first else IGNORED for first in firsts]


def test_a_long_sentence_of_tokens_is_one_example_of_several_rows(read):
    rows, _ = read(
        "the cat " * 10 + "\nshort\n",
        SENTENCES,
        kind=TaskKind.TOKEN_CLASSIFICATION,
        labels=("O", "B-PER", "I-PER"),
    )
    assert len(set(rows["id"])) == len(rows) > 2
    assert set(rows["example"]) == {-1, -2}


def test_pairs_stand_apart_by_a_tab(read, tokenizer):
    rows, _ = read("a good film\twas it bad\n", PAIRS)
    assert rows["input_ids"][0] == tokenizer("a good film", "was it bad")["input_ids"]
    with pytest.raises(UsageError, match=r"texts.txt, line 2: one text, .* separated by a tab"):
        read("good\tbad\ngood bad\n", PAIRS)


def test_of_more_texts_than_wanted_the_same_ones_are_drawn_each_time(read):
    text = "".join(f"{'very ' * (i % 8)}good\n" for i in range(200))
    rows, _ = read(text, limit=50)
    assert len(rows) == 50
    assert rows["input_ids"][:] == read(text, limit=50)[0]["input_ids"][:]
    assert rows["length"][:] != read(text)[0]["length"][:50]  # not merely the first


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", r"texts.txt is empty"),
        (b" \n\n", r"texts.txt has only blank lines; write one text per line"),
        (b"good\n\xff\n", r"texts.txt, line 2: byte 1 \(0xff\) is not UTF-8"),
    ],
)
def test_a_file_that_holds_no_texts_is_refused_with_the_place(read, content, problem):
    with pytest.raises(UsageError, match=problem):
        read(content)


def test_a_file_that_is_not_there_is_refused(read, tokenizer, tmp_path):
    _, prepared = read("good\n")
    with pytest.raises(UsageError, match=r"gone.txt does not exist; correct the path"):
        read_transfer_set(tmp_path / "gone.txt", prepared, tokenizer, max_length=16, limit=9)


def test_a_sample_is_of_whole_examples_in_their_order(make_experiment, tiny_budget):
    budget = tiny_budget.model_copy(update={"max_length": 8})  # so that sentences make several rows
    unlabelled = make_experiment("toy-tags", budget=budget).task.unlabelled
    sample = sample_examples(unlabelled, 12)
    drawn = set(sample["example"])
    assert len(drawn) == 12
    assert sample["id"][:] == [row["id"] for row in unlabelled if row["example"] in drawn]
    assert len(sample) > 12
    assert sample_examples(unlabelled, 12)["id"][:] == sample["id"][:]
    assert len(sample_examples(unlabelled, 10_000)) == len(unlabelled)

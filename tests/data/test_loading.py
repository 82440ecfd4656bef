import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict
from helpers.toytasks import ToyTask, labelled, settings_in

from kdbench.api.task import TaskKind
from kdbench.data import DataSettings, load_task
from kdbench.data.loading import ContentHash
from kdbench.errors import UsageError

SENTENCES = [
    {"words": ["Anna", "left", "Rome"], "tags": ["B-PER", "O", "B-LOC"]},
    {"words": ["So", "it", "goes"], "tags": ["O", "O", "O"]},
]


def tagged(splits):
    return ToyTask(splits, TaskKind.TOKEN_CLASSIFICATION, ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))


def test_rows_come_back_in_order_without_the_columns_that_are_not_the_tasks(tmp_path):
    rows = labelled(12_000, where="somewhere", more=1)
    data = load_task(ToyTask({"train": rows, "test": labelled(3)}), settings_in(tmp_path))
    assert data.splits["train"].column_names == ["text", "label"]
    assert data.splits["train"].num_rows == 12_000
    assert data.splits["train"][11_999] == {"text": "sentence number 11999", "label": "yes"}
    assert data.source == "local toy"


def test_a_dataset_dict_will_do_as_well(tmp_path):
    plain = ToyTask({"train": labelled(8), "test": labelled(4, 8)})
    same = ToyTask(DatasetDict({name: Dataset.from_list(rows) for name, rows in plain.splits.items()}))
    assert (
        load_task(plain, settings_in(tmp_path / "a")).fingerprint
        == load_task(same, settings_in(tmp_path / "b")).fingerprint
    )


def test_the_fingerprint_hangs_on_the_content_alone(tmp_path):
    def fingerprint(folder, **splits):
        return load_task(ToyTask(splits), settings_in(tmp_path / folder)).fingerprint

    first = fingerprint("a", train=labelled(8), test=labelled(4, 8))
    assert fingerprint("b", train=labelled(8, where="x"), test=labelled(4, 8, where="y")) == first
    assert fingerprint("c", train=labelled(8)[::-1], test=labelled(4, 8)) != first
    assert fingerprint("d", train=labelled(8), test=labelled(4, 9)) != first
    assert fingerprint("e", train=labelled(8, group="g"), test=labelled(4, 8)) != first


def test_what_was_read_once_is_not_read_again_until_the_file_or_the_task_changes(tmp_path):
    class Counting(ToyTask):
        loads = 0

        def load(self, opened):
            Counting.loads += 1
            return super().load(opened)

    settings = settings_in(tmp_path)
    splits = {"train": labelled(8), "test": labelled(4)}
    first = load_task(Counting(splits), settings)
    assert load_task(Counting(splits), settings).fingerprint == first.fingerprint
    assert Counting.loads == 1
    (settings.data_dir / "toy" / "data").write_text("changed")
    load_task(Counting(splits), settings)
    assert Counting.loads == 2
    load_task(Counting({**splits, "test": labelled(5)}), settings)
    assert Counting.loads == 3


def test_an_object_among_the_tasks_attributes_does_not_make_it_another_task(tmp_path):
    settings = settings_in(tmp_path)
    for _ in range(2):
        task = ToyTask({"train": labelled(8), "test": labelled(4)})
        task.helper = object()
        load_task(task, settings)
    assert len([path for path in (settings.cache_dir / "data").iterdir() if path.is_dir()]) == 1


def test_scored_examples_whose_text_stands_in_train_are_counted(tmp_path):
    test = [*labelled(3, 6), {"text": "sentence number 7", "label": "no"}]
    assert load_task(ToyTask({"train": labelled(8), "test": test}), settings_in(tmp_path)).duplicates == 3


def test_of_a_text_that_is_too_long_the_start_is_kept(tmp_path):
    rows = [{"text": "x" * 131_073, "label": "no"}, {"text": "b", "label": "yes"}]
    data = load_task(ToyTask({"train": rows, "test": labelled(2)}), settings_in(tmp_path))
    assert [len(text) for text in data.splits["train"]["text"]] == [131_072, 1]


def test_a_pair_is_a_duplicate_only_as_a_pair(tmp_path):
    def pair(first, second):
        return {"text": first, "text_pair": second, "label": "no"}

    train = [pair("a", "b"), {**pair("c", "d"), "label": "yes"}]
    test = [pair("a", "d"), pair("c", "d"), pair("b", "a")]
    assert load_task(ToyTask({"train": train, "test": test}), settings_in(tmp_path)).duplicates == 1


def test_sentences_of_words_come_back_as_they_were(tmp_path):
    data = load_task(tagged({"train": SENTENCES, "test": SENTENCES[:1]}), settings_in(tmp_path))
    assert data.splits["train"][:] == {
        "words": [row["words"] for row in SENTENCES],
        "tags": [row["tags"] for row in SENTENCES],
    }
    assert data.duplicates == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "  ", "label": "no"}, "the text is empty; remove the row"),
        ({"text": None, "label": "no"}, "the text is None, not a valid Unicode string"),
        ({"text": "half \ud83d", "label": "no"}, r"'half .*', not a valid Unicode string"),
        ({"text": "a", "label": "maybe"}, "'maybe' is none of the task's .'no', 'yes'."),
        ({"text": "a", "label": 1}, "the label is 1, not one of 'no', 'yes'"),
        ({"text": "a", "label": "no", "text_pair": "b"}, "it has the columns"),
        ({"text": "a"}, "it has the columns"),
    ],
)
def test_a_bad_example_is_placed_by_its_row_or_by_its_number(tmp_path, row, message):
    settings = settings_in(tmp_path)
    with pytest.raises(UsageError, match=f"split 'train', example 9: .*{message}"):
        load_task(ToyTask({"train": [*labelled(8), row], "test": labelled(2)}), settings)
    placed = {**row, "where": "train.csv, line 10"}
    with pytest.raises(UsageError, match=f"train.csv, line 10: .*{message}"):
        load_task(ToyTask({"train": [*labelled(8, where=""), placed], "test": labelled(2)}), settings)
    assert [path for path in (settings.cache_dir / "data").iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"words": [], "tags": []}, "has no words"),
        ({"words": ["a", "b"], "tags": ["O"]}, "2 words but 1 tags"),
        ({"words": ["a", ""], "tags": ["O", "O"]}, "the word '' is empty"),
        ({"words": ["a"], "tags": ["B-ORG"]}, "'B-ORG' is none of the task's"),
        ({"words": ["a", "b"], "tags": ["O", "I-PER"]}, "'I-PER' of word 2 continues no entity"),
        ({"words": ["a", "b"], "tags": ["B-LOC", "I-PER"]}, "'I-PER' of word 2 continues no entity"),
        ({"words": "a b", "tags": ["O"]}, "a list of words and a list of tags"),
        ({"words": ["a"], "tags": [["O"]]}, r"the tag \['O'\] is none of the task's"),
    ],
)
def test_a_bad_sentence_is_placed(tmp_path, row, message):
    with pytest.raises(UsageError, match=f"split 'test', example 2: .*{message}"):
        load_task(tagged({"train": SENTENCES, "test": [SENTENCES[0], row]}), settings_in(tmp_path))


@pytest.mark.parametrize("label", ["3.5", None, float("nan"), float("inf"), True])
def test_a_regression_label_must_be_a_finite_number(tmp_path, label):
    rows = [{"text": "a", "label": 1.5}, {"text": "b", "label": label}]
    task = ToyTask({"train": rows, "test": rows[:1]}, TaskKind.SEQUENCE_REGRESSION, ())
    with pytest.raises(UsageError, match=r"not a finite number|split 'train', example 2"):
        load_task(task, settings_in(tmp_path))


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": labelled(8), "test": []}, "split 'test' has no examples"),
        ({"train": labelled(8)}, "returns no split 'test', only train"),
        (
            {"train": labelled(8)[::2], "test": labelled(1)},
            "has one label only, 'no'; a classifier needs two",
        ),
    ],
)
def test_a_split_must_be_there_and_hold_what_can_be_learned(tmp_path, splits, message):
    with pytest.raises(UsageError, match=message):
        load_task(ToyTask(splits), settings_in(tmp_path))


def test_a_label_that_train_never_has_is_refused(tmp_path):
    task = ToyTask(
        {"train": labelled(8), "test": [{"text": "a", "label": "maybe"}]}, labels=("no", "yes", "maybe")
    )
    with pytest.raises(UsageError, match="split 'test' has 'maybe', absent from train"):
        load_task(task, settings_in(tmp_path))


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    settings = settings_in(tmp_path)
    (tmp_path / "cache").touch()
    with pytest.raises(UsageError, match=r"cannot write .*KDBENCH_CACHE"):
        load_task(
            ToyTask({"train": labelled(8), "test": labelled(2)}),
            DataSettings(settings.data_dir, tmp_path / "cache"),
        )


def fingerprint(**columns):
    digest = ContentHash()
    for name, batches in columns.items():
        for batch in batches:
            digest.update(name, pa.array(batch))
    return digest.hexdigest()


def test_how_a_column_is_cut_into_batches_does_not_matter():
    assert fingerprint(text=[["a", "bc", "ü"]], label=[[1.0, 2.0, 3.0]]) == fingerprint(
        label=[[1.0, 2.0], [3.0]], text=[["a"], ["bc", "ü"]]
    )
    assert fingerprint(words=[[["a", "b"], ["c"]]]) == fingerprint(words=[[["a", "b"]], [["c"]]])


def test_slices_of_a_larger_array_count_as_what_they_show():
    digest = ContentHash()
    digest.update("words", pa.array([["x"], ["a", "b"], ["c"], ["y"]]).slice(1, 2))
    assert digest.hexdigest() == fingerprint(words=[[["a", "b"], ["c"]]])


@pytest.mark.parametrize(
    "other",
    [
        {"text": [["b", "a"]]},
        {"text": [["ab", ""]]},
        {"text": [["", "ab"]]},
        {"text": [["a", "b", ""]]},
        {"words": [["a", "b"]]},
        {"text": [[["a"], ["b"]]]},
        {"text": [["a", "b"]], "label": [["x", "y"]]},
    ],
)
def test_any_difference_of_content_shows(other):
    assert fingerprint(text=[["a", "b"]]) != fingerprint(**other)


def test_where_words_end_and_sentences_end_shows():
    assert fingerprint(words=[[["a", "b"], ["c"]]]) != fingerprint(words=[[["a"], ["b", "c"]]])
    assert fingerprint(words=[[["ab", "c"]]]) != fingerprint(words=[[["a", "bc"]]])

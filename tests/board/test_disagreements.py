"""The examples that two models answer differently, with the texts of the real data."""

import numpy as np
import pytest
from helpers.support import make_record, save_predictions

from kdbench.api.predictions import Predictions
from kdbench.board.cells import tidy
from kdbench.board.compare import compare
from kdbench.board.disagreements import disagreements
from kdbench.board.frames import rows_of
from kdbench.board.load import load_cells
from kdbench.board.predictions import load_scored
from kdbench.cli.board import differing_examples, scored_texts
from kdbench.data import DataSettings, load_task
from kdbench.errors import KdbenchError
from kdbench.results.records import RecordStore


@pytest.fixture
def data(registry, cache_dir):
    return lambda name: load_task(registry.task(name), DataSettings(cache_dir=cache_dir))


def scored(results, predictions, *, seed=0, metric="accuracy", labels=("negative", "positive"), name="a"):
    record = make_record(name, seed=seed, metric=metric)
    record = record.model_copy(update={"task": record.task.model_copy(update={"labels": labels})})
    predictions.save(results / "predictions" / f"{record.key}.safetensors")
    return load_scored(rows_of(tidy([record], [])), results)


def answers(ids, classes, references, offsets=None):
    width = 1 + max(*classes, *references)
    return Predictions(
        np.array(ids),
        np.eye(width, dtype=np.float32)[classes],
        np.array(references),
        None if offsets is None else np.array(offsets),
    )


def test_the_examples_stand_in_the_order_of_the_split_whatever_order_was_scored(tmp_path, data):
    texts = data("toy-sentiment").splits["test"]
    a = scored(tmp_path, answers([7, 2, 5], [0, 1, 1], [0, 1, 0]), name="a")
    b = scored(tmp_path, answers([2, 5, 7], [0, 1, 1], [1, 0, 0]), name="b")
    found = disagreements(a, b, texts, limit=5)
    assert (found.number, found.scored) == (2, 3)
    assert [one.example for one in found.shown] == [2, 7]
    first, last = found.shown
    assert (first.right, first.answer_a, first.answer_b) == ("positive", "positive", "negative")
    assert (last.right, last.answer_a, last.answer_b) == ("negative", "negative", "positive")
    assert first.text == texts[2]["text"]
    limited = disagreements(a, b, texts, limit=1)
    assert (limited.number, len(limited.shown)) == (2, 1)


def test_of_a_sentence_the_words_that_differ_are_told(tmp_path, data):
    splits = data("toy-tags").splits["test"]
    words = splits[3]["words"]
    labels = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
    right = [labels.index(tag) for tag in splits[3]["tags"]]
    wrong = [*right[:-1], (right[-1] + 1) % 5]
    kind = {"metric": "entity-f1", "labels": labels}
    a = scored(tmp_path, answers([3], right, right, [0, len(words)]), name="a", **kind)
    b = scored(tmp_path, answers([3], wrong, right, [0, len(words)]), name="b", **kind)
    (one,) = disagreements(a, b, splits, limit=5).shown
    assert one.text == " ".join(words)
    assert one.right == one.answer_a == f"{words[-1]} {labels[right[-1]]}"
    assert one.answer_b == f"{words[-1]} {labels[wrong[-1]]}"


def test_of_numbers_those_farthest_apart_come_first(tmp_path, data):
    texts = data("toy-score").splits["test"]
    values = {"a": [0.1, 0.2, 0.3], "b": [0.1, 0.7, 0.4]}
    both = [
        scored(
            tmp_path,
            Predictions(
                np.arange(3), np.array(found, np.float32)[:, None], np.array([0, 0.5, 1], np.float32)
            ),
            metric="pearson",
            labels=(),
            name=name,
        )
        for name, found in values.items()
    ]
    found = disagreements(*both, texts, limit=5)
    assert found.number == 2
    assert [one.example for one in found.shown] == [1, 2]
    assert (found.shown[0].right, found.shown[0].answer_a, found.shown[0].answer_b) == (
        "0.500",
        "0.200",
        "0.700",
    )


def test_rows_without_a_common_seed_have_no_pair_of_models(tmp_path, data):
    a = scored(tmp_path, answers([0], [0], [1]), seed=0, name="a")
    b = scored(tmp_path, answers([0], [1], [1]), seed=1, name="b")
    assert disagreements(a, b, data("toy-sentiment").splits["test"], limit=5) is None


def test_data_other_than_what_was_scored_is_not_shown(make_config, registry):
    with pytest.raises(KdbenchError, match="is not the data that was scored"):
        scored_texts(make_config(), registry, "toy-sentiment", "test", "another fingerprint")
    with pytest.raises(KdbenchError, match="defines the task 'gone'"):
        scored_texts(make_config(), registry, "gone", "test", "")
    with pytest.raises(KdbenchError, match="the data of sst2 is not on this machine"):
        scored_texts(make_config(), registry, "sst2", "dev", "")


def test_what_cannot_be_shown_is_said_task_by_task(make_config, registry, data):
    config = make_config()
    fingerprints = {"toy-sentiment": data("toy-sentiment").fingerprint, "sst2": "unknown"}
    for task, fingerprint in fingerprints.items():
        for name, right in (("a", [True] * 6), ("b", [True, False, True, True, False, True])):
            record = make_record(name, task, sum(right) / 6, fingerprint=fingerprint)
            RecordStore(config.results).put(record)
            save_predictions(config.results, record.key, right)
    loaded = load_cells(config.results, budget="quick")
    comparison = compare(loaded, config.results, "a", "b", [])
    shown = differing_examples(comparison, loaded, config, registry, 5)
    assert [one.example for one in shown["toy-sentiment"].shown] == [1, 4]
    assert shown["sst2"] == "the data of sst2 is not on this machine"

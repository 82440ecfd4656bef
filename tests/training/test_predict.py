import numpy as np
import pytest
import torch
from datasets import Dataset
from helpers.training import KINDS

from kdbench.api.bench import model_inputs
from kdbench.api.task import IGNORED, TaskKind
from kdbench.data import DataSettings, load_task
from kdbench.measure.timed_models import TimedRow
from kdbench.models.build import load_base
from kdbench.run.provenance import majority_score
from kdbench.training.predict import join_rows, predict, row_logits


@pytest.fixture
def setting(make_experiment, tiny_budget):
    """An experiment whose long sentences are split into rows, and a model for it."""

    def make(task):
        budget = tiny_budget.model_copy(update={"max_length": 12, "scored_examples": None})
        experiment = make_experiment(task, budget=budget)
        model = load_base(experiment.base.path, experiment.kind, experiment.task.task.labels, seed=0)
        return experiment, model

    return make


def answer(experiment, model, rows, **options):
    return predict(model, rows, experiment.collate, device=experiment.device, **options)


@pytest.mark.parametrize("task", KINDS)
def test_answers_equal_those_of_each_row_alone(setting, task):
    experiment, model = setting(task)
    rows = experiment.task.scored
    logits, labels = row_logits(model, rows, experiment.collate, device=experiment.device)
    assert not model.training
    for row, row_answers, row_labels in list(zip(rows, logits, labels, strict=True))[:25]:
        batch = experiment.collate([row])
        with torch.no_grad():
            alone = model(**model_inputs(batch)).logits[0]
        if task == "toy-tags":
            counted = batch["labels"][0] != IGNORED
            alone, expected = alone[counted], batch["labels"][0][counted].tolist()
        else:
            alone, expected = alone[None], [row["labels"]]
        np.testing.assert_allclose(row_answers, alone.numpy(), rtol=0, atol=1e-5)
        assert row_labels.tolist() == pytest.approx(expected)


def test_rows_of_one_sentence_are_joined_word_by_word(setting, registry, cache_dir):
    experiment, model = setting("toy-tags")
    rows = experiment.task.scored
    assert len(rows) > len(set(rows["example"]))  # some sentences were split
    sentences = load_task(registry.task("toy-tags"), DataSettings(cache_dir=cache_dir)).splits["test"]["tags"]
    answers = answer(experiment, model, rows)
    assert answers.ids.tolist() == list(range(len(sentences)))
    assert np.diff(answers.offsets).tolist() == [len(tags) for tags in sentences]
    labels = experiment.task.task.labels
    assert [labels[i] for i in answers.references] == [tag for tags in sentences for tag in tags]


@pytest.mark.parametrize("task", ["toy-sentiment", "toy-score"])
def test_texts_keep_their_order_and_number(setting, task):
    experiment, model = setting(task)
    rows = experiment.task.scored.select([5, 2, 30, 31, 7])
    answers = answer(experiment, model, rows)
    assert answers.ids.tolist() == rows["example"] == [5, 2, 30, 31, 7]
    assert answers.references.tolist() == pytest.approx(rows["labels"])
    assert answers.offsets is None
    assert answers.is_regression == (task == "toy-score")


@pytest.mark.parametrize("task", KINDS)
def test_the_same_rows_in_a_larger_split_get_the_same_answers(setting, task):
    experiment, model = setting(task)
    rows = experiment.task.scored
    chosen = [i for i, example in enumerate(rows["example"]) if example < 10]
    few, all_rows = answer(experiment, model, rows.select(chosen)), answer(experiment, model, rows)
    np.testing.assert_allclose(few.logits, all_rows.logits[: len(few.logits)], rtol=0, atol=1e-5)


def test_progress_is_told_up_to_the_last_row(setting):
    experiment, model = setting("toy-tags")
    told = []
    answer(experiment, model, experiment.task.scored, report=lambda done, total: told.append((done, total)))
    rows = len(experiment.task.scored)
    assert rows > 64
    assert told[0] == (64, rows)
    assert told[-1] == (rows, rows)


@pytest.mark.parametrize(
    ("pooling", "expected"), [("mean", [[1.0, 2.0], [2.0, 0.0]]), ("max", [[1.0, 2.0], [3.0, 1.0]])]
)
def test_the_windows_of_a_text_give_one_answer(pooling, expected):
    rows = Dataset.from_dict({"example": [4, 7, 7]})
    logits = [np.array([row], dtype=np.float32) for row in ([1.0, 2.0], [1.0, 1.0], [3.0, -1.0])]
    labels = [np.array([label]) for label in (1, 0, 0)]
    joined = join_rows(rows, logits, labels, TaskKind.SEQUENCE_CLASSIFICATION, pooling=pooling)
    assert joined.ids.tolist() == [4, 7]
    assert joined.logits.tolist() == expected
    assert joined.references.tolist() == [1, 0]


def test_a_text_in_windows_is_answered_and_timed_as_a_whole(make_experiment, tiny_budget):
    windows = {"max_length": 8, "window_stride": 2, "scored_examples": None}
    experiment = make_experiment("toy-sentiment", budget=tiny_budget.model_copy(update=windows))
    task = experiment.task
    assert len(task.scored) > task.scored_examples
    assert task.too_long_share > 0
    model = load_base(experiment.base.path, experiment.kind, task.task.labels, seed=0)
    predictions = answer(experiment, model, task.scored)
    assert len(predictions) == len(predictions.references) == task.scored_examples
    logits, _ = row_logits(model, task.scored, experiment.collate, device=experiment.device)
    example = int(predictions.ids[-1])
    own = [row for row, number in zip(logits, task.scored["example"], strict=True) if number == example]
    np.testing.assert_allclose(predictions.logits[-1], np.concatenate(own).mean(axis=0), rtol=1e-5)
    assert majority_score(task) == pytest.approx(max(np.bincount(predictions.references)) / len(predictions))
    _, firsts = np.unique(task.scored["example"][:], return_index=True)
    timed = TimedRow(lambda: model, experiment, firsts)
    assert sum(len(batch["input_ids"]) for batch in timed.inputs) == len(task.scored)

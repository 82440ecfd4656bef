import json

import numpy as np
import pytest
from helpers.support import key_named
from helpers.training import no_report
from safetensors.torch import load_file, save_file
from sklearn.metrics import accuracy_score
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from kdbench.api.predictions import Predictions
from kdbench.api.spec import parse_spec
from kdbench.budgets import BUDGETS
from kdbench.errors import KdbenchError
from kdbench.evaluation.metrics import METRICS
from kdbench.results.paths import CellFiles
from kdbench.results.records import RecordStore, Status
from kdbench.run.cell import CellOrder, score_cell, score_warnings, train_cell
from kdbench.run.provenance import task_info

pytestmark = pytest.mark.slow

KEY = "0123456789abcdef0123"


def order_of(config, spec, task="toy-sentiment", seed=0, key=KEY):
    return CellOrder(config=config, spec=parse_spec(spec), task=task, seed=seed, key=key).model_dump_json()


@pytest.fixture
def finish(make_config):
    """Run both stages of one cell; return its record and its files."""
    config = make_config()

    def run(spec, task="toy-sentiment", seed=0, key=KEY):
        key = key_named(key)
        order = order_of(config, spec, task, seed, key)
        train_cell(order, no_report)
        score_cell(order, no_report)
        return RecordStore(config.results).get(key), CellFiles(config.results, key)

    return run


def test_a_record_says_what_ran(finish):
    record, _ = finish("vanilla-kd[layers=2,temperature=4.0]", seed=3)
    assert (record.key, record.status, record.reason, record.seed) == (KEY, Status.OK, None, 3)
    assert record.strategy.label == "vanilla-kd[layers=2,temperature=4.0]"
    assert record.strategy.params["alpha"] == 0.5  # a default, told too
    assert record.strategy.distribution == "kdbench"
    assert record.strategy.control == "hard-labels[layers=2]"
    assert (record.task.name, record.task.eval_split) == ("toy-sentiment", "test")
    assert (record.task.train_examples, record.task.validation_examples, record.task.scored_examples) == (
        64,
        16,
        64,
    )
    assert record.model.name == "tiny-bert"
    assert record.budget.name == "smoke"
    assert not record.is_teacher


@pytest.mark.parametrize("task", ["toy-sentiment", "toy-tags", "toy-score"])
def test_quality_follows_from_the_predictions_that_were_kept(finish, task):
    record, files = finish("hard-labels", task)
    answers = Predictions.load(files.predictions)
    quality = record.quality
    if task == "toy-sentiment":
        expected = accuracy_score(answers.references, answers.logits.argmax(1))
    elif task == "toy-score":
        expected = np.corrcoef(answers.references, answers.logits[:, 0])[0, 1]
    else:
        expected = quality.metrics["entity-f1"]  # held against other scorers in the metrics' own tests
    assert quality.score == pytest.approx(expected, abs=1e-6)
    assert quality.metrics[record.task.metric] == quality.score
    assert quality.low <= quality.score <= quality.high
    assert len(answers) == record.task.scored_examples == 64


def test_every_metric_of_the_task_is_there(finish):
    record, _ = finish("hard-labels")
    assert set(record.quality.metrics) == {"accuracy", "macro-f1"}


def test_always_answering_the_most_frequent_training_label_is_scored_beside(
    finish, make_experiment, tiny_budget
):
    record, _ = finish("hard-labels")
    smoke = record.budget
    experiment = make_experiment(budget=smoke)
    most_frequent = np.bincount(experiment.task.train["labels"]).argmax()
    share = np.mean(np.array(experiment.task.scored["labels"]) == most_frequent)
    assert record.task.majority_score == pytest.approx(share)


def test_sizes_are_those_of_the_artifact(finish):
    record, files = finish("lora[r=2]")
    weights = load_file(files.artifact / "model.safetensors")
    assert record.size.total_parameters == sum(value.numel() for value in weights.values())
    tables = sum(value.numel() for name, value in weights.items() if "_embeddings.weight" in name)
    assert record.size.non_embedding_parameters == record.size.total_parameters - tables
    assert record.size.trainable_parameters == 4 * 2 * 2 * (32 + 32) + (2 * 32 + 2)
    on_disk = [path.stat().st_size for path in files.artifact.iterdir()]
    assert record.size.artifact_bytes == sum(on_disk)


def test_all_of_a_student_is_trained_and_less_than_all_of_a_teacher(finish):
    student, _ = finish("hard-labels[layers=2]", key="student")
    teacher, _ = finish("finetune", key="teacher")
    assert student.size.trainable_parameters == student.size.total_parameters
    layer = 4 * (32 * 32 + 32) + 2 * 32 + (32 * 64 + 64) + (64 * 32 + 32) + 2 * 32
    assert teacher.size.total_parameters - student.size.total_parameters == 2 * layer
    assert student.size.artifact_bytes < teacher.size.artifact_bytes


def test_costs_are_those_of_the_budget(finish):
    record, _ = finish("hard-labels[init=base,layers=2]")
    cost = record.cost
    assert (cost.steps, cost.examples) == (6, 48)
    assert 48 * 4 <= cost.tokens <= 48 * 64
    assert 0 < cost.train_s < cost.total_s
    assert 0 < cost.train_cpu_s < cost.total_cpu_s
    assert cost.teacher_s == cost.teacher_cpu_s == 0
    assert cost.peak_memory_bytes > 50e6
    weights = 2 * (4 * 32 * 32 + 2 * 32 * 64)
    # Three passes of a multiplication and an addition for each weight; attention, head and padding on top.
    assert 1 < cost.train_flops / (3 * 2 * weights * cost.tokens) < 1.5


def test_a_stack_takes_what_its_stages_took(finish):
    first, _ = finish("hard-labels", key="first")
    stack, _ = finish("hard-labels+prune-heads[recovery=0.5,alpha=0.0]", key="stack")
    own = stack.cost.train_flops - first.cost.train_flops
    assert 0 < own / (stack.cost.tokens - first.cost.tokens) < first.cost.train_flops / first.cost.tokens
    untrained, _ = finish("hard-labels+fp16", key="untrained")
    assert untrained.cost.train_flops == first.cost.train_flops


def test_what_answering_takes_is_that_of_the_artifact(finish):
    whole, _ = finish("finetune", key="whole")
    half, _ = finish("hard-labels[layers=2]", key="half")
    length = whole.compute.flops_length
    layer = 2 * length * (4 * 32 * 32 + 2 * 32 * 64) + 4 * length**2 * 32
    assert half.compute.flops_length == length
    assert whole.compute.flops_per_example - half.compute.flops_per_example == 2 * layer
    assert whole.compute.inference_peak_gpu_bytes is None


@pytest.mark.parametrize("task", ["toy-sentiment", "toy-tags", "toy-score"])
def test_typing_errors_are_scored_beside_on_the_same_examples(finish, task):
    record, files = finish("hard-labels", task)
    clean, noisy = Predictions.load(files.predictions), Predictions.load(files.noisy_predictions)
    assert noisy.ids.tolist() == clean.ids.tolist()
    assert noisy.references.tolist() == clean.references.tolist()
    assert noisy.logits.tolist() != clean.logits.tolist()
    quality, metric = record.quality, METRICS[record.task.metric]
    assert quality.noisy_score == metric.of(noisy, record.task.labels)
    assert quality.noisy_drop == pytest.approx(quality.score - quality.noisy_score)


def test_of_many_examples_some_are_answered_with_typing_errors(finish, monkeypatch):
    monkeypatch.setitem(BUDGETS, "smoke", BUDGETS["smoke"].model_copy(update={"noisy_examples": 16}))
    record, files = finish("hard-labels")
    clean, noisy = Predictions.load(files.predictions), Predictions.load(files.noisy_predictions)
    assert len(noisy) == 16
    same = np.isin(clean.ids, noisy.ids)
    accuracy = np.mean(clean.predicted[same] == clean.references[same])
    assert record.quality.noisy_score + record.quality.noisy_drop == pytest.approx(accuracy)


def test_the_teachers_row_is_the_teacher_and_bears_its_cost_once(finish):
    record, _ = finish("finetune")
    assert record.is_teacher
    assert record.cost.train_s > 0
    assert record.cost.teacher_s == 0
    other, _ = finish("finetune", seed=1, key="other")
    assert other.is_teacher  # of its own seed
    distilled, _ = finish("vanilla-kd", key="distilled")
    assert distilled.cost.teacher_s > record.cost.train_s


def answers(*logits):
    """Return predictions for as many examples, all of whose right answers are 0."""
    one_output = len(logits[0]) == 1
    references = np.zeros(len(logits), dtype=np.float32 if one_output else np.int64)
    return Predictions(np.arange(len(logits)), np.array(logits, dtype=np.float32), references)


def test_a_model_that_always_gives_one_answer_is_pointed_out(make_experiment):
    classes = task_info(make_experiment().task)
    assert score_warnings(answers([0, 1], [0, 2]), 0.9, classes) == ("predicts 'positive' for every example",)
    assert score_warnings(answers([0, 1], [2, 0]), 0.9, classes) == ()
    values = task_info(make_experiment("toy-score").task)
    assert score_warnings(answers([0.5], [0.5]), 0.0, values) == ("predicts the same for every example",)
    assert score_warnings(answers([0.5], [0.6]), 0.0, values) == ()


def test_a_model_no_better_than_the_most_frequent_label_is_pointed_out(make_experiment):
    info = task_info(make_experiment().task)
    (warning,) = score_warnings(answers([0, 1], [2, 0]), info.majority_score, info)
    assert "does not beat" in warning
    assert f"{100 * info.majority_score:.1f}" in warning
    assert score_warnings(answers([0, 1], [2, 0]), info.majority_score + 0.01, info) == ()


def test_a_trained_model_is_not_trained_again(make_config):
    config = make_config()
    train_cell(order_of(config, "hard-labels"), no_report)
    folder = CellFiles(config.results, KEY).folder
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    reports = []
    train_cell(order_of(config, "hard-labels"), lambda *report: reports.append(report))
    assert reports == []
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == written


def test_the_same_seed_gives_the_same_quality_to_the_last_digit(finish):
    first, files = finish("vanilla-kd", "toy-tags", key="first")
    again, other = finish("vanilla-kd", "toy-tags", key="again")
    assert first.quality == again.quality
    one, two = Predictions.load(files.predictions), Predictions.load(other.predictions)
    assert np.array_equal(one.logits, two.logits)


def test_an_artifact_changed_between_the_stages_gets_no_record(make_config):
    config = make_config()
    order = order_of(config, "hard-labels")
    train_cell(order, no_report)
    weights = CellFiles(config.results, KEY).artifact / "model.safetensors"
    changed = load_file(weights)
    changed["classifier.weight"] += 0.01
    save_file(changed, weights, metadata={"format": "pt"})
    with pytest.raises(KdbenchError, match=r"the saved model is not the trained one.*logits differ by up to"):
        score_cell(order, no_report)
    assert RecordStore(config.results).get(KEY) is None
    assert not CellFiles(config.results, KEY).predictions.exists()


def test_an_artifact_that_loses_a_layer_on_the_way_gets_no_record(make_config):
    config = make_config()
    order = order_of(config, "hard-labels[layers=2]")
    train_cell(order, no_report)
    description = CellFiles(config.results, KEY).artifact / "config.json"
    settings = json.loads(description.read_text())
    settings["num_hidden_layers"] = 1
    description.write_text(json.dumps(settings))
    with pytest.raises(KdbenchError, match="the saved model is not the trained one"):
        score_cell(order, no_report)


def test_nothing_is_left_of_a_training_that_failed(make_config):
    config = make_config()

    def interrupted(phase, *progress):
        if phase == "scoring":  # trained and saved, but not noted as such yet
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_cell(order_of(config, "hard-labels"), interrupted)
    files = CellFiles(config.results, KEY)
    assert not files.is_trained()
    assert [path for path in files.folder.parent.iterdir() if path.suffix != ".lock"] == []
    train_cell(order_of(config, "hard-labels"), no_report)
    assert files.is_trained()


def test_the_artifact_is_what_transformers_loads_and_answers_as_recorded(finish, make_experiment):
    record, files = finish("lora")
    model = AutoModelForSequenceClassification.from_pretrained(files.artifact).eval()
    tokenizer = AutoTokenizer.from_pretrained(files.artifact)
    answers = Predictions.load(files.predictions)
    rows = make_experiment(budget=record.budget).task.scored
    text = tokenizer.decode(rows[0]["input_ids"], skip_special_tokens=True)
    logits = model(**tokenizer(text, return_tensors="pt")).logits[0]
    np.testing.assert_allclose(logits.detach().numpy(), answers.logits[0], atol=1e-5)
    assert model.config.id2label == {0: "negative", 1: "positive"}

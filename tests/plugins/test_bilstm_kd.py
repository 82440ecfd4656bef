import pytest
import torch
from helpers.controls import control_of
from helpers.training import Reports, every_kind, same
from kdbench_plugins._bilstm_model import build_bilstm
from kdbench_plugins.bilstm import BiLSTM, BiLSTMKD
from torch.nn.functional import mse_loss

from kdbench.api.bench import model_inputs
from kdbench.api.losses import task_loss
from kdbench.api.task import IGNORED, TaskKind
from kdbench.training.predict import predict

SMALL = {"hidden_size": 8, "dense_size": 6}


def distilled(make_bench, task="toy-sentiment", *, experiment=None, **params):
    strategy = BiLSTMKD(BiLSTMKD.Params(**{**SMALL, **params}))
    return make_bench(strategy, task, **(experiment or {}))


def test_its_control_is_the_same_network_on_labels(make_bench):
    strategy, _ = distilled(make_bench, alpha=0.5, copies=7, init="teacher", learning_rate=0.004)
    spec = control_of(strategy)
    assert spec.name == BiLSTM.name
    assert spec.params == {**SMALL, "init": "teacher", "learning_rate": 0.004}


@pytest.mark.parametrize(("task", "alpha"), [("toy-sentiment", 0.0), ("toy-tags", 0.5)])
def test_by_default_only_tags_are_trained_on_their_labels_too(make_bench, task, alpha):
    fits = []
    for params in ({}, {"alpha": alpha}):
        strategy, bench = distilled(make_bench, task, augmentation=False, **params)
        fits.append(strategy.fit(bench))
    assert same(*fits)


@every_kind
def test_its_first_loss_is_the_papers_formula(make_bench, task):
    reports, seen = Reports(), []
    strategy, bench = distilled(
        make_bench, task, experiment={"report": reports}, alpha=0.25, dropout=0.0, augmentation=False
    )

    def watch(student, batch, teacher):
        seen.append(batch)
        return task_loss(student.logits, batch["labels"])

    _, other = distilled(make_bench, task)
    other.train(build_bilstm(other, strategy.params), loss=watch)
    strategy.fit(bench)
    _, first = reports.losses[0]

    batch = seen[0]
    student = build_bilstm(bench, strategy.params).eval()
    with torch.no_grad():
        answers, targets = (model(**model_inputs(batch)).logits for model in (student, bench.teacher))
    hard = task_loss(answers, batch["labels"])
    if task == "toy-tags":
        counted = batch["labels"] != IGNORED
        answers, targets = answers[counted], targets[counted]
    expected = 0.25 * hard + 0.75 * mse_loss(answers, targets)
    assert first == pytest.approx(expected.item(), rel=0.02)  # training may compute in bfloat16


@every_kind
def test_made_up_rows_are_trained_on_and_take_no_more_steps(make_bench, task):
    strategy, bench = distilled(make_bench, task)
    strategy.fit(bench)
    made = bench.unlabelled_examples
    assert 0 < made <= strategy.params.copies * len(bench.task.train)
    assert bench.runs[-1].steps == 4
    strategy, bench = distilled(make_bench, task, augmentation=False)
    strategy.fit(bench)
    assert bench.unlabelled_examples == 0


@pytest.mark.slow
def test_taught_by_the_teacher_it_comes_to_answer_as_it_does(make_bench, tiny_budget):
    budget = tiny_budget.model_copy(
        update={"train_examples": 192, "steps": dict.fromkeys(TaskKind, 60), "evaluations": 1}
    )
    strategy, bench = distilled(make_bench, experiment={"budget": budget}, learning_rate=0.01)

    def distance(model):
        rows = bench.task.scored
        student, teacher = (
            torch.tensor(predict(one, rows, bench.experiment.collate, device=bench.experiment.device).logits)
            for one in (model, bench.teacher)
        )
        return mse_loss(student, teacher).item()

    before = distance(build_bilstm(bench, strategy.params))
    assert distance(strategy.fit(bench)) < before / 3

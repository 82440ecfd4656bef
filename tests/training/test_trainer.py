import random
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from kdbench.api.bench import model_inputs
from kdbench.api.losses import task_loss
from kdbench.api.params import Params
from kdbench.evaluation.metrics import METRICS
from kdbench.models.build import load_base
from kdbench.models.cost import forward_flops
from kdbench.training import trainer
from kdbench.training.device import has_fast_bf16
from kdbench.training.predict import predict
from kdbench.training.teacher import RunningTeacher
from kdbench.training.trainer import CURVE_POINTS, Schedule, learning_curve, train

SCHEDULE = Schedule(steps=6, batch_size=8, learning_rate=1e-2, evaluations=1, data_seed=11, dropout_seed=12)


@pytest.fixture
def experiment(make_experiment):
    return make_experiment()


@pytest.fixture
def fit(experiment, tmp_path):
    """Train a fresh model; return it with what the training loop did."""

    def run(model=None, *, params=None, schedule=SCHEDULE, validate=lambda model: 0.0, **options):
        model = model or fresh(experiment)
        done = train(
            model,
            experiment.task.train,
            experiment.collate,
            params=params or Params(),
            schedule=schedule,
            validate=validate,
            scratch=tmp_path / "scratch",
            **options,
        )
        return model, done

    return run


def fresh(experiment):
    return load_base(experiment.base.path, experiment.kind, experiment.task.task.labels, seed=0)


def weights_of(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def shown_weights(model):
    """Return the weights, the embedding table as the vectors that it answers with: in training a part of it stands apart."""
    vectors = model.get_input_embeddings()(torch.arange(model.config.vocab_size)[None])[0].detach().clone()
    return {**weights_of(model), "bert.embeddings.word_embeddings.weight": vectors}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def with_steps(steps, evaluations=1, **changed):
    return Schedule(**{**vars(SCHEDULE), "steps": steps, "evaluations": evaluations, **changed})


def noting(seen, note=lambda batch: batch["id"].tolist()):
    """Return the loss on the labels that also appends to `seen` what it notes of each batch."""

    def loss(student, batch, teacher):
        seen.append(note(batch))
        return task_loss(student.logits, batch["labels"])

    return loss


def test_the_rate_of_a_step_can_be_scaled(fit, experiment):
    start = weights_of(fresh(experiment))
    still, _ = fit(rates=[0.0] * 6)
    assert equal(weights_of(still), start)
    as_usual, _ = fit(rates=[1.0] * 6)
    plain, _ = fit()
    assert equal(weights_of(as_usual), weights_of(plain))
    assert not equal(weights_of(plain), start)


def test_without_a_warm_up_the_first_rate_is_scaled_too(fit, experiment):
    start = weights_of(fresh(experiment))
    still, _ = fit(rates=[0.0] * 6, params=Params(warmup=0.0))
    assert equal(weights_of(still), start)


def test_the_same_seeds_give_the_same_weights_bit_for_bit(fit):
    torch.manual_seed(1)
    first, _ = fit()
    torch.manual_seed(2)  # what the global state was does not matter
    again, _ = fit()
    assert equal(weights_of(first), weights_of(again))


@pytest.mark.parametrize("axis", ["data_seed", "dropout_seed"])
def test_another_seed_of_either_axis_gives_other_weights(fit, axis):
    first, _ = fit()
    other, _ = fit(schedule=with_steps(6, **{axis: 99}))
    assert not equal(weights_of(first), weights_of(other))


@pytest.mark.slow
def test_a_loss_that_draws_random_numbers_sees_the_data_in_the_same_order(fit):
    def order(draws):
        seen = []

        def loss(student, batch, teacher):
            seen.append(batch["id"].tolist())
            if draws:
                torch.rand(3)
                np.random.random()
                random.random()
            return task_loss(student.logits, batch["labels"])

        fit(loss=loss, schedule=with_steps(20))  # two epochs and a half
        return seen

    assert order(draws=True) == order(draws=False)


def test_every_example_is_seen_once_before_any_is_seen_twice(fit, experiment):
    batches = []
    fit(loss=noting(batches), schedule=with_steps(16))
    seen = [i for batch in batches for i in batch]
    ids = sorted(experiment.task.train["id"])
    assert len(ids) == 64
    assert sorted(seen[:64]) == ids
    assert sorted(seen[64:]) == ids
    assert seen[:64] != seen[64:]


def test_examples_and_tokens_are_counted_without_padding(fit, experiment):
    length = dict(zip(experiment.task.train["id"], experiment.task.train["length"], strict=True))
    batches = []
    _, done = fit(loss=noting(batches), schedule=with_steps(9))
    assert done.steps == 9
    assert done.examples == 72
    assert done.tokens == sum(length[i] for batch in batches for i in batch)
    assert done.train_s > 0


def test_frozen_parameters_stay_as_they_are(fit, experiment):
    model = fresh(experiment)
    model.base_model.requires_grad_(False)
    before = weights_of(model)
    model, _ = fit(model, params=Params(weight_decay=0.5))
    changed = {name for name, value in weights_of(model).items() if not torch.equal(value, before[name])}
    assert changed == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize(
    ("scores", "kept"), [([0.1, 0.9, 0.3, 0.2], 1), ([0.5, 0.5, 0.5, 0.5], 0), ([0.1, 0.2, 0.3, 0.4], 3)]
)
def test_the_first_of_the_best_validated_weights_are_kept(fit, scores, kept):
    snapshots = []

    def validate(model):
        snapshots.append(shown_weights(model))
        return scores[len(snapshots) - 1]

    model, done = fit(validate=validate, schedule=with_steps(8, evaluations=4))
    assert (done.steps, done.best_score) == (8, max(scores))
    assert [equal(shown_weights(model), snapshot) for snapshot in snapshots] == [i == kept for i in range(4)]


def test_buffers_go_with_the_best_weights(fit, experiment):
    class Counting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = fresh(experiment)
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, **batch):
            if self.training:
                self.calls += 1
            return self.inner(**batch)

    scores = iter([0.7, 0.2])
    model, _ = fit(Counting(), validate=lambda model: next(scores), schedule=with_steps(8, evaluations=2))
    assert model.calls.item() == 4


@pytest.mark.parametrize(("evaluations", "expected"), [(4, [2, 3, 5, 6]), (1, [6]), (9, [1, 2, 3, 4, 5, 6])])
def test_validations_are_spread_over_the_steps_and_the_last_step_is_one(fit, evaluations, expected):
    steps, reported = [], []
    fit(
        validate=lambda model: steps.append(reported[-1]) or 0.0,
        report=lambda step, total, loss: reported.append(step),
        schedule=with_steps(6, evaluations),
    )
    assert steps == expected
    assert reported == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("scores", "steps", "best"),
    [([0.5, 0.6, 0.4, 0.3, 0.9], 8, 0.6), ([0.5, 0.4, 0.6, 0.5, 0.7], 10, 0.7)],
    ids=["ends the training", "is renewed by a better score"],
)
def test_patience(fit, scores, steps, best):
    left = iter(scores)
    _, done = fit(
        validate=lambda model: next(left),
        schedule=with_steps(10, evaluations=5, patience=2),
    )
    assert (done.steps, done.best_score) == (steps, best)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_training_and_names_the_step(fit, value):
    calls = []

    def loss(student, batch, teacher):
        calls.append(1)
        return task_loss(student.logits, batch["labels"]) * (value if len(calls) == 3 else 1.0)

    with pytest.raises(FloatingPointError, match="step 3"):
        fit(loss=loss)


def test_weight_decay_shrinks_weights_by_the_rate_of_each_step(fit, experiment):
    model = fresh(experiment)
    before = weights_of(model)
    model, _ = fit(
        model,
        loss=lambda student, batch, teacher: 0 * student.logits.sum(),
        params=Params(weight_decay=0.5, warmup=0),
        schedule=with_steps(4, learning_rate=0.1),
    )
    # The rate falls linearly: 0.1, 0.075, 0.05, 0.025, of which half is taken off.
    left = 0.95 * 0.9625 * 0.975 * 0.9875
    torch.testing.assert_close(model.classifier.weight.detach(), left * before["classifier.weight"])
    assert torch.equal(model.classifier.bias, before["classifier.bias"])


def test_gradients_are_clipped_to_the_norm_asked_for(fit, experiment):
    def moved(norm):
        model, _ = fit(params=Params(max_grad_norm=norm, weight_decay=0, warmup=0))
        return (model.classifier.weight - fresh(experiment).classifier.weight).abs().max().item()

    assert moved(1.0) > 0.01  # Adam's steps are as large as the rate
    assert moved(1e-12) < 1e-4  # but for gradients far below its epsilon


def test_warm_up_starts_small_and_the_rate_decays_to_nothing(fit, experiment):
    moved = []
    model = fresh(experiment)
    last = model.classifier.weight.detach().clone()

    def validate(model):
        nonlocal last
        moved.append((model.classifier.weight - last).abs().max().item())
        last = model.classifier.weight.detach().clone()
        return 0.0

    fit(model, params=Params(warmup=0.5), validate=validate, schedule=with_steps(10, evaluations=10))
    assert moved[0] == 0  # the rate rises from 0
    assert max(moved) == max(moved[3:7])
    assert moved[9] < max(moved) / 3


def test_dropout_is_on_in_every_step_after_a_validation_too(fit, experiment):
    model = fresh(experiment)
    modes = []

    def validate(model):
        model.eval()
        return 0.0

    loss = noting(modes, lambda batch: model.training)
    fit(model, loss=loss, validate=validate, schedule=with_steps(4, evaluations=4))
    assert modes == [True] * 4


def test_training_prints_nothing(fit, capsys):
    fit(schedule=with_steps(2))
    assert capsys.readouterr() == ("", "")


def test_the_teachers_answer_comes_with_each_batch(fit):
    class Echo:
        requested = {}

        def __call__(self, batch):
            return batch["id"] * 2

    def loss(student, batch, teacher):
        assert torch.equal(teacher, batch["id"] * 2)
        return task_loss(student.logits, batch["labels"])

    fit(loss=loss, teacher_outputs=Echo())


@pytest.mark.slow
@pytest.mark.parametrize(("task", "least"), [("toy-sentiment", 0.9), ("toy-tags", 0.8), ("toy-score", 0.5)])
def test_what_can_be_learned_is_learned(make_experiment, tiny_budget, tmp_path, task, least):
    experiment = make_experiment(task, budget=tiny_budget.model_copy(update={"train_examples": 192}))
    metric, labels = METRICS[experiment.task.task.metric], experiment.task.task.labels
    losses = []
    model = fresh(experiment)
    train(
        model,
        experiment.task.train,
        experiment.collate,
        params=Params(),
        schedule=with_steps(60, evaluations=3, batch_size=16),
        validate=lambda model: metric.of(
            predict(model, experiment.task.validation, experiment.collate, device=experiment.device), labels
        ),
        scratch=tmp_path / "scratch",
        report=lambda step, steps, loss: losses.append(loss),
    )
    answers = predict(model, experiment.task.scored, experiment.collate, device=experiment.device)
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) / 2
    assert metric.of(answers, labels) > least


def test_operations_are_three_forward_passes_over_every_batch(fit, experiment):
    batches = []
    model, done = fit(loss=noting(batches, lambda batch: dict(batch)))
    expected = sum(3 * forward_flops(model.eval(), model_inputs(batch)) for batch in batches)
    # Lengths differ, and with them what attention takes for each position: much in so narrow a model.
    assert done.train_flops == pytest.approx(expected, rel=0.1)


def test_operations_follow_the_steps_that_were_made(fit):
    _, six = fit()
    _, twelve = fit(schedule=with_steps(12))
    assert twelve.train_flops == pytest.approx(2 * six.train_flops, rel=0.1)


def test_a_counter_that_raises_costs_its_figure_alone(fit, monkeypatch):
    @contextmanager
    def raising():
        yield
        raise AssertionError("Expected gradient function to be set")  # as on Perceiver's layers

    model, counted = fit()
    monkeypatch.setattr(trainer, "flop_counter", raising)
    same, uncounted = fit()
    assert equal(weights_of(model), weights_of(same))
    assert uncounted.train_flops is None
    assert (uncounted.examples, uncounted.tokens) == (counted.examples, counted.tokens)
    assert uncounted.curve.losses == counted.curve.losses


def test_what_is_frozen_is_not_counted_as_trained(fit, experiment):
    _, whole = fit()
    frozen = fresh(experiment)
    frozen.base_model.requires_grad_(False)
    _, head = fit(frozen)
    assert head.train_flops / whole.train_flops == pytest.approx(1 / 3, rel=0.05)


def test_a_running_teacher_s_operations_are_counted(fit, experiment):
    _, alone = fit()
    _, beside = fit(teacher_outputs=RunningTeacher(fresh(experiment).eval(), experiment, attentions=False))
    assert beside.train_flops / alone.train_flops == pytest.approx(4 / 3, rel=0.01)


def test_what_is_computed_outside_of_torch_s_sight_has_no_count(fit, monkeypatch):
    monkeypatch.setattr(trainer, "COUNTED_DEVICES", ())
    assert fit()[1].train_flops is None


def test_a_curve_has_the_mean_losses_of_equal_stretches():
    short = learning_curve({1: 4.0, 2: 2.0, 3: 3.0}, {2: 0.5, 3: 0.25})
    assert (short.steps, short.losses) == ((1, 2, 3), (4.0, 2.0, 3.0))
    assert (short.validated, short.scores) == ((2, 3), (0.5, 0.25))
    long = learning_curve({step: float(step) for step in range(1, 2 * CURVE_POINTS + 2)}, {})
    # 101 losses in stretches of three: the mean of 1, 2, 3 is 2; the last stretch has two.
    assert (long.steps[:2], long.losses[:2]) == ((3, 6), (2.0, 5.0))
    assert (long.steps[-1], long.losses[-1]) == (101, 100.5)


def test_training_tells_its_losses_and_validations(fit):
    told, scores = [], iter([0.2, 0.6, 0.4])
    _, run = fit(
        schedule=replace(SCHEDULE, evaluations=3),
        validate=lambda model: next(scores),
        report=lambda step, steps, loss: told.append(loss),
    )
    assert (run.curve.steps, run.curve.losses) == ((1, 2, 3, 4, 5, 6), tuple(told))
    assert (run.curve.validated, run.curve.scores, run.best_score) == ((2, 4, 6), (0.2, 0.6, 0.4), 0.6)


def test_every_training_loop_of_a_model_runs_in_the_same_precision_and_leaves_its_forward_alone(
    fit, experiment
):
    model = fresh(experiment)
    precisions = []
    model.bert.encoder.layer[0].output.dense.register_forward_hook(
        lambda module, inputs, output: precisions.append(output.dtype)
    )
    for _ in range(2):
        fit(model, schedule=with_steps(2), validate=None)
    assert len(precisions) == 4
    assert set(precisions) == {torch.bfloat16 if has_fast_bf16(torch.device("cpu")) else torch.float32}
    assert "forward" not in vars(model)

from collections import Counter

import pytest
import torch
from helpers.training import no_report
from kdbench_plugins.multi_task import MultiTask
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
)

from kdbench import JointStrategy
from kdbench.api.bench import model_inputs
from kdbench.api.losses import task_loss
from kdbench.api.params import FINE_TUNING_RATES
from kdbench.api.task import TaskKind
from kdbench.models.cost import count_parameters
from kdbench.training import multi_task
from kdbench.training.bench import TrainingBench
from kdbench.training.multi_task import train_jointly
from kdbench.training.multi_task_model import MultiTaskModel
from kdbench.training.trainer import train

pytestmark = pytest.mark.slow

ALL_KINDS = ("toy-sentiment", "toy-tags", "toy-score")


class Joint(JointStrategy):
    name = "joint"

    def fit_jointly(self, benches):
        return train_jointly(benches)


@pytest.fixture
def make_benches(make_experiment):
    """Benches of one seed on tasks, each with a budget of its own where one is given."""

    def make(*tasks, seed=0, budgets=None, **params):
        strategy = Joint(Joint.Params(**params))
        told = []
        return {
            task: TrainingBench(
                make_experiment(task, **({"budget": budgets[task]} if budgets else {})),
                strategy,
                seed,
                lambda *report: told.append(report),
            )
            for task in tasks
        }

    return make


def encoder_of(model):
    return {name: value for name, value in model.base_model.state_dict().items() if "pooler" not in name}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@torch.no_grad()
def answers(model, bench, count=8):
    rows = [bench.task.scored[i] for i in range(count)]
    inputs = model_inputs(bench.experiment.collate(rows))
    return model.eval()(**{name: value.to(model.device) for name, value in inputs.items()}).logits.cpu()


def test_one_encoder_serves_three_kinds_and_each_model_is_an_ordinary_one(make_benches, tmp_path):
    benches = make_benches(*ALL_KINDS)
    models = train_jointly(benches)
    for task, bench in benches.items():
        models[task].save_pretrained(tmp_path / task)
        tokens = bench.experiment.kind is TaskKind.TOKEN_CLASSIFICATION
        auto = AutoModelForTokenClassification if tokens else AutoModelForSequenceClassification
        assert type(models[task]) is type(bench.base())
        loaded, notes = auto.from_pretrained(tmp_path / task, output_loading_info=True)
        assert not any(notes[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        assert loaded.state_dict().keys() == bench.base().state_dict().keys()
        assert loaded.config.id2label == bench.base().config.id2label
        torch.testing.assert_close(answers(loaded, bench), answers(models[task], bench), rtol=0, atol=1e-6)
        assert same(encoder_of(loaded), {n: v.cpu() for n, v in encoder_of(models["toy-tags"]).items()})
    heads = {"toy-sentiment": 2, "toy-tags": 5, "toy-score": 1}
    assert {task: bench.task_bytes for task, bench in benches.items()} == {
        task: 4 * (32 * outputs + outputs) for task, outputs in heads.items()
    }
    pooler = [models[task].bert.pooler.dense.weight for task in ("toy-sentiment", "toy-score")]
    assert torch.equal(*pooler)
    assert models["toy-tags"].bert.pooler is None


def test_every_weight_is_trained(make_benches):
    benches = make_benches(*ALL_KINDS, learning_rate=0.01)
    models = train_jointly(benches)
    for task, bench in benches.items():
        before = dict(bench.base().named_parameters())
        unmoved = [n for n, w in models[task].named_parameters() if torch.equal(w.cpu(), before[n])]
        assert unmoved == []


def test_there_are_as_many_steps_as_alone_each_on_one_task_in_its_batch_size(make_benches, tiny_budget):
    tags = tiny_budget.model_copy(
        update={"batch_size": dict.fromkeys(TaskKind, 4), "steps": dict.fromkeys(TaskKind, 6)}
    )
    benches = make_benches(
        "toy-sentiment", "toy-tags", budgets={"toy-sentiment": tiny_budget, "toy-tags": tags}
    )
    seen, progresses = [], []

    class Names:
        requested = {}

        def __init__(self, name):
            self.name = name

        def __call__(self, batch):
            return self.name

    def loss(student, batch, teacher, progress):
        assert teacher == batch["task"]
        seen.append((batch["task"], len(batch["id"]), int(batch["attention_mask"].sum())))
        assert student.logits.shape[-1] == {"toy-sentiment": 2, "toy-tags": 5}[batch["task"]]
        progresses.append(progress)
        return task_loss(student.logits, batch["labels"])

    train_jointly(benches, loss=loss, teacher_outputs={task: Names(task) for task in benches})
    assert Counter(task for task, _, _ in seen) == {"toy-sentiment": 4, "toy-tags": 6}
    assert {(task, size) for task, size, _ in seen} == {("toy-sentiment", 8), ("toy-tags", 4)}
    assert progresses == pytest.approx([step / 10 for step in range(10)])
    for task, bench in benches.items():
        (run,) = bench.runs
        mine = [(size, tokens) for name, size, tokens in seen if name == task]
        assert (run.steps, run.examples) == (len(mine), sum(size for size, _ in mine))
        assert run.tokens == sum(tokens for _, tokens in mine)
    first, second = (bench.runs[0] for bench in benches.values())
    assert first.train_s / first.tokens == pytest.approx(second.train_s / second.tokens)
    assert first.train_flops / first.tokens == pytest.approx(second.train_flops / second.tokens)


def test_a_tasks_rows_come_as_if_it_were_trained_alone(make_benches):
    def order(fit):
        seen = {}

        def loss(student, batch, teacher, progress=None):
            seen.setdefault(batch.get("task"), []).append(batch["id"].tolist())
            return task_loss(student.logits, batch["labels"])

        fit(loss)
        return seen

    benches = make_benches("toy-sentiment", "toy-tags", seed=3)
    together = order(lambda loss: train_jointly(benches, loss=loss))
    alone = order(lambda loss: benches["toy-tags"].train(benches["toy-tags"].base(), loss=loss))
    assert together["toy-tags"] == alone[None]


@pytest.mark.parametrize("balance", [False, True])
def test_each_tasks_curve_has_its_own_losses_at_the_steps_of_the_joint_training(make_benches, balance):
    benches = make_benches("toy-sentiment", "toy-tags")
    losses = {task: {} for task in benches}

    def loss(student, batch, teacher, progress):
        step = 1 + sum(len(own) for own in losses.values())
        value = task_loss(student.logits, batch["labels"])
        losses[batch["task"]][step] = value.item()
        return value

    train_jointly(benches, loss=loss, balance=balance)
    steps = sum(bench.runs[0].steps for bench in benches.values())
    for task, bench in benches.items():
        (run,) = bench.runs
        # So few steps that each is a point of the curve.
        assert dict(zip(run.curve.steps, run.curve.losses, strict=True)) == losses[task]
        assert run.steps == len(losses[task])
        assert len(run.curve.scores) == len(run.curve.validated)
        assert run.curve.validated[-1] == steps


def test_the_score_of_each_task_is_that_of_the_weights_that_were_kept(make_benches):
    benches = make_benches("toy-sentiment", "toy-score", learning_rate=0.003)
    scores = []
    for task, bench in benches.items():
        inner = bench.validation_score
        bench.validation_score = lambda model, task=task, inner=inner: (
            scores.append((task, inner(model))) or scores[-1][1]
        )
    train_jointly(benches)
    # Two evaluations of two tasks, in the order of their names.
    assert [task for task, _ in scores] == ["toy-score", "toy-sentiment"] * 2
    pairs = [dict(scores[:2]), dict(scores[2:])]
    best = max(pairs, key=lambda pair: sum(pair.values()))
    assert {task: bench.runs[0].best_score for task, bench in benches.items()} == best


def test_the_same_seed_gives_the_same_models_in_whatever_order_the_tasks_come(make_benches):
    def fitted(tasks, seed):
        models = train_jointly(make_benches(*tasks, seed=seed))
        return {f"{task}.{name}": v for task in models for name, v in models[task].state_dict().items()}

    first = fitted(["toy-sentiment", "toy-tags"], 1)
    again = fitted(["toy-tags", "toy-sentiment"], 1)
    other = fitted(["toy-sentiment", "toy-tags"], 2)
    assert same(first, again)
    assert not same(first, other)


def test_a_small_task_is_learned_beside_a_large_one(make_benches, tiny_budget):
    large = tiny_budget.model_copy(
        update={
            "train_examples": 192,
            "steps": dict.fromkeys(TaskKind, 60),
            "evaluations": 1,
        }
    )
    small = large.model_copy(update={"train_examples": 64, "steps": dict.fromkeys(TaskKind, 20)})
    benches = make_benches(
        "toy-sentiment",
        "toy-tags",
        budgets={"toy-tags": large, "toy-sentiment": small},
        learning_rate=0.005,
        dropout=0.0,
    )
    models = train_jointly(benches, balance=True)
    runs = {task: bench.runs[0] for task, bench in benches.items()}
    assert (runs["toy-sentiment"].steps, runs["toy-tags"].steps) == (20, 60)
    bench = benches["toy-sentiment"]
    labels = torch.tensor(bench.task.scored["labels"][:])

    def right(model):
        return (answers(model, bench, len(labels)).argmax(-1) == labels).float().mean()

    assert right(bench.base()) < 0.65
    assert right(models["toy-sentiment"]) > 0.85


def test_balancing_changes_the_training_and_leaves_no_hook(make_benches):
    plain = train_jointly(make_benches("toy-score", "toy-tags"))
    balanced = train_jointly(make_benches("toy-score", "toy-tags"), balance=True)
    assert not same(encoder_of(plain["toy-tags"]), encoder_of(balanced["toy-tags"]))
    assert not any(weight._post_accumulate_grad_hooks for weight in balanced["toy-tags"].parameters())


def test_each_step_is_taken_at_its_own_tasks_rate(make_benches, monkeypatch):
    seen = []

    def watched(model, rows, *args, schedule, batches, rates, **kwargs):
        seen.extend(
            (rows[batch[0]]["task"], schedule.learning_rate * rate)
            for batch, rate in zip(batches, rates, strict=True)
        )
        return train(model, rows, *args, schedule=schedule, batches=batches, rates=rates, **kwargs)

    monkeypatch.setattr(multi_task, "train", watched)
    train_jointly(make_benches("toy-sentiment", "toy-tags"))
    assert set(seen) == {
        ("toy-sentiment", FINE_TUNING_RATES[TaskKind.SEQUENCE_CLASSIFICATION]),
        ("toy-tags", FINE_TUNING_RATES[TaskKind.TOKEN_CLASSIFICATION]),
    }


def test_by_default_each_task_gets_the_steps_that_it_has_alone(make_experiment, tiny_budget):
    few, many = (
        tiny_budget.model_copy(update={"steps": dict.fromkeys(tiny_budget.steps, n)}) for n in (2, 5)
    )
    strategy = MultiTask(MultiTask.Params())
    benches = {
        task: TrainingBench(make_experiment(task, budget=budget), strategy, 0, no_report)
        for task, budget in (("toy-sentiment", few), ("toy-tags", many))
    }
    train_jointly(benches)
    assert [bench.runs[0].steps for bench in benches.values()] == [2, 5]


def test_shared_parts_count_once(make_benches):
    benches = make_benches(*ALL_KINDS)
    model = MultiTaskModel({task: bench.base() for task, bench in benches.items()})
    sizes = {task: count_parameters(bench.base()) for task, bench in benches.items()}
    heads = 32 * 2 + 2, 32 * 5 + 5, 32 * 1 + 1
    pooler = 32 * 32 + 32
    encoder = sizes["toy-tags"] - heads[1]
    assert count_parameters(model) == encoder + pooler + sum(heads)
    assert sum(weight.numel() for weight in model.shared_weights()) == encoder


def test_other_architectures_share_their_encoders_too():
    config = DistilBertConfig(vocab_size=20, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
    models = {
        "texts": DistilBertForSequenceClassification(config),
        "words": DistilBertForTokenClassification(config),
    }
    alone = {task: count_parameters(model) for task, model in models.items()}
    encoder = count_parameters(models["words"].distilbert)
    model = MultiTaskModel(models)
    assert count_parameters(model) == sum(alone.values()) - encoder
    assert model.head_bytes("texts") == 4 * ((16 * 16 + 16) + (16 * 2 + 2))

from types import SimpleNamespace

import pytest
import torch
from kdbench_plugins._pruning import attention_blocks, feed_forwards, mask_importance, training_batches
from torch import nn

from kdbench import TaskKind
from kdbench.models.build import load_base

KINDS = ["toy-sentiment", "toy-tags", "toy-score"]


class Sum(nn.Module):
    """Adds up 0.5 x + 2 y over the positions of a text whose word pieces stand for points (x, y)."""

    def __init__(self):
        super().__init__()
        points = torch.tensor([[1.0, 2.0], [3.0, -1.0], [1.0, 0.0], [0.0, 1.0]])
        self.points = nn.Embedding.from_pretrained(points)
        self.weigh = nn.Linear(2, 1, bias=False)
        self.weigh.weight.data = torch.tensor([[0.5, 2.0]])

    def forward(self, input_ids, attention_mask):
        return SimpleNamespace(logits=self.weigh(self.points(input_ids)).sum(dim=1))


def batch_of(*examples):
    ids, labels = zip(*examples, strict=True)
    ids = torch.tensor(ids)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.tensor(labels)}


FIRST = ([0, 1], 3.0)  # sums to 0.5 x 4 + 2 x 1 = 4; d(4 - 3)^2 / dxi = 2 x 1 x (2, 2)
SECOND = ([2, 3], 4.5)  # sums to 0.5 x 1 + 2 x 1 = 2.5; d(2.5 - 4.5)^2 / dxi = 2 x -2 x (0.5, 2)


@pytest.mark.parametrize("batches", [[batch_of(FIRST, SECOND)], [batch_of(FIRST), batch_of(SECOND)]])
def test_absolute_values_are_taken_for_each_example_and_then_averaged(batches):
    model = Sum()
    (importance,) = mask_importance(model, [(model.weigh, 2)], batches, TaskKind.SEQUENCE_REGRESSION)
    assert importance.tolist() == [(4 + 2) / 2, (4 + 8) / 2]


def test_units_of_one_group_are_masked_together():
    model = Sum()
    (importance,) = mask_importance(
        model, [(model.weigh, 1)], [batch_of(FIRST, SECOND)], TaskKind.SEQUENCE_REGRESSION
    )
    assert importance.tolist() == [(8 + 10) / 2]


@pytest.mark.parametrize("task", KINDS)
def test_how_examples_are_put_into_batches_does_not_matter(make_experiment, tiny_model, task):
    experiment = make_experiment(task)
    model = load_base(tiny_model, experiment.kind, experiment.task.task.labels, seed=0)
    rows = [experiment.task.train[i] for i in range(12)]
    layers = [(block.output, block.heads) for block in attention_blocks(model, "test")]
    layers += [(block.outer, block.neurons) for block in feed_forwards(model, "test")]
    together = mask_importance(model, layers, [experiment.collate(rows)], experiment.kind)
    alone = mask_importance(model, layers, [experiment.collate([row]) for row in rows], experiment.kind)
    for first, second in zip(together, alone, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-6)


def test_it_is_the_slope_of_the_loss_and_leaves_the_model_as_it_was(make_experiment, tiny_model):
    experiment = make_experiment()
    model = load_base(tiny_model, experiment.kind, experiment.task.task.labels, seed=0).double().eval()
    batch = experiment.collate([experiment.task.train[0]])
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    before = model(**inputs).logits
    outer = feed_forwards(model, "test")[2].outer
    (importance,) = mask_importance(model, [(outer, outer.in_features)], [batch], experiment.kind)
    assert torch.equal(model(**inputs).logits, before)
    assert all(weight.grad is None for weight in model.parameters())

    def loss(scale):
        column = outer.weight.data[:, 7].clone()
        outer.weight.data[:, 7] *= scale
        value = nn.functional.cross_entropy(model(**inputs).logits, batch["labels"]).item()
        outer.weight.data[:, 7] = column
        return value

    slope = (loss(1.001) - loss(0.999)) / 0.002
    assert importance[7].item() == pytest.approx(abs(slope), rel=1e-3)


def test_no_more_training_rows_are_drawn_than_asked_for_each_once(make_bench):
    _, bench = make_bench("finetune")
    drawn = [number for batch in training_batches(bench, 40) for number in batch["id"].tolist()]
    assert len(set(drawn)) == len(drawn) == 40
    assert set(drawn) <= set(bench.task.train["id"])
    again = [number for batch in training_batches(bench, 40) for number in batch["id"].tolist()]
    assert drawn == again
    assert sum(len(batch["id"]) for batch in training_batches(bench, 1000)) == len(bench.task.train) == 64

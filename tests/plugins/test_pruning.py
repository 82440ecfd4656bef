import copy
import json
from types import SimpleNamespace

import pytest
import torch
from helpers.architectures import NAMES, config
from helpers.training import KINDS
from kdbench_plugins._pruning import (
    PrunedModel,
    attention_blocks,
    feed_forwards,
    hf_model,
    mask_importance,
    set_intermediate_size,
    training_batches,
)
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    FNetConfig,
    FNetForSequenceClassification,
)

from kdbench import TaskKind
from kdbench.errors import UsageError
from kdbench.models.artifacts import load_artifact
from kdbench.models.build import load_base
from kdbench.models.cost import count_parameters
from kdbench.models.layers import keep_layers


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


HEADS = [[0, 2], [3]]


NEURONS = [[1, 5, 30], [0, 2, 31]]


KINDS = {"roberta": AutoModelForTokenClassification, "distilbert": AutoModelForTokenClassification}
"""Of what kind a model is where it is not a text classifier."""


def make(name):
    """A model of two layers, which in ALBERT are one."""
    torch.manual_seed(0)
    settings = config(name, num_hidden_layers=2, intermediate_size=32)
    return KINDS.get(name, AutoModelForSequenceClassification).from_config(settings).eval()


WITHOUT_BIASES = GATED = ("modernbert", "eurobert")
OWN_LAYERS = [name for name in NAMES if name != "albert"]
OWN_HEADS = [name for name in OWN_LAYERS if name != "mpnet"]


INPUTS = {
    "input_ids": torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 1, 1]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
}


@torch.no_grad()
def answers(model):
    return model(**INPUTS).logits


def masked_heads(model):
    """Return `model` whose heads other than `HEADS` have no say."""
    masked = copy.deepcopy(model)
    for block, kept in zip(attention_blocks(masked, "test"), HEADS, strict=True):
        for head in set(range(4)) - set(kept):
            block.output.weight.data[:, 4 * head : 4 * head + 4] = 0
    return masked


def cut_heads(model):
    for block, kept in zip(attention_blocks(model, "test"), HEADS, strict=True):
        block.keep(kept)
    return PrunedModel.around(model)


@pytest.mark.parametrize(
    ("name", "implementation"), [("bert", "sdpa"), *((name, "eager") for name in OWN_HEADS)]
)
def test_heads_cut_out_are_heads_that_have_no_say(name, implementation):
    model = make(name)
    if name != "deberta-v3":  # which has one implementation
        model.set_attn_implementation(implementation)
    whole, size = answers(model), count_parameters(model)
    expected = answers(masked_heads(model))
    pruned = cut_heads(model)
    torch.testing.assert_close(answers(pruned), expected, rtol=0, atol=1e-5)
    assert (whole - expected).abs().max() > 0.01
    bias = 0 if name in WITHOUT_BIASES else 4
    head = 3 * (4 * 16 + bias) + 16 * 4
    assert size - count_parameters(pruned) == 5 * head
    assert [block.heads for block in attention_blocks(model, "test")] == [2, 1]


@pytest.mark.parametrize("name", OWN_LAYERS)
def test_neurons_cut_out_are_neurons_that_have_no_say(name, tmp_path):
    model = make(name)
    masked, size = copy.deepcopy(model), count_parameters(model)
    for block, kept in zip(feed_forwards(masked, "test"), NEURONS, strict=True):
        block.outer.weight.data[:, sorted(set(range(32)) - set(kept))] = 0
    for block, kept in zip(feed_forwards(model, "test"), NEURONS, strict=True):
        block.keep(kept)
    set_intermediate_size(model, 3)
    neuron = (2 if name in GATED else 1) * 16 + (0 if name in WITHOUT_BIASES else 1) + 16
    torch.testing.assert_close(answers(model), answers(masked), rtol=0, atol=1e-5)
    assert size - count_parameters(model) == 2 * 29 * neuron
    model.save_pretrained(tmp_path)  # the plain model of its class, whose configuration tells the size
    torch.testing.assert_close(answers(type(model).from_pretrained(tmp_path).eval()), answers(model))


@pytest.mark.parametrize("name", OWN_HEADS)
def test_what_is_cut_further_is_saved_as_it_stands(name, registry, tmp_path):
    assert registry.strategies  # loading the plugins registers their model classes
    pruned = cut_heads(make(name))
    inner = hf_model(pruned, "test")
    for block in feed_forwards(inner, "test"):
        block.keep([4, 8])
    set_intermediate_size(inner, 2)
    keep_layers(inner, [0])
    pruned.save_pretrained(tmp_path)
    (tmp_path / "kdbench.json").write_text(json.dumps({"model": "pruned"}))
    again = load_artifact(tmp_path)
    torch.testing.assert_close(answers(again), answers(pruned), rtol=0, atol=0)
    assert count_parameters(again) == count_parameters(pruned)
    assert [block.heads for block in attention_blocks(again.inner, "test")] == [2]


def test_heads_can_be_cut_twice():
    pruned = cut_heads(make("bert"))
    attention_blocks(pruned.inner, "test")[0].keep([1])  # what was head 2
    once = make("bert")
    for block, kept in zip(attention_blocks(once, "test"), [[2], [3]], strict=True):
        block.keep(kept)
    torch.testing.assert_close(answers(pruned), answers(once), rtol=0, atol=0)


@torch.no_grad()
def test_what_is_cut_of_a_layer_that_all_share_is_cut_of_all(tmp_path):
    masked, model = make("albert"), make("albert")
    (heads,), (network,) = attention_blocks(masked, "test"), feed_forwards(masked, "test")
    heads.output.weight[:, [*range(4), *range(8, 12)]] = 0
    network.outer.weight[:, 3:] = 0
    (heads,), (network,) = attention_blocks(model, "test"), feed_forwards(model, "test")
    heads.keep([1, 3])
    network.keep(range(3))
    set_intermediate_size(model, 3)
    pruned = PrunedModel.around(model)
    torch.testing.assert_close(answers(pruned), answers(masked), rtol=0, atol=1e-5)
    pruned.save_pretrained(tmp_path)
    assert torch.equal(answers(PrunedModel.from_pretrained(tmp_path).eval()), answers(pruned))


def test_heads_that_cannot_be_pruned_alone_are_refused_with_what_can():
    with pytest.raises(UsageError, match=r"'prune-heads': the layers of MPNet.* take prune-ffn"):
        attention_blocks(make("mpnet"), "prune-heads")
    grouped = AutoModelForSequenceClassification.from_config(config("eurobert", num_key_value_heads=2))
    with pytest.raises(
        UsageError, match=r"'prune-heads': in EuroBert.* share the keys of one.* take prune-ffn"
    ):
        attention_blocks(grouped, "prune-heads")


def test_an_architecture_whose_blocks_are_not_known_is_refused():
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 32}
    model = FNetForSequenceClassification(FNetConfig(**sizes))
    for find in (attention_blocks, feed_forwards):
        with pytest.raises(
            UsageError, match=r"'prune-ffn' cannot find the layers of FNet.*; take a base model built as"
        ):
            find(model, "prune-ffn")


def test_a_model_of_another_make_is_refused_with_what_can_be_done():
    with pytest.raises(
        UsageError, match="'trim-vocab' cannot change a Bilinear; put it after a strategy that"
    ):
        hf_model(nn.Bilinear(1, 1, 1), "trim-vocab")

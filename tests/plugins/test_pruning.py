import copy
import json
from types import SimpleNamespace

import pytest
import torch
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
    AlbertConfig,
    AlbertForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForTokenClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    RobertaConfig,
    RobertaForTokenClassification,
)

from kdbench import TaskKind
from kdbench.errors import UsageError
from kdbench.models.artifacts import load_artifact
from kdbench.models.build import keep_layers, load_base
from kdbench.models.cost import count_parameters


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


SMALL = {"vocab_size": 50, "num_attention_heads": 4, "num_hidden_layers": 2, "hidden_size": 16}


HEADS = [[0, 2], [3]]


NEURONS = [[1, 5, 30], [0, 2, 31]]


def make(config, model_class, **settings):
    torch.manual_seed(0)
    return model_class(config(**{**SMALL, **settings}, initializer_range=0.3)).eval()


MODELS = {
    "bert": lambda: make(BertConfig, BertForSequenceClassification, intermediate_size=32),
    "roberta": lambda: make(RobertaConfig, RobertaForTokenClassification, intermediate_size=32),
    "electra": lambda: make(
        ElectraConfig, ElectraForSequenceClassification, intermediate_size=32, embedding_size=8
    ),
    "distilbert": lambda: make(DistilBertConfig, DistilBertForTokenClassification, hidden_dim=32),
}


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


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("name", MODELS)
def test_heads_cut_out_are_heads_that_have_no_say(name, implementation):
    model = MODELS[name]()
    model.set_attn_implementation(implementation)
    whole, size = answers(model), count_parameters(model)
    expected = answers(masked_heads(model))
    pruned = cut_heads(model)
    torch.testing.assert_close(answers(pruned), expected, rtol=0, atol=1e-5)
    assert (whole - expected).abs().max() > 0.01
    head = 3 * (4 * 16 + 4) + 16 * 4
    assert size - count_parameters(pruned) == 5 * head
    assert [block.heads for block in attention_blocks(model, "test")] == [2, 1]


@pytest.mark.parametrize("name", MODELS)
def test_neurons_cut_out_are_neurons_that_have_no_say(name, tmp_path):
    model = MODELS[name]()
    masked, size = copy.deepcopy(model), count_parameters(model)
    for block, kept in zip(feed_forwards(masked, "test"), NEURONS, strict=True):
        block.outer.weight.data[:, sorted(set(range(32)) - set(kept))] = 0
    for block, kept in zip(feed_forwards(model, "test"), NEURONS, strict=True):
        block.keep(kept)
    set_intermediate_size(model, 3)
    torch.testing.assert_close(answers(model), answers(masked), rtol=0, atol=1e-5)
    assert size - count_parameters(model) == 2 * 29 * (16 + 1 + 16)
    model.save_pretrained(tmp_path)  # the plain model of its class, whose configuration tells the size
    torch.testing.assert_close(answers(type(model).from_pretrained(tmp_path).eval()), answers(model))


@pytest.mark.parametrize("name", MODELS)
def test_what_is_cut_further_is_saved_as_it_stands(name, registry, tmp_path):
    assert registry.strategies  # loading the plugins registers their model classes
    pruned = cut_heads(MODELS[name]())
    inner = hf_model(pruned, "test")
    for block in feed_forwards(inner, "test"):
        block.keep([4, 8])
    set_intermediate_size(inner, 2)
    keep_layers(inner, [1])
    pruned.save_pretrained(tmp_path)
    (tmp_path / "kdbench.json").write_text(json.dumps({"model": "pruned"}))
    again = load_artifact(tmp_path)
    torch.testing.assert_close(answers(again), answers(pruned), rtol=0, atol=0)
    assert count_parameters(again) == count_parameters(pruned)
    assert [block.heads for block in attention_blocks(again.inner, "test")] == [1]


def test_heads_can_be_cut_twice():
    pruned = cut_heads(MODELS["bert"]())
    attention_blocks(pruned.inner, "test")[0].keep([1])  # what was head 2
    once = MODELS["bert"]()
    for block, kept in zip(attention_blocks(once, "test"), [[2], [3]], strict=True):
        block.keep(kept)
    torch.testing.assert_close(answers(pruned), answers(once), rtol=0, atol=0)


def test_an_architecture_whose_blocks_are_not_known_is_refused():
    small = {"vocab_size": 50, "hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 32}
    modern = ModernBertForSequenceClassification(
        ModernBertConfig(**small, num_hidden_layers=2, pad_token_id=0, cls_token_id=1, sep_token_id=2)
    )
    with pytest.raises(UsageError, match="'prune-heads' cannot find the attention heads of ModernBert"):
        attention_blocks(modern, "prune-heads")
    # All of ALBERT's layers are one and the same: cutting one layer would cut all.
    albert = AlbertForSequenceClassification(AlbertConfig(**small, embedding_size=8))
    with pytest.raises(UsageError, match="'prune-ffn' cannot find the feed-forward layers of Albert"):
        feed_forwards(albert, "prune-ffn")


def test_a_model_of_another_make_is_refused_with_what_can_be_done():
    with pytest.raises(
        UsageError, match="'trim-vocab' cannot change a Bilinear; put it after a strategy that"
    ):
        hf_model(nn.Bilinear(1, 1, 1), "trim-vocab")

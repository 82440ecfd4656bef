import pytest
import torch
from kdbench_plugins.ia3 import IA3
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from kdbench.errors import UsageError
from kdbench.models.cost import count_trainable
from kdbench.training.bench import TrainingBench


def bench_of(make_experiment, **params):
    strategy = IA3(IA3.Params(**params))
    return strategy, TrainingBench(make_experiment(), strategy, 0, lambda *progress: None)


def test_merged_outputs_of_keys_and_values_and_inputs_of_the_feed_forward_part_are_rescaled(make_experiment):
    strategy, bench = bench_of(make_experiment, learning_rate=0.05)
    start = bench.base().bert.encoder.layer[1]
    model = strategy.fit(bench)
    layer = model.base_model.model.bert.encoder.layer[1]
    keys = layer.attention.self.key.ia3_l["default"].detach().clone()  # a column: one factor an output
    inner = layer.output.dense.ia3_l["default"].detach().clone()  # a row: one factor an input
    merged = strategy.finalize(model, bench).bert.encoder.layer[1]
    assert (keys.shape, inner.shape) == ((32, 1), (1, 64))
    for now, before, factors in (
        (merged.attention.self.key.weight, start.attention.self.key.weight, keys),
        (merged.attention.self.key.bias, start.attention.self.key.bias, keys[:, 0]),
        (merged.output.dense.weight, start.output.dense.weight, inner),
        (merged.output.dense.bias, start.output.dense.bias, 1),
        (merged.attention.output.dense.weight, start.attention.output.dense.weight, 1),
        (merged.attention.self.query.weight, start.attention.self.query.weight, 1),
    ):
        torch.testing.assert_close(now, before * factors, rtol=0, atol=1e-6)
    assert (keys - 1).abs().max() > 0.01


def test_the_feed_forward_part_may_be_left_out(make_experiment):
    strategy, bench = bench_of(make_experiment, feedforward=())
    head = 33 * 2
    assert count_trainable(strategy.adapt(bench.base(), bench)) == 4 * (32 + 32) + head


@pytest.mark.parametrize("named", [{}, {"target": ("k_lin", "v_lin"), "feedforward": ("lin2",)}])
def test_other_architectures_call_their_layers_otherwise(make_experiment, named):
    config = DistilBertConfig(vocab_size=20, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
    strategy, bench = bench_of(make_experiment, **named)
    head = (16 * 16 + 16) + (16 * 2 + 2)  # DistilBERT's has two layers
    assert (
        count_trainable(strategy.adapt(DistilBertForSequenceClassification(config), bench))
        == 2 * (16 + 16 + 32) + head
    )
    strategy, bench = bench_of(make_experiment, target=("k_lin",), feedforward=("inner",))
    with pytest.raises(UsageError, match=r"no linear layer 'inner'; set feedforward to some of"):
        strategy.adapt(DistilBertForSequenceClassification(config), bench)


def test_a_head_of_two_layers_is_put_back_whole(make_experiment):
    """RoBERTa's, and that of its kind: peft trains a copy of the head as one module."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    strategy, bench = bench_of(make_experiment)
    base = RobertaForSequenceClassification(RobertaConfig(vocab_size=20, **sizes)).eval()
    adapted = strategy.adapt(base, bench).eval()
    with torch.no_grad():
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight += 0.1
    pieces = torch.arange(3, 12)[None]
    before = adapted(input_ids=pieces).logits
    merged = strategy.finalize(adapted, bench)
    assert set(merged.state_dict()) == set(RobertaForSequenceClassification(base.config).state_dict())
    torch.testing.assert_close(merged(input_ids=pieces).logits, before, rtol=0, atol=1e-5)

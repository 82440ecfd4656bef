import pytest
import torch
from kdbench_plugins.ia3 import IA3
from transformers import DistilBertConfig, DistilBertForSequenceClassification

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


def test_other_architectures_call_their_layers_otherwise(make_experiment):
    config = DistilBertConfig(vocab_size=20, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
    strategy, bench = bench_of(make_experiment, target=("k_lin", "v_lin"), feedforward=("lin2",))
    head = (16 * 16 + 16) + (16 * 2 + 2)  # DistilBERT's has two layers
    assert (
        count_trainable(strategy.adapt(DistilBertForSequenceClassification(config), bench))
        == 2 * (16 + 16 + 32) + head
    )
    strategy, bench = bench_of(make_experiment, target=("k_lin",))
    with pytest.raises(UsageError, match=r"no linear layer 'output.dense'; set feedforward to some of"):
        strategy.adapt(DistilBertForSequenceClassification(config), bench)

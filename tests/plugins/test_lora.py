import pytest
import torch
from kdbench_plugins.lora import DoRA
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from kdbench.errors import UsageError
from kdbench.models.cost import count_parameters, count_trainable
from kdbench.training.bench import TrainingBench


@pytest.mark.parametrize(
    ("model_class", "task"),
    [(BertForSequenceClassification, "toy-sentiment"), (BertForTokenClassification, "toy-tags")],
)
def test_rank_8_on_query_and_value_adds_294_912_to_bert_base(make_bench, model_class, task):
    strategy, bench = make_bench("lora", task)
    with torch.device("meta"):
        base = model_class(BertConfig(num_labels=2))
        before = count_parameters(base)
        model = strategy.adapt(base, bench)
    head = 768 * 2 + 2
    assert count_trainable(model) == 294_912 + head
    assert (
        count_parameters(model) == before + 294_912 + head
    )  # the head that is trained stands beside its start


def test_any_linear_layer_may_be_updated(make_bench):
    strategy, bench = make_bench('lora[r=3,target=["query","key","value"]]')
    assert count_trainable(strategy.adapt(bench.base(), bench)) == 4 * 3 * 3 * (32 + 32) + 33 * 2


def test_other_architectures_call_their_layers_otherwise(make_bench):
    base = DistilBertForSequenceClassification(
        DistilBertConfig(vocab_size=20, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
    )
    strategy, bench = make_bench('lora[r=2,target=["q_lin","v_lin"]]')
    head = (16 * 16 + 16) + (16 * 2 + 2)  # DistilBERT's has two layers
    assert count_trainable(strategy.adapt(base, bench)) == 2 * 2 * 2 * (16 + 16) + head


@pytest.mark.parametrize("target", ['["query","valeu"]', '["valeu"]', '["uery"]'])
def test_a_layer_that_the_base_lacks_is_refused_with_those_it_has(make_bench, target):
    strategy, bench = make_bench(f"lora[target={target}]")
    with pytest.raises(UsageError, match=r"target to some of classifier, dense, key, query, value"):
        strategy.fit(bench)


def test_what_is_merged_is_the_papers_formula(make_experiment):
    strategy = DoRA(DoRA.Params(r=2, alpha=6.0, learning_rate=0.05))
    bench = TrainingBench(make_experiment(), strategy, 0, lambda *progress: None)
    model = strategy.fit(bench)
    start = bench.base().bert.encoder.layer[3].attention.self.value.weight.detach()
    layer = model.base_model.model.bert.encoder.layer[3].attention.self.value
    down, up = (part["default"].weight.detach() for part in (layer.lora_A, layer.lora_B))
    magnitude = layer.lora_magnitude_vector["default"].weight.detach().clone()
    assert not torch.allclose(magnitude, start.norm(dim=1), atol=1e-4)  # it was trained
    moved = start + 6.0 / 2 * up @ down
    expected = magnitude[:, None] * moved / moved.norm(dim=1, keepdim=True)
    merged = strategy.finalize(model, bench).bert.encoder.layer[3].attention.self.value.weight
    torch.testing.assert_close(merged, expected, rtol=0, atol=1e-6)


def test_magnitudes_start_as_those_of_the_weights(make_experiment):
    strategy = DoRA(DoRA.Params())
    bench = TrainingBench(make_experiment(), strategy, 0, lambda *progress: None)
    model = strategy.adapt(bench.base(), bench)
    layer = model.base_model.model.bert.encoder.layer[0].attention.self.query
    magnitude = layer.lora_magnitude_vector["default"].weight
    torch.testing.assert_close(magnitude, layer.base_layer.weight.norm(dim=1))
    assert magnitude.requires_grad

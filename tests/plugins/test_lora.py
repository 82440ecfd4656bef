import pytest
import torch
from helpers.training import changed_budget
from kdbench_plugins.lora import DoRA
from peft import PeftModel
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from kdbench import model_inputs
from kdbench.errors import UsageError
from kdbench.models.artifacts import Adapter, load_artifact, save_artifact
from kdbench.models.cost import count_parameters, count_trainable
from kdbench.models.onnx import OnnxModel
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


def test_all_linear_are_those_of_the_encoder(make_bench):
    strategy, bench = make_bench("lora[r=1,target=all-linear]")
    model = strategy.adapt(bench.base(), bench)
    per_layer = 4 * (32 + 32) + 2 * (32 + 64)
    assert count_trainable(model) == 4 * per_layer + (32 + 32) + 33 * 2  # and BERT's pooler


def test_a_scale_by_the_root_of_the_rank_is_rank_stabilized(make_bench):
    for spec, scale in (("lora[r=4,alpha=8]", 8 / 4), ("rslora[r=4,alpha=8]", 8 / 2)):
        strategy, bench = make_bench(spec)
        layer = (
            strategy.adapt(bench.base(), bench).base_model.model.bert.encoder.layer[0].attention.self.query
        )
        assert layer.scaling["default"] == scale


def test_pissa_starts_from_the_largest_singular_values(make_bench):
    strategy, bench = make_bench("pissa[r=2]")
    weight = bench.base().bert.encoder.layer[1].attention.self.value.weight.detach()
    layer = strategy.adapt(bench.base(), bench).base_model.model.bert.encoder.layer[1].attention.self.value
    down, up = (part["default"].weight.detach() for part in (layer.lora_A, layer.lora_B))
    left, values, right = torch.linalg.svd(weight)
    update = 8 / 2 * up @ down
    torch.testing.assert_close(update, left[:, :2] * values[:2] @ right[:2], rtol=0, atol=1e-5)
    torch.testing.assert_close(layer.base_layer.weight.detach(), weight - update, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["pissa[learning_rate=0.01]", "vera[learning_rate=0.1]"])
def test_peft_loads_the_adapter_beside_the_base(make_bench, name, tmp_path):
    strategy, bench = make_bench(name)
    model = strategy.fit(bench)
    Adapter.of(model).save(tmp_path)
    loaded = PeftModel.from_pretrained(bench.base(), tmp_path).eval()
    batch = model_inputs(bench.collate([bench.task.scored[row] for row in range(8)]))
    with torch.no_grad():
        torch.testing.assert_close(loaded(**batch).logits, model.eval()(**batch).logits, rtol=0, atol=1e-4)


def test_lora_plus_moves_b_by_its_own_rate(make_bench):
    """AdamW's first step moves every weight by its rate, whatever the size of its gradient."""
    for ratio in (1, 16):
        strategy, bench = make_bench(
            f"lora-plus[rate_ratio={ratio},learning_rate=0.001,warmup=0.0]", budget=changed_budget(1)
        )
        model = strategy.fit(bench)
        updates = [weight for name, weight in model.named_parameters() if ".lora_B." in name]
        largest = max(weight.detach().abs().max().item() for weight in updates)  # B starts at zero
        assert largest == pytest.approx(0.001 * ratio, rel=0.01)
        head = model.base_model.model.classifier.modules_to_save["default"].bias.detach()
        assert head.abs().max().item() == pytest.approx(0.001, rel=0.01)


def test_unmerged_the_updates_are_stored_once_beside_the_weights(make_bench, tmp_path):
    strategy, bench = make_bench("lora-unmerged[r=3]")
    model = strategy.fit(bench)
    deployed = strategy.finalize(model, bench)
    assert count_parameters(deployed) == count_parameters(bench.base()) + 4 * 2 * 3 * (32 + 32)
    save_artifact(deployed, bench.tokenizer, tmp_path / "saved")
    inputs = model_inputs(bench.collate([bench.task.scored[row] for row in range(4)]))
    graph = OnnxModel.of(load_artifact(tmp_path / "saved"), inputs)
    with torch.no_grad():
        torch.testing.assert_close(graph(**inputs).logits, deployed(**inputs).logits, atol=1e-4, rtol=1e-4)

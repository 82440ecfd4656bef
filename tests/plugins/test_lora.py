import pytest
import torch
from helpers.training import KINDS
from kdbench_plugins.lora import DoRA
from peft import PeftModel
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from kdbench.api.bench import model_inputs
from kdbench.errors import UsageError
from kdbench.models.cost import count_parameters, count_trainable
from kdbench.training.bench import TrainingBench

OUTPUTS = {"toy-sentiment": 2, "toy-tags": 5, "toy-score": 1}


@torch.no_grad()
def answers(model, bench):
    rows = [bench.task.scored[i] for i in range(16)]
    return model.eval()(**model_inputs(bench.experiment.collate(rows))).logits


@pytest.mark.parametrize("task", KINDS)
def test_merged_it_answers_as_before(make_bench, task):
    strategy, bench = make_bench("lora[learning_rate=0.02]", task)
    model = strategy.fit(bench)
    before = answers(model, bench)
    merged = strategy.finalize(model, bench)
    torch.testing.assert_close(answers(merged, bench), before, rtol=0, atol=1e-5)
    assert (before - answers(bench.base(), bench)).abs().max() > 0.01  # there was something to merge


@pytest.mark.parametrize("task", KINDS)
def test_what_is_deployed_is_the_plain_model_of_the_base(make_bench, task):
    strategy, bench = make_bench("lora", task)
    base = bench.base()
    merged = strategy.finalize(strategy.fit(bench), bench)
    assert type(merged) is type(base)
    assert merged.state_dict().keys() == base.state_dict().keys()
    assert count_parameters(merged) == count_parameters(base)


@pytest.mark.parametrize("task", KINDS)
def test_nothing_but_updates_and_head_is_trained(make_bench, task):
    strategy, bench = make_bench("lora", task)
    base = bench.base().state_dict()
    merged = strategy.finalize(strategy.fit(bench), bench).state_dict()
    changed = {name for name in base if not torch.equal(base[name], merged[name])}
    updated = {
        f"bert.encoder.layer.{layer}.attention.self.{target}.weight"
        for layer in range(4)
        for target in ("query", "value")
    }
    assert changed == updated | {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize(
    ("spec", "rank", "places"), [("lora", 8, 2), ("lora[r=3,target=[query,key,value]]", 3, 3)]
)
def test_trainable_weights_are_two_thin_matrices_a_place_and_the_head(make_bench, task, spec, rank, places):
    if "target" in spec:
        spec = spec.replace("[query,key,value]", '["query","key","value"]')
    strategy, bench = make_bench(spec, task)
    model = strategy.fit(bench)
    head = 32 * OUTPUTS[task] + OUTPUTS[task]
    assert count_trainable(model) == 4 * places * rank * (32 + 32) + head


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


@pytest.mark.parametrize("task", KINDS)
def test_updates_change_nothing_at_the_start(make_bench, task):
    strategy, bench = make_bench("lora", task)
    model = strategy.adapt(bench.base(), bench)
    assert isinstance(model, PeftModel)
    torch.testing.assert_close(answers(model, bench), answers(bench.base(), bench), rtol=0, atol=1e-6)


def test_the_same_seed_gives_the_same_updates(make_bench):
    def fitted(seed):
        strategy, bench = make_bench("lora", seed=seed)
        return strategy.finalize(strategy.fit(bench), bench).state_dict()

    first, again, other = fitted(1), fitted(1), fitted(2)
    query = "bert.encoder.layer.0.attention.self.query.weight"
    assert torch.equal(first[query], again[query])
    assert not torch.equal(first[query], other[query])


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

"""What holds of every strategy that trains little beside a frozen encoder."""

import pytest
import torch
from helpers.training import KINDS
from kdbench_plugins._parameter_efficient import head_modules, linear_layers
from kdbench_plugins.adalora import AdaLoRA
from kdbench_plugins.bitfit import BitFit
from kdbench_plugins.ia3 import IA3
from kdbench_plugins.linear_probe import LinearProbe
from kdbench_plugins.lora import DoRA, LoRA
from kdbench_plugins.prefix_tuning import PrefixTuning
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
)

from kdbench.api.bench import model_inputs
from kdbench.errors import UsageError
from kdbench.models.artifacts import load_artifact, save_artifact
from kdbench.models.cost import count_parameters, count_trainable
from kdbench.training.bench import TrainingBench

OUTPUTS = {"toy-sentiment": 2, "toy-tags": 5, "toy-score": 1}
MERGED = [DoRA, AdaLoRA, IA3]
ALL = [LoRA, *MERGED, PrefixTuning, BitFit, LinearProbe]


@pytest.fixture
def bench_of(make_experiment):
    """A bench for a strategy class: ``bench_of(LoRA, "toy-tags", r=2)``."""

    def make(strategy_class, task="toy-sentiment", **params):
        strategy = strategy_class(strategy_class.Params(**params))
        return TrainingBench(make_experiment(task), strategy, 0, lambda *progress: None), strategy

    return make


@torch.no_grad()
def answers(model, bench):
    rows = [bench.task.scored[i] for i in range(16)]
    return model.eval()(**model_inputs(bench.experiment.collate(rows))).logits


def differing(first, second):
    return {name for name in first if not torch.equal(first[name], second[name])}


@pytest.mark.slow
@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize("strategy_class", MERGED)
def test_merged_it_answers_as_before(bench_of, strategy_class, task):
    bench, strategy = bench_of(strategy_class, task, learning_rate=0.05)
    model = strategy.fit(bench)
    before = answers(model, bench)
    merged = strategy.finalize(model, bench)
    assert type(merged) is type(bench.base())
    torch.testing.assert_close(answers(merged, bench), before, rtol=0, atol=1e-5)
    head = {f"classifier.{weight}" for weight in ("weight", "bias")}
    moved = differing(bench.base().state_dict(), merged.state_dict())
    assert moved > head  # there was something to merge


@pytest.mark.parametrize("strategy_class", MERGED)
def test_untrained_it_changes_nothing(bench_of, strategy_class):
    bench, strategy = bench_of(strategy_class)
    model = strategy.adapt(bench.base(), bench)
    torch.testing.assert_close(answers(model, bench), answers(bench.base(), bench), rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize("strategy_class", [PrefixTuning, LinearProbe])
def test_what_is_deployed_survives_saving(bench_of, tmp_path, strategy_class, task):
    bench, strategy = bench_of(strategy_class, task)
    model = strategy.finalize(strategy.fit(bench), bench)
    save_artifact(model, bench.experiment.tokenizer, tmp_path / "artifact")
    loaded = load_artifact(tmp_path / "artifact")
    torch.testing.assert_close(answers(loaded, bench), answers(model, bench), rtol=0, atol=1e-6)
    assert count_parameters(loaded) == count_parameters(model)


@pytest.mark.parametrize("strategy_class", ALL)
def test_the_base_stays_as_it_is_and_a_task_costs_what_is_trained(bench_of, strategy_class):
    bench, strategy = bench_of(strategy_class)
    model = strategy.fit(bench)
    trained = {weight for weight in model.parameters() if weight.requires_grad}
    frozen = [weight for weight in model.parameters() if weight not in trained]
    base = {weight.detach().numpy().tobytes() for weight in bench.base().parameters()}
    assert strategy.freezes_base
    assert 0 < count_trainable(model) < count_parameters(bench.base()) / 2
    # Each frozen weight is one of the base's, bit for bit.
    unknown = [weight for weight in frozen if weight.numpy().tobytes() not in base and weight.numel() > 1]
    assert unknown == []


def bert_base(model_class=BertForSequenceClassification):
    with torch.device("meta"):
        return model_class(BertConfig(num_labels=2))


HEAD = 768 * 2 + 2


def test_the_encoder_of_bert_base_has_109_482_240_weights():
    with torch.device("meta"):
        assert count_parameters(BertModel(BertConfig())) == 109_482_240


@pytest.mark.parametrize(
    ("strategy_class", "added"),
    [
        (DoRA, 12 * 2 * (8 * (768 + 768) + 768)),  # and a magnitude for each output
        (IA3, 12 * (768 + 768 + 3072)),  # 55,296: keys, values, inner activations
        # A row, a column and a value for each of 12 ranks, in four square layers and two of the feed-forward part.
        (AdaLoRA, 12 * 12 * (4 * (768 + 768 + 1) + 2 * (768 + 3072 + 1))),
    ],
)
def test_what_is_added_to_bert_base(bench_of, strategy_class, added):
    bench, strategy = bench_of(strategy_class)
    with torch.device("meta"):
        model = strategy.adapt(bert_base(), bench)
    assert count_trainable(model) == added + HEAD


def test_the_head_is_all_that_the_encoder_lacks():
    small = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    distilled = DistilBertConfig(vocab_size=20, dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    modern = ModernBertConfig(**small, intermediate_size=32, pad_token_id=0)
    with torch.device("meta"):
        assert head_modules(BertForSequenceClassification(BertConfig(**small))) == ["classifier"]
        assert head_modules(RobertaForSequenceClassification(RobertaConfig(**small))) == ["classifier"]
        assert head_modules(RobertaForTokenClassification(RobertaConfig(**small))) == ["classifier"]
        assert head_modules(ModernBertForSequenceClassification(modern)) == ["head", "classifier"]
        assert head_modules(DistilBertForSequenceClassification(distilled)) == [
            "pre_classifier",
            "classifier",
        ]


@pytest.mark.parametrize("wrong", ["valeu", "uery", ""])
def test_a_name_that_ends_no_linear_layer_is_refused(wrong):
    with pytest.raises(
        UsageError, match=r"has no linear layer '.*'; set target to some of classifier, dense"
    ):
        linear_layers(bert_base(), ("query", wrong), strategy="lora", parameter="target")


def test_names_are_ends_of_whole_words():
    found = linear_layers(bert_base(), ("output.dense",), strategy="ia3", parameter="feedforward")
    layers = [f"bert.encoder.layer.{layer}" for layer in range(12)]
    assert sorted(found) == sorted(
        f"{layer}.{part}" for layer in layers for part in ("attention.output.dense", "output.dense")
    )

"""What strategies that train little share, and how many weights they add to BERT-base."""

import pytest
import torch
from kdbench_plugins._parameter_efficient import linear_layers
from kdbench_plugins.adalora import AdaLoRA
from kdbench_plugins.ia3 import IA3
from kdbench_plugins.lora import DoRA
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    ElectraConfig,
    MPNetConfig,
    RobertaConfig,
)

from kdbench.errors import UsageError
from kdbench.models.cost import count_parameters, count_trainable
from kdbench.training.bench import TrainingBench


@pytest.fixture
def bench_of(make_experiment):
    """A bench for a strategy class: ``bench_of(LoRA, "toy-tags", r=2)``."""

    def make(strategy_class, task="toy-sentiment", **params):
        strategy = strategy_class(strategy_class.Params(**params))
        return TrainingBench(make_experiment(task), strategy, 0, lambda *progress: None), strategy

    return make


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


@pytest.mark.parametrize("auto", [AutoModelForSequenceClassification, AutoModelForTokenClassification])
@pytest.mark.parametrize("architecture", [RobertaConfig, ElectraConfig, MPNetConfig])
def test_every_layer_of_a_head_is_trained_where_forward_reads_it(make_bench, architecture, auto):
    """RoBERTa's head for texts is a module of two layers, of which peft always trains a copy as a whole."""
    task = "toy-sentiment" if auto is AutoModelForSequenceClassification else "toy-tags"
    strategy, bench = make_bench(
        'lora[target=["query"]]' if architecture is not MPNetConfig else 'lora[target=["q"]]', task
    )
    sizes = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    base = auto.from_config(architecture(**sizes, intermediate_size=16, num_labels=2))
    head = [name for name in base.state_dict() if not name.startswith(base.base_model_prefix)]
    before = {name: weight.clone() for name, weight in base.state_dict().items()}
    model = strategy.adapt(base, bench)
    batch = {"input_ids": torch.tensor([[5, 6, 7]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=1.0)
    for _ in range(2):
        model(**batch).logits.square().sum().backward()
        optimizer.step()
    after = strategy.finalize(model, bench).state_dict()
    assert all(not torch.equal(after[name], before[name]) for name in head)
    frozen = [name for name in before if ".layer." in name and "query" not in name and ".q." not in name]
    assert all(torch.equal(after[name], before[name]) for name in frozen)

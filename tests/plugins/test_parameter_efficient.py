"""What strategies that train little share, and how many weights they add to BERT-base."""

import pytest
import torch
from kdbench_plugins._parameter_efficient import linear_layers
from kdbench_plugins.adalora import AdaLoRA
from kdbench_plugins.ia3 import IA3
from kdbench_plugins.lora import DoRA
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
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

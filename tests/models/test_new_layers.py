"""Which modules of a base model its pretraining has not trained."""

import json

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
)

from kdbench import new_layers
from kdbench.models.base import POOLING


def test_the_head_is_all_that_the_encoder_lacks():
    small = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    distilled = DistilBertConfig(vocab_size=20, dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    modern = ModernBertConfig(**small, intermediate_size=32, pad_token_id=0)
    with torch.device("meta"):
        assert new_layers(BertForSequenceClassification(BertConfig(**small))) == ["classifier"]
        assert new_layers(RobertaForSequenceClassification(RobertaConfig(**small))) == [
            "classifier.dense",
            "classifier.out_proj",
        ]
        assert new_layers(RobertaForTokenClassification(RobertaConfig(**small))) == ["classifier"]
        assert new_layers(ModernBertForSequenceClassification(modern)) == [
            "head.dense",
            "head.norm",
            "classifier",
        ]
        assert new_layers(DistilBertForSequenceClassification(distilled)) == [
            "pre_classifier",
            "classifier",
        ]


def trained_pooler(model):
    """Return `model` with a pooler as training leaves it: one direction of its input stands out."""
    with torch.no_grad():
        weight = model.pooler.dense.weight
        weight += torch.outer(torch.ones(len(weight)), torch.ones(len(weight))) / len(weight)
        model.pooler.dense.bias.fill_(0.1)
    return model


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return BertModel(
        BertConfig(
            vocab_size=50, hidden_size=64, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
        )
    )


def loaded(encoder, folder, model_class=BertForSequenceClassification):
    encoder.save_pretrained(folder)
    return model_class.from_pretrained(folder)


def test_a_pooler_that_was_never_trained_is_new(encoder, tmp_path):
    assert new_layers(loaded(encoder, tmp_path)) == ["bert.pooler.dense", "classifier"]


def test_a_trained_pooler_is_not(encoder, tmp_path):
    assert new_layers(loaded(trained_pooler(encoder), tmp_path)) == ["classifier"]


def test_a_trained_matrix_tells_without_its_bias(encoder, tmp_path):
    trained_pooler(encoder).pooler.dense.bias.data.zero_()
    assert new_layers(loaded(encoder, tmp_path)) == ["classifier"]


def test_a_pooler_that_the_checkpoint_lacks_is_new(tmp_path):
    config = BertConfig(vocab_size=50, hidden_size=64, num_hidden_layers=1, num_attention_heads=2)
    model = loaded(BertModel(config, add_pooling_layer=False), tmp_path)
    assert new_layers(model) == ["bert.pooler.dense", "classifier"]


def test_a_sentence_encoder_averages_its_tokens_whatever_its_pooler_holds(encoder, tmp_path):
    (tmp_path / POOLING).parent.mkdir()
    (tmp_path / POOLING).write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    assert new_layers(loaded(trained_pooler(encoder), tmp_path)) == ["bert.pooler.dense", "classifier"]


def test_tags_need_no_pooler(encoder, tmp_path):
    assert new_layers(loaded(encoder, tmp_path, BertForTokenClassification)) == ["classifier"]

import pytest
import torch
from kdbench_plugins.bitfit import BitFit
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
)

from kdbench.errors import UsageError
from kdbench.models.cost import count_trainable


def biases_of(layers, hidden, inner, pooler):
    """Query, key, value, output, two normalizations, both feed-forward layers; the embeddings' normalization."""
    return layers * (4 * hidden + 2 * hidden + inner + hidden) + hidden + pooler * hidden


@pytest.mark.parametrize(
    ("model_class", "pooler"), [(BertForSequenceClassification, True), (BertForTokenClassification, False)]
)
def test_bert_base_has_a_tenth_of_a_percent_of_biases(model_class, pooler):
    with torch.device("meta"):
        model = BitFit(BitFit.Params()).freeze(model_class(BertConfig(num_labels=2)))
    head = 768 * 2 + 2
    assert count_trainable(model) == biases_of(12, 768, 3072, pooler) + head
    assert biases_of(12, 768, 3072, True) == 102_912


def test_a_model_without_biases_is_refused():
    with torch.device("meta"):
        base = ModernBertForSequenceClassification(
            ModernBertConfig(
                vocab_size=20,
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                pad_token_id=0,
            )
        )
    with pytest.raises(
        UsageError, match="encoder of ModernBertForSequenceClassification has no biases to train; take lora"
    ):
        BitFit(BitFit.Params()).freeze(base)

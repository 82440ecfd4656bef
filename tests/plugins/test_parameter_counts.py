"""Published sizes, on random weights without memory: what the board's size columns are made of."""

import pytest
import torch
from kdbench_plugins._adapter_model import AdapterModel
from transformers import BertConfig, BertForSequenceClassification, BertModel

from kdbench.models.cost import count_parameters, count_trainable

HEAD = 768 * 2 + 2
TINYBERT = {
    "hidden_size": 312,
    "num_hidden_layers": 4,
    "num_attention_heads": 12,
    "intermediate_size": 1200,
}
MINILM = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}


@pytest.mark.parametrize(
    ("changed", "parameters"),
    [({}, 109_482_240), (TINYBERT, 14_350_248), (MINILM, 22_713_216)],
    ids=["BERT-base", "TinyBERT 4x312", "all-MiniLM-L6"],
)
def test_encoders_with_their_pooler(changed, parameters):
    with torch.device("meta"):
        model = BertModel(BertConfig(**changed))
    assert count_parameters(model) == parameters


@pytest.mark.parametrize(
    ("placement", "bottleneck", "norms", "parameters"),
    [
        ("houlsby", 64, False, 2_379_264),
        ("houlsby", 64, True, 2_379_264 + 25 * 2 * 768),  # 24 in the layers, 1 after the embeddings
        ("pfeiffer", 48, False, 894_528),
    ],
)
def test_adapters_on_bert_base(placement, bottleneck, norms, parameters):
    with torch.device("meta"):
        base = BertForSequenceClassification(BertConfig(num_labels=2))
        model = AdapterModel.around(base, placement=placement, bottleneck=bottleneck, activation="relu")
    model.train_only_adapters(norms=norms)
    assert count_trainable(model) == parameters + HEAD
    added = parameters - (25 * 2 * 768 if norms else 0)
    assert count_parameters(model) == 109_482_240 + added + HEAD

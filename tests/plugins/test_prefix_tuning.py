import pytest
import torch
from helpers.architectures import config
from kdbench_plugins._prefix_model import PrefixModel
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from kdbench import structure
from kdbench.errors import UsageError
from kdbench.models.cost import count_trainable

SMALL = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.3,
}
TEXT = torch.tensor([[2, 7, 11, 5, 3]])
ONES = torch.ones_like(TEXT)


def random_model(model_class, config_class):
    torch.manual_seed(0)
    return model_class(config_class(**SMALL)).eval()


@pytest.mark.parametrize(
    ("model_class", "config_class"),
    [
        (BertForSequenceClassification, BertConfig),
        (BertForTokenClassification, BertConfig),
        (RobertaForSequenceClassification, RobertaConfig),
        (ElectraForSequenceClassification, ElectraConfig),
    ],
)
@torch.no_grad()
def test_a_prefix_of_the_texts_own_keys_and_values_changes_nothing(model_class, config_class):
    """Each position is then attended to twice, with half the weight."""
    base = random_model(model_class, config_class)
    found = []
    for name, module in base.named_modules():
        if name.endswith((".self.key", ".self.value")):
            module.register_forward_hook(lambda module, inputs, output: found.append(output[0]))
    expected = base(input_ids=TEXT, attention_mask=ONES).logits
    assert len(found) == 2 * 3
    model = PrefixModel.around(base, TEXT.shape[1], None).eval()
    model.prefix.copy_(torch.cat(found, dim=1))
    torch.testing.assert_close(model(TEXT, ONES).logits, expected, rtol=0, atol=1e-5)
    model.prefix.add_(1)
    assert (model(TEXT, ONES).logits - expected).abs().max() > 0.01


@torch.no_grad()
def test_the_text_keeps_its_positions_and_padding_does_not_matter():
    base = random_model(BertForSequenceClassification, BertConfig)
    embedded = base.bert.embeddings(TEXT)
    model = PrefixModel.around(base, 4, 8).eval()
    alone = model(TEXT, ONES, output_hidden_states=True)
    assert torch.equal(alone.hidden_states[0], embedded)
    ids = torch.cat([torch.nn.functional.pad(TEXT, (0, 3)), torch.full((1, 8), 9)])
    mask = torch.tensor([[1] * 5 + [0] * 3, [1] * 8])
    torch.testing.assert_close(model(ids, mask).logits[:1], alone.logits, rtol=0, atol=1e-6)


@torch.no_grad()
def test_without_its_network_the_prefix_is_what_the_network_gave():
    model = PrefixModel.around(random_model(BertForSequenceClassification, BertConfig), 4, 8).eval()
    before = model(TEXT, ONES).logits
    through = count_trainable(model)
    model.fold()
    torch.testing.assert_close(model(TEXT, ONES).logits, before, rtol=0, atol=1e-6)
    head = 16 * 2 + 2 + 16 * 16 + 16  # the pooler is as new as the classifier
    assert through == 4 * 16 + (16 * 8 + 8) + (8 * 96 + 96) + head
    assert count_trainable(model) == 4 * 96 + head  # 3 layers x (keys, values) x 16


def test_the_prefix_of_bert_base_has_184_320_weights():
    with torch.device("meta"):
        base = BertForSequenceClassification(BertConfig(num_labels=2))
        model = PrefixModel.around(base, 10, None)
    assert count_trainable(model) == 184_320 + 768 * 2 + 2  # 10 x 12 layers x 2 x 768, and the head


@pytest.mark.parametrize("name", ["distilbert", "albert", "modernbert", "eurobert", "grouped"])
@torch.no_grad()
def test_elsewhere_too_a_prefix_is_what_every_position_attends_to(name):
    """A prefix of values that are all equal, and of keys that win every comparison, makes attention return these values."""
    changes = {"num_key_value_heads": 2} if name == "grouped" else {}
    torch.manual_seed(0)
    base = AutoModelForSequenceClassification.from_config(
        config("eurobert" if name == "grouped" else name, **changes)
    )
    model = PrefixModel.around(base, 2, None).eval()
    outputs = []
    for attention in structure.attentions_of(base, "test"):
        attention.output.register_forward_pre_hook(lambda module, inputs: outputs.append(inputs[0]))
    model.prefix.zero_()
    few = model(TEXT, ONES).logits
    half = [(output * 7 / 5).clone() for output in outputs[:1]]
    values = model.prefix.view(2, model.layers, 2, -1)[:, :, 1]
    values.fill_(3.0)
    outputs.clear()
    many = model(TEXT, ONES).logits
    assert half[0].abs().max() > 0
    assert outputs[0].mean() > half[0].mean() * 5 / 7
    assert (few - many).abs().max() > 1e-4
    # Padding does not matter, though a prefix stands before it; a text keeps its positions.
    ids = torch.cat([torch.nn.functional.pad(TEXT, (0, 15)), torch.full((1, 20), 9)])
    mask = torch.tensor([[1] * 5 + [0] * 15, [1] * 20])
    torch.testing.assert_close(model(ids, mask).logits[:1], many, rtol=0, atol=1e-5)


@torch.no_grad()
def test_elsewhere_too_the_texts_own_keys_and_values_change_nothing():
    """Without rotation, as in DistilBERT; each position is then attended to twice, with half the weight."""
    base = random_model(DistilBertForSequenceClassification, DistilBertConfig)
    found = []
    for name, module in base.named_modules():
        if name.endswith((".k_lin", ".v_lin")):
            module.register_forward_hook(lambda module, inputs, output: found.append(output[0]))
    expected = base(input_ids=TEXT, attention_mask=ONES).logits
    model = PrefixModel.around(base, TEXT.shape[1], None).eval()
    model.prefix.copy_(torch.cat(found, dim=1))
    torch.testing.assert_close(model(TEXT, ONES).logits, expected, rtol=0, atol=1e-5)
    model.prefix.add_(1)
    assert (model(TEXT, ONES).logits - expected).abs().max() > 0.01


@pytest.mark.parametrize("name", ["mpnet", "deberta-v3"])
def test_attention_that_scores_relative_positions_is_refused(name):
    base = AutoModelForSequenceClassification.from_config(config(name))
    with pytest.raises(
        UsageError, match=r"'prefix-tuning': .* relative positions of .* take lora or adapter-pfeiffer"
    ):
        PrefixModel.around(base, 2, None)

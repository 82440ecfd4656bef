from functools import partial

import pytest
import torch
from kdbench_plugins._bilstm_model import BiLSTMModel
from kdbench_plugins._pruning import PrunedModel
from peft import LoraConfig, TaskType, get_peft_model
from torch import nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)

from kdbench.api.models import architecture_of
from kdbench.models.cost import (
    count_non_embedding,
    count_parameters,
    count_trainable,
    flop_counter,
    forward_flops,
)


def published_bert(model_class, **changed):
    with torch.device("meta"):
        return model_class(BertConfig(**changed))


def test_all_weights_of_bert_base():
    model = published_bert(BertModel)
    assert count_parameters(model) == 109_482_240
    assert count_non_embedding(model) == 109_482_240 - (30_522 + 512 + 2) * 768 == 85_646_592


def test_a_weight_that_two_modules_share_counts_once():
    tied = nn.ModuleDict({"embed": nn.Embedding(10, 4), "decode": nn.Linear(4, 10, bias=False)})
    assert count_parameters(tied) == 80
    tied["decode"].weight = tied["embed"].weight
    assert count_parameters(tied) == 40
    assert count_non_embedding(tied) == 0


def test_bert_with_its_tied_decoder_has_the_embedding_table_once():
    masked = published_bert(BertForMaskedLM)
    head = 768 * 768 + 768 + 2 * 768 + 30_522  # transform, its LayerNorm, the decoder's bias
    without_pooler = 109_482_240 - (768 * 768 + 768)
    # On the meta device nothing is tied yet: tie, as loading does.
    masked.tie_weights()
    assert count_parameters(masked) == without_pooler + head
    assert count_non_embedding(masked) == without_pooler + head - (30_522 + 512 + 2) * 768


def test_two_tables_of_one_weight_are_left_out_once():
    first, second = nn.Embedding(10, 4), nn.Embedding(10, 4)
    second.weight = first.weight
    model = nn.ModuleList([first, second, nn.Linear(4, 2)])
    assert count_parameters(model) == 50
    assert count_non_embedding(model) == 10


def test_frozen_weights_are_not_trainable():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    assert count_trainable(model) == count_parameters(model) == 15 + 8
    model[0].requires_grad_(False)
    assert count_trainable(model) == 8
    assert count_parameters(model) == 23


def test_buffers_are_no_parameters():
    assert count_parameters(nn.BatchNorm1d(6)) == 12


# Operations, held against formulas of what each network multiplies.


WIDTHS = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}


def bert(model_class=BertForSequenceClassification, attention="sdpa"):
    model = model_class(BertConfig(**WIDTHS, num_labels=3)).eval()
    model.set_attn_implementation(attention)
    return model


def bilstm(tokens=False, pairs=False):
    return BiLSTMModel(
        vocabulary=50,
        table_size=8,
        embedding_size=8,
        hidden_size=5,
        dense_size=6,
        outputs=3,
        tokens=tokens,
        pairs=pairs,
        dropout=0.1,
    ).eval()


def inputs_of(length, batch=1):
    ids = torch.ones(batch, length, dtype=torch.long)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}


def layer_flops(length, width=32, inner=64, attended=32):
    """Return a transformer layer's: four projections, two attention products, two feed-forward products."""
    return 2 * length * (4 * width * attended + 2 * width * inner) + 4 * length**2 * attended


HEAD = 2 * (32 * 32 + 32 * 3)
"""Pooler and classifier read one position."""


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("length", [2, 11, 32])
def test_bert_is_its_products(length, attention):
    assert forward_flops(bert(attention=attention), inputs_of(length)) == 2 * layer_flops(length) + HEAD


def test_attention_kernels_without_a_mask_count_the_same():
    inputs = {"input_ids": inputs_of(9)["input_ids"]}
    assert forward_flops(bert(), inputs) == 2 * layer_flops(9) + HEAD


def test_a_tagger_s_head_reads_every_position():
    assert (
        forward_flops(bert(BertForTokenClassification), inputs_of(7)) == 2 * layer_flops(7) + 7 * 2 * 32 * 3
    )


def test_bert_base_has_the_operations_that_are_told_of_it():
    with torch.device("meta"):
        model = BertForSequenceClassification(BertConfig()).eval()
    inputs = {name: value.to("meta") for name, value in inputs_of(128).items()}
    inputs.pop("attention_mask")  # its values cannot be read there
    with torch.no_grad(), flop_counter() as counter:
        model(**inputs)
    # 22.5 billion at 128 word pieces (Sun et al. 2020, MobileBERT, table 1; Jiao et al. 2020, TinyBERT, table 1).
    assert counter.get_total_flops() / 1e9 == pytest.approx(22.5, rel=0.01)


def test_pruned_heads_and_widths_are_not_counted():
    pruned = PrunedModel(architecture_of(bert()), [4, 1]).eval()
    assert forward_flops(pruned, inputs_of(11)) == layer_flops(11) + layer_flops(11, attended=8) + HEAD


def test_a_bypass_counts_on_top_until_it_is_merged():
    config = LoraConfig(r=2, target_modules=["query", "value"], task_type=TaskType.SEQ_CLS)
    adapted = get_peft_model(bert(), config).eval()
    plain = 2 * layer_flops(11) + HEAD
    assert forward_flops(adapted, inputs_of(11)) == plain + 2 * 2 * (2 * 11 * 2 * (32 + 32))
    assert forward_flops(adapted.merge_and_unload(), inputs_of(11)) == plain


def lstm_flops(length, width=8, hidden=5):
    """Return both directions': four gates that read the input and the state before."""
    return 2 * 2 * length * 4 * hidden * (width + hidden)


def test_an_lstm_is_counted_though_torch_s_counter_does_not_know_it():
    assert forward_flops(bilstm(), inputs_of(11)) == lstm_flops(11) + 2 * (10 * 6 + 6 * 3)
    assert forward_flops(bilstm(tokens=True), inputs_of(11)) == lstm_flops(11) + 11 * 2 * (10 * 6 + 6 * 3)


def test_the_gpu_s_lstm_counts_as_the_cpu_s():
    lstm = nn.LSTM(8, 5, batch_first=True, num_layers=2, bidirectional=True)
    read = torch.zeros(3, 11, 8)
    with torch.no_grad(), flop_counter() as on_cpu:
        lstm(read)
    weights = [weight.detach().to("meta") for weight in lstm._flat_weights]
    with flop_counter() as on_gpu:
        state = torch.zeros(4, 3, 5, device="meta")
        torch.ops.aten._cudnn_rnn(
            read.to("meta"), weights, 4, None, state, state, 2, 5, 0, 2, True, 0.0, False, True, [], None
        )
    first, second = 8 + 5, 10 + 5
    assert on_cpu.get_total_flops() == on_gpu.get_total_flops() == 2 * 33 * 2 * 4 * 5 * (first + second)


@pytest.mark.parametrize("network", [bert, partial(bert, attention="eager"), bilstm])
def test_a_backward_pass_takes_twice_the_forward_pass(network):
    model = network()
    forward = forward_flops(model, inputs_of(11, batch=4))
    with flop_counter() as counter:
        model(**inputs_of(11, batch=4)).logits.sum().backward()
    # The fused kernel keeps no attentions and works them out anew: one product more a layer.
    kernels = [str(kernel) for kernel in counter.get_flop_counts()["Global"]]
    again = 2 * 4 * 2 * 11**2 * 32 if any("flash_attention" in kernel for kernel in kernels) else 0
    assert counter.get_total_flops() == 3 * forward + again


def test_frozen_layers_are_not_counted_as_trained():
    model = bert()
    model.base_model.requires_grad_(False)
    forward = forward_flops(model, inputs_of(11))
    with flop_counter() as counter:
        model(**inputs_of(11)).logits.sum().backward()
    assert counter.get_total_flops() == forward + 2 * 32 * 3  # the gradient of the classifier's weights alone


class Elsewhere(nn.Module):
    def forward(self, input_ids, **rest):
        return input_ids.numpy().sum()


def test_a_model_that_computes_outside_of_torch_is_not_known():
    assert forward_flops(Elsewhere(), inputs_of(5)) is None

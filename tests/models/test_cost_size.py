import torch
from torch import nn
from transformers import BertConfig, BertForMaskedLM, BertModel

from kdbench.models.cost import count_non_embedding, count_parameters, count_trainable


def bert(model_class, **changed):
    with torch.device("meta"):
        return model_class(BertConfig(**changed))


def test_all_weights_of_bert_base():
    model = bert(BertModel)
    assert count_parameters(model) == 109_482_240
    assert count_non_embedding(model) == 109_482_240 - (30_522 + 512 + 2) * 768 == 85_646_592


def test_a_weight_that_two_modules_share_counts_once():
    tied = nn.ModuleDict({"embed": nn.Embedding(10, 4), "decode": nn.Linear(4, 10, bias=False)})
    assert count_parameters(tied) == 80
    tied["decode"].weight = tied["embed"].weight
    assert count_parameters(tied) == 40
    assert count_non_embedding(tied) == 0


def test_bert_with_its_tied_decoder_has_the_embedding_table_once():
    masked = bert(BertForMaskedLM)
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

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from kdbench.training.multi_task_model import MultiTaskModel
from kdbench.training.sparse_embeddings import UsedRows, only_used_rows

PIECES = [5, 7, 7, 11, 3]


def make_model(**changed):
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return BertForSequenceClassification(BertConfig(**sizes, intermediate_size=32, **changed)).eval()


def table_of(model):
    return model.get_input_embeddings().weight.detach().clone()


def train(model, context, weight_decay):
    """Take five steps of AdamW on the same batch, its padding included."""
    ids = torch.tensor([[5, 7, 11], [7, 3, 0]])
    mask = (ids > 0).long()
    with context:
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=weight_decay)
        for _ in range(5):
            optimizer.zero_grad()
            loss = model(input_ids=ids, attention_mask=mask, labels=torch.tensor([0, 1])).loss
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
    return {name: weight.detach() for name, weight in model.state_dict().items()}


def test_all_weights_train_as_with_the_whole_table():
    model, other = make_model(), make_model()
    expected = train(other, nullcontext(), weight_decay=0)
    weights = train(model, only_used_rows(model, PIECES), weight_decay=0)
    assert weights.keys() == expected.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-5, atol=1e-6)


def test_unused_rows_and_that_of_the_padding_are_not_even_decayed():
    model = make_model()
    before = table_of(model)
    train(model, only_used_rows(model, [0, *PIECES]), weight_decay=0.5)
    changed = (table_of(model) != before).any(1).nonzero().flatten().tolist()
    assert changed == sorted(set(PIECES))


def test_word_pieces_beyond_the_used_ones_are_answered_from_the_whole_table():
    model = make_model()
    whole, ids = model.get_input_embeddings(), torch.arange(50)[None]
    assert torch.equal(UsedRows(whole, sorted(set(PIECES)))(ids), whole(ids))


def test_the_model_has_its_own_table_again_after_an_error():
    model = make_model()
    table = model.get_input_embeddings()

    def fail():
        with only_used_rows(model, PIECES):
            assert model.get_input_embeddings().weight.shape == (len(set(PIECES)), 16)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert model.get_input_embeddings() is table


def test_tasks_that_share_a_table_share_its_used_rows():
    models = {"a": make_model(), "b": make_model(num_labels=3)}
    both = MultiTaskModel(models)
    with only_used_rows(both, PIECES):
        first, second = (model.get_input_embeddings() for model in models.values())
        assert first is second
        assert first.weight.shape == (len(set(PIECES)), 16)
    assert models["a"].get_input_embeddings().weight is models["b"].get_input_embeddings().weight


def frozen():
    model = make_model()
    model.get_input_embeddings().weight.requires_grad_(False)
    return model


def tied():
    return BertForMaskedLM(make_model().config)


@pytest.mark.parametrize("make", [frozen, tied, lambda: nn.Linear(2, 2)])
def test_a_table_that_is_frozen_tied_or_not_there_is_left_alone(make):
    model = make()
    before = list(model.parameters())
    with only_used_rows(model, PIECES):
        assert all(now is then for now, then in zip(model.parameters(), before, strict=True))

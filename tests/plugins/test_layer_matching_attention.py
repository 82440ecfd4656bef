import pytest
import torch
from kdbench_plugins._layer_matching import read_attention
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertForTokenClassification,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    RobertaConfig,
    RobertaModel,
)

from kdbench.errors import UsageError

SHAPE = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "initializer_range": 0.5,
}
MODELS = {
    "bert": lambda: BertForTokenClassification(BertConfig(**SHAPE)),
    "roberta": lambda: RobertaModel(RobertaConfig(**SHAPE)),
    "electra": lambda: ElectraModel(ElectraConfig(**SHAPE, embedding_size=8)),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(vocab_size=30, dim=16, n_layers=3, n_heads=4, hidden_dim=32, initializer_range=0.5)
    ),
}
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


@pytest.fixture(params=MODELS)
def model(request):
    torch.manual_seed(0)
    return MODELS[request.param]().eval()


def run(model, **wanted):
    tokens = torch.arange(5, 15).view(2, 5)
    return model(input_ids=tokens, attention_mask=MASK, **wanted)


@torch.no_grad()
def test_what_is_read_gives_the_models_own_attention(model):
    assert model.config._attn_implementation == "sdpa"
    with read_attention(model, [1, 2, 3]) as read:
        run(model)
        attentions = []
        for layer in (1, 2, 3):
            query, key = (x.view(2, 5, 4, 4).transpose(1, 2) for x in (read[layer].query, read[layer].key))
            scores = query @ key.transpose(-1, -2) / 2  # the root of the head's width, 4
            scores = scores.masked_fill(MASK[:, None, None] == 0, -torch.inf)
            attentions.append(scores.softmax(dim=-1))
    model.set_attn_implementation("eager")
    for mine, theirs in zip(attentions, run(model, output_attentions=True).attentions, strict=True):
        assert mine.max() > 0.5  # they differ from an even spread
        torch.testing.assert_close(mine, theirs)


def test_each_run_replaces_the_one_before_and_carries_gradients(model):
    with read_attention(model, [3]) as read:
        run(model)
        first = read[3].value
        run(model)
        assert read[3].value is not first
        torch.testing.assert_close(read[3].value, first)
        read[3].value.sum().backward()
    embeddings = model.base_model.get_input_embeddings().weight.grad
    assert embeddings.abs().sum() > 0


def hooks_of(model):
    return [hook for module in model.modules() for hook in module._forward_hooks.values()]


def test_afterwards_nothing_is_left_in_the_model_or_of_the_run(model):
    before = hooks_of(model)
    with read_attention(model, [1, 3]) as read:
        assert sorted(read) == [1, 3]
        run(model)
        assert len(hooks_of(model)) == len(before) + 6
    assert hooks_of(model) == before
    assert not read


def test_a_failure_leaves_nothing_either(model):
    before = hooks_of(model)
    with pytest.raises(FloatingPointError), read_attention(model, [1]):
        raise FloatingPointError
    assert hooks_of(model) == before


def test_shared_layers_are_refused_by_the_models_name():
    model = AlbertModel(AlbertConfig(**SHAPE, embedding_size=8))
    with (
        pytest.raises(UsageError, match=r"AlbertModel has 1 self-attention layers .* not 3; .* as BERT"),
        read_attention(model, [1]),
    ):
        pass

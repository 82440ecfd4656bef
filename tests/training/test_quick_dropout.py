import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, DistilBertConfig, DistilBertModel

from kdbench.training.quick_dropout import QuickDropout, dropout, quick_dropout

SHAPE = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "initializer_range": 0.5,
}


def bert(p):
    torch.manual_seed(0)
    config = BertConfig(**SHAPE, hidden_dropout_prob=p, attention_probs_dropout_prob=p)
    return BertForSequenceClassification(config)


def distilbert(p):
    torch.manual_seed(0)
    return DistilBertModel(
        DistilBertConfig(
            vocab_size=30, dim=16, n_layers=2, n_heads=4, hidden_dim=32, dropout=p, attention_dropout=p
        )
    )


MODELS = {"bert": bert, "distilbert": distilbert}
INPUTS = {
    "input_ids": torch.arange(5, 15).view(2, 5),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
}


@pytest.mark.parametrize("p", [0.1, 0.5, 1 / 65536])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_fraction_p_is_dropped_and_the_rest_is_scaled(p, dtype):
    torch.manual_seed(0)
    size = 2**20
    values = dropout(torch.ones(size, dtype=dtype), p)
    scale = torch.tensor(1 / (1 - p), dtype=dtype).item()
    assert sorted(set(values.tolist())) == [0.0, scale]
    deviation = (size * p * (1 - p)) ** 0.5
    assert abs((values == 0).sum().item() - size * p) < 5 * deviation


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    dropped = (dropout(torch.ones(2**20), 0.5) == 0).float() - 0.5
    for distance in (1, 2, 3, 4, 64):
        assert abs((dropped[distance:] * dropped[:-distance]).mean().item()) < 5 * 0.25 / 2**10


def test_the_extremes():
    values = torch.arange(4.0)
    assert torch.equal(dropout(values, 0.0), values)
    assert torch.equal(dropout(values, 1.0), torch.zeros(4))


def test_the_gradient_of_a_dropped_value_is_zero():
    values = torch.ones(1000, requires_grad=True)
    kept = dropout(values, 0.25)
    kept.sum().backward()
    assert torch.equal(values.grad, kept.detach())


def test_the_seed_determines_the_mask():
    def drawn(seed):
        torch.manual_seed(seed)
        return dropout(torch.ones(3, 7), 0.5)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
def test_without_dropout_a_model_answers_and_learns_as_with_torchs_attention(build, precision):
    model = build(0.0).train()

    def gradients():
        model.zero_grad()
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            state = model(**INPUTS, output_hidden_states=True).hidden_states[-1][
                0
            ]  # of a text without padding
        (state.float() * torch.arange(80).view(5, 16).sin()).sum().backward()
        weights = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
        return state.detach(), torch.cat(weights)

    model.set_attn_implementation("eager")
    expected = gradients()
    model.set_attn_implementation("sdpa")
    with quick_dropout(model):
        assert model.config._attn_implementation == "kdbench"
        ours = gradients()
    tolerance = 1e-4 if precision == torch.float32 else 0.05
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=tolerance * theirs.abs().max().item())


@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
def test_padding_changes_nothing_in_evaluation(build):
    model = build(0.1).eval()
    with torch.no_grad(), quick_dropout(model):
        padded = model(**INPUTS, output_hidden_states=True).hidden_states[-1][1, :3]
        alone = model(input_ids=INPUTS["input_ids"][1:, :3], output_hidden_states=True).hidden_states[-1][0]
    torch.testing.assert_close(padded, alone)


def test_attention_weights_are_dropped_in_training_alone():
    model = bert(0.0)
    for module in model.modules():
        if hasattr(module, "attention_head_size"):
            module.dropout.p = 0.5
    with quick_dropout(model), torch.no_grad():
        first, second = (model.train()(**INPUTS).logits for _ in range(2))
        third, fourth = (model.eval()(**INPUTS).logits for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(third, fourth)


def test_afterwards_the_model_is_as_before():
    model = bert(0.1).train()

    def fail():
        with quick_dropout(model):
            assert sum(type(module) is QuickDropout for module in model.modules()) > 4
            model.eval()
            raise FloatingPointError

    with pytest.raises(FloatingPointError):
        fail()
    kinds = {type(module) for module in model.modules() if isinstance(module, nn.Dropout)}
    assert kinds == {nn.Dropout}
    assert model.config._attn_implementation == "sdpa"
    assert not any(module.training for module in model.modules())


def test_an_attention_that_was_chosen_is_kept():
    model = bert(0.1)
    model.set_attn_implementation("eager")
    with quick_dropout(model):
        assert model(**INPUTS, output_attentions=True).attentions[0].shape == (2, 4, 5, 5)
    assert model.config._attn_implementation == "eager"

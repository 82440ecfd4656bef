import copy
import re

import pytest
import torch
from helpers.architectures import NAMES, config
from kdbench_plugins._adapter_model import AdaptedNorm, AdaptedSublayer, Adapter, AdapterModel
from kdbench_plugins.adapters import AdapterHoulsby, AdapterPfeiffer
from pydantic import ValidationError
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    DebertaConfig,
    FNetConfig,
    FNetForSequenceClassification,
)

from kdbench.errors import UsageError

STRATEGIES = [AdapterHoulsby, AdapterPfeiffer]


FIRST_DEBERTA = DebertaConfig(
    vocab_size=40, hidden_size=16, num_hidden_layers=4, num_attention_heads=4, intermediate_size=24
)
OWN_LAYERS = ["deberta", *(name for name in NAMES if name != "albert")]


BATCH = {
    "input_ids": torch.tensor([[5, 6, 7, 8, 9], [9, 8, 7, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
}


def base(name="bert", auto=AutoModelForSequenceClassification):
    torch.manual_seed(0)
    return auto.from_config(FIRST_DEBERTA if name == "deberta" else config(name))


def around(model, placement, bottleneck=4):
    return AdapterModel.around(model, placement=placement, bottleneck=bottleneck, activation="gelu")


def shaken(model):
    """Return `model` with adapters as if they had been trained."""
    torch.manual_seed(1)
    with torch.no_grad():
        for adapter in adapters(model):
            for weight in adapter.parameters():
                weight.normal_(std=0.3)
    return model


def adapters(model):
    return [module for module in model.modules() if isinstance(module, Adapter)]


@torch.no_grad()
def answers(model, batch=BATCH):
    return model.eval()(**batch).logits


def small_adapter(down, up):
    """Return an adapter of width 2 and bottleneck 1 with these weights, biases 0.5 and (0, 1)."""
    adapter = Adapter(2, 1, "relu")
    with torch.no_grad():
        adapter.down.weight.copy_(torch.tensor([down]))
        adapter.down.bias.fill_(0.5)
        adapter.up.weight.copy_(torch.tensor(up)[:, None])
        adapter.up.bias.copy_(torch.tensor([0.0, 1.0]))
    return adapter


def test_an_adapter_by_hand():
    adapter = small_adapter(down=[1.0, 2.0], up=[3.0, -1.0])
    inputs = torch.tensor([[2.0, 1.0], [-2.0, 0.0]])
    # The bottleneck holds 2 + 2 + 0.5 = 4.5, and max(0, -2 + 0.5) = 0.
    assert torch.equal(adapter(inputs), torch.tensor([[13.5, -3.5], [0.0, 1.0]]))


def test_an_adapted_sublayer_adds_to_what_came_out_of_it():
    double = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        double.weight.copy_(2 * torch.eye(2))
    adapted = AdaptedSublayer(double, small_adapter(down=[1.0, 2.0], up=[3.0, -1.0]))
    # (1, 0.5) is doubled to (2, 1), to which the adapter adds (13.5, -3.5).
    assert torch.equal(adapted(torch.tensor([1.0, 0.5])), torch.tensor([15.5, -2.5]))


def test_an_adapted_norm_reads_the_normalized_sum_and_adds_to_the_sum_itself():
    halve = nn.Linear(2, 2, bias=False)  # in the place of a normalization
    with torch.no_grad():
        halve.weight.copy_(0.5 * torch.eye(2))
    adapted = AdaptedNorm(halve, small_adapter(down=[0.0, 1.0], up=[2.0, 0.0]))
    # (2, 4) becomes (1, 2), from which the adapter makes (2 * 2.5, 1); (2 + 5, 4 + 1) becomes (3.5, 2.5).
    assert torch.equal(adapted(torch.tensor([2.0, 4.0])), torch.tensor([3.5, 2.5]))


def test_an_adapter_starts_with_a_cut_normal_distribution_and_at_zero():
    torch.manual_seed(0)
    adapter = Adapter(400, 100, "gelu")
    assert not any(weight.any() for weight in (adapter.down.bias, adapter.up.weight, adapter.up.bias))
    assert adapter.down.weight.abs().max() <= 0.1  # twice 1 / sqrt(400)
    # A normal distribution cut at two deviations keeps 0.8796 of its own.
    assert adapter.down.weight.std().item() == pytest.approx(0.04398, rel=0.03)


@pytest.mark.parametrize("auto", [AutoModelForSequenceClassification, AutoModelForTokenClassification])
@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer"])
@pytest.mark.parametrize("name", [*OWN_LAYERS, "albert"])
def test_untrained_adapters_change_no_bit_and_each_gets_a_gradient(name, placement, auto):
    model = base(name, auto)
    before = answers(model)
    adapted = around(model, placement)
    assert torch.equal(answers(adapted), before)
    layers = 1 if name == "albert" else 4  # ALBERT's layers are one and the same
    assert len(adapters(adapted)) == layers * (2 if placement == "houlsby" else 1)
    adapted(**BATCH).logits.square().sum().backward()
    assert all(adapter.up.weight.grad.any() for adapter in adapters(adapted))


@pytest.mark.parametrize("name", [*OWN_LAYERS, "albert"])
def test_every_layer_normalization_is_trained_where_asked(name):
    model = around(base(name), "houlsby")
    model.train_only_adapters(norms=True)
    encoder = model.model.base_model.named_parameters()
    # BERT's pooler is new here, as the head is.
    trained = {
        weight
        for weight, value in encoder
        if value.requires_grad and ".adapter." not in weight and not weight.startswith("pooler.")
    }
    plain = base(name).base_model.named_parameters()
    assert trained == {weight for weight, _ in plain if re.search("norm", weight, re.IGNORECASE)}
    # Two a layer, and one of the embeddings or of the last layer; in ModernBERT both, but none before its first attention;
    # in DeBERTa-v3 one of relative positions.
    norms = {"albert": 3, "deberta-v3": 10}.get(name, 9)
    assert len(trained) == norms * (1 if name in ("modernbert", "eurobert") else 2)  # a factor, and a bias


@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer"])
def test_adapters_stand_where_the_paper_puts_them(placement):
    model = base().eval()
    plain = copy.deepcopy(model.bert.encoder.layer[0])
    layer = shaken(around(model, placement)).model.bert.encoder.layer[0]
    inputs = torch.randn(2, 5, 16)
    attended = plain.attention.output.dense(plain.attention.self(inputs)[0])
    if placement == "houlsby":
        first, second = adapters(layer)
        attended = attended + first(attended)
    middle = plain.attention.output.LayerNorm(attended + inputs)
    fed = plain.output.dense(plain.intermediate(middle))
    norm = plain.output.LayerNorm
    if placement == "houlsby":
        expected = norm(fed + second(fed) + middle)
    else:
        (only,) = adapters(layer)
        expected = norm(fed + middle + only(norm(fed + middle)))
    torch.testing.assert_close(layer(inputs), expected)
    assert not torch.allclose(layer(inputs), plain(inputs), atol=0.01)


@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer"])
@pytest.mark.parametrize("name", [*OWN_LAYERS, "albert"])
def test_a_reloaded_model_answers_the_same(name, placement, tmp_path):
    model = shaken(around(base(name), placement))
    model.save_pretrained(tmp_path)
    reloaded = AdapterModel.from_pretrained(tmp_path)
    assert torch.equal(answers(reloaded), answers(model))


@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer"])
@torch.no_grad()
def test_where_sublayers_normalize_their_inputs_adapters_read_what_is_added_to_the_residual(placement):
    """ModernBERT's second layer by hand."""
    model = base("modernbert").eval()
    plain = copy.deepcopy(model.model.layers[1])
    adapted = shaken(around(model, placement))
    layer = adapted.model.model.layers[1]
    inputs = torch.randn(2, 5, 16)
    places = torch.arange(5)[None]
    position_embeddings = model.model.rotary_emb(inputs, places, "sliding_attention")
    attended, _ = plain.attn(plain.attn_norm(inputs), position_embeddings=position_embeddings)
    if placement == "houlsby":
        first, second = adapters(layer)
        middle = inputs + attended + first(attended)
        fed = plain.mlp(plain.mlp_norm(middle))
        expected = middle + fed + second(fed)
    else:
        (only,) = adapters(layer)
        total = inputs + attended + plain.mlp(plain.mlp_norm(inputs + attended))
        expected = total + only(total)
    torch.testing.assert_close(layer(inputs, position_embeddings=position_embeddings), expected)
    assert not torch.allclose(expected, plain(inputs, position_embeddings=position_embeddings), atol=0.01)
    # A copy has adapters of its own.
    again = copy.deepcopy(adapted)
    for adapter in adapters(again):
        adapter.up.bias[0] += 1  # one value: the same added to all would be normalized away
    assert not torch.allclose(answers(again), answers(adapted), atol=1e-4)


def test_an_architecture_with_other_layers_is_refused_by_name():
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 32}
    model = FNetForSequenceClassification(FNetConfig(**sizes))
    with pytest.raises(
        UsageError, match=r"strategy 'adapter-houlsby' cannot find the layers of FNet.*; take"
    ):
        around(model, "houlsby")


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("wrong", [{"bottleneck": 0}, {"bottleneck": 2.5}, {"activation": "tanh"}])
def test_impossible_shapes_are_refused(strategy, wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        strategy.Params(**wrong)


def test_houlsbys_defaults_are_the_papers():
    params = AdapterHoulsby.Params()
    assert (params.bottleneck, params.activation, params.train_norms) == (64, "gelu", True)


def test_pfeiffer_adapts_the_feed_forward_half_of_each_layer_alone(make_bench):
    strategy, bench = make_bench("adapter-pfeiffer")
    bench.train = lambda model: model
    model = strategy.fit(bench).model
    adapted = {name for name, module in model.named_modules() if isinstance(module, AdaptedNorm)}
    assert adapted == {f"bert.encoder.layer.{layer}.output.LayerNorm" for layer in range(4)}


def test_pfeiffers_defaults_are_the_papers():
    params = AdapterPfeiffer.Params()
    assert (params.bottleneck, params.activation) == (48, "relu")

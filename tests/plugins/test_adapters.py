import copy
import re

import pytest
import torch
from helpers.training import KINDS
from kdbench_plugins._adapter_model import AdaptedNorm, AdaptedSublayer, Adapter, AdapterModel
from kdbench_plugins.adapters import AdapterHoulsby, AdapterPfeiffer
from pydantic import ValidationError
from torch import nn
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    DebertaConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    MPNetConfig,
    RobertaConfig,
)

from kdbench.api.bench import model_inputs
from kdbench.errors import UsageError
from kdbench.models.artifacts import load_artifact, save_artifact
from kdbench.models.cost import count_parameters, count_trainable
from kdbench.training.bench import TrainingBench

STRATEGIES = [AdapterHoulsby, AdapterPfeiffer]


SHAPE = {
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 20,
    "pad_token_id": 0,
}


CONFIGS = {
    "bert": BertConfig(**SHAPE),
    "roberta": RobertaConfig(**SHAPE),
    "electra": ElectraConfig(**SHAPE, embedding_size=6),
    "deberta": DebertaConfig(**SHAPE),
    "deberta-v2": DebertaV2Config(**SHAPE, relative_attention=True, pos_att_type=["c2p", "p2c"]),
    "mpnet": MPNetConfig(**SHAPE),
    "distilbert": DistilBertConfig(
        vocab_size=30, dim=8, n_layers=3, n_heads=2, hidden_dim=16, max_position_embeddings=20, pad_token_id=0
    ),
}


BATCH = {
    "input_ids": torch.tensor([[5, 6, 7, 8, 9], [9, 8, 7, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
}


def base(name="bert", auto=AutoModelForSequenceClassification):
    torch.manual_seed(0)
    return auto.from_config(CONFIGS[name])


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


def test_an_adapter_starts_as_the_paper_draws_it_and_at_zero():
    torch.manual_seed(0)
    adapter = Adapter(200, 100, "gelu")
    assert not any(weight.any() for weight in (adapter.down.bias, adapter.up.weight, adapter.up.bias))
    assert adapter.down.weight.abs().max() <= 0.02
    # A normal distribution cut at two deviations keeps 0.8796 of its own.
    assert adapter.down.weight.std().item() == pytest.approx(0.008796, rel=0.03)


@pytest.mark.parametrize("auto", [AutoModelForSequenceClassification, AutoModelForTokenClassification])
@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer"])
@pytest.mark.parametrize("name", CONFIGS)
def test_untrained_adapters_change_no_bit_and_each_gets_a_gradient(name, placement, auto):
    model = base(name, auto)
    before = answers(model)
    adapted = around(model, placement)
    assert torch.equal(answers(adapted), before)
    assert len(adapters(adapted)) == 3 * (2 if placement == "houlsby" else 1)
    adapted(**BATCH).logits.square().sum().backward()
    assert all(adapter.up.weight.grad.any() for adapter in adapters(adapted))


@pytest.mark.parametrize("name", CONFIGS)
def test_every_layer_normalization_is_trained_where_asked(name):
    model = around(base(name), "houlsby")
    model.train_only_adapters(norms=True)
    encoder = model.model.base_model.named_parameters()
    trained = {weight for weight, value in encoder if value.requires_grad and ".adapter." not in weight}
    plain = base(name).base_model.named_parameters()
    assert trained == {weight for weight, _ in plain if re.search("layer_?norm", weight, re.IGNORECASE)}
    assert len(trained) == 2 * (3 * 2 + 1)


@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer"])
def test_adapters_stand_where_the_paper_puts_them(placement):
    model = base().eval()
    plain = copy.deepcopy(model.bert.encoder.layer[0])
    layer = shaken(around(model, placement)).model.bert.encoder.layer[0]
    inputs = torch.randn(2, 5, 8)
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
@pytest.mark.parametrize("name", CONFIGS)
def test_a_reloaded_model_answers_the_same(name, placement, tmp_path):
    model = shaken(around(base(name), placement))
    model.save_pretrained(tmp_path)
    reloaded = AdapterModel.from_pretrained(tmp_path)
    assert torch.equal(answers(reloaded), answers(model))


@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer"])
@pytest.mark.parametrize(
    "config",
    [AlbertConfig(**SHAPE, embedding_size=4), ModernBertConfig(**SHAPE, cls_token_id=1, sep_token_id=2)],
    ids=["albert", "modernbert"],
)
def test_an_architecture_with_other_layers_is_refused_by_name(config, placement):
    model = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(
        UsageError,
        match=f"strategy 'adapter-{placement}': cannot place adapters in {type(model).__name__}; take",
    ):
        around(model, placement)


@pytest.fixture
def fit(make_experiment):
    """Fit a strategy with parameters on a task; return the model and its bench."""

    def run(strategy, task="toy-sentiment", *, seed=0, **params):
        params = {"learning_rate": 0.02, **params}
        made = strategy(strategy.Params(**params))
        bench = TrainingBench(make_experiment(task), made, seed, lambda *progress: None)
        return made.finalize(made.fit(bench), bench), bench

    return run


@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_training_moves_every_adapter_and_the_head_and_nothing_else(fit, strategy, task):
    params = {"train_norms": False} if strategy is AdapterHoulsby else {}
    model, bench = fit(strategy, task, **params)
    plain = bench.base().state_dict()
    trained = {
        name.replace(".end.", ".").replace(".norm.", "."): weight
        for name, weight in model.model.state_dict().items()
        if ".adapter." not in name
    }
    assert trained.keys() == plain.keys()
    moved = {name for name in plain if not torch.equal(plain[name], trained[name])}
    assert moved == {"classifier.weight", "classifier.bias"}
    assert all(adapter.up.weight.any() for adapter in adapters(model))


@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_artifact_answers_as_the_trained_model(fit, strategy, task, tmp_path):
    model, bench = fit(strategy, task)
    save_artifact(model, bench.experiment.tokenizer, tmp_path / "artifact")
    reloaded = load_artifact(tmp_path / "artifact")
    batch = model_inputs(bench.experiment.collate([bench.task.scored[i] for i in range(16)]))
    assert torch.equal(answers(reloaded, batch), answers(model, batch))
    assert (answers(model, batch) - answers(bench.base(), batch)).abs().max() > 0.01
    assert count_parameters(reloaded) == count_parameters(model)


@pytest.mark.parametrize(
    ("strategy", "params", "places", "norms"),
    [
        (AdapterHoulsby, {"bottleneck": 1}, 2, 2 * 4 + 1),  # two a layer, and the embeddings'
        (AdapterHoulsby, {"bottleneck": 5, "train_norms": False}, 2, 0),
        (AdapterPfeiffer, {"bottleneck": 7}, 1, 0),
    ],
)
def test_trainable_weights_are_adapters_and_head_and_norms_where_asked(fit, strategy, params, places, norms):
    model, _ = fit(strategy, "toy-tags", **params)
    m = params["bottleneck"]
    adapter, head = 2 * m * 32 + m + 32, 32 * 5 + 5
    assert count_trainable(model) == 4 * places * adapter + norms * 2 * 32 + head


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_gives_the_same_adapters(fit, strategy):
    first, again, other = (
        torch.cat([adapter.down.weight.flatten() for adapter in adapters(fit(strategy, seed=seed)[0])])
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("wrong", [{"bottleneck": 0}, {"bottleneck": 2.5}, {"activation": "tanh"}])
def test_impossible_shapes_are_refused(strategy, wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        strategy.Params(**wrong)


def test_houlsby_trains_every_layer_normalization_too(make_experiment):
    strategy = AdapterHoulsby(AdapterHoulsby.Params(learning_rate=0.02))
    bench = TrainingBench(make_experiment(), strategy, 0, lambda *progress: None)
    model, plain = strategy.fit(bench).model.state_dict(), bench.base().state_dict()
    moved = {name for name in plain if not torch.equal(plain[name], model[name])}
    places = ["embeddings"] + [
        f"encoder.layer.{layer}.{part}" for layer in range(4) for part in ("attention.output", "output")
    ]
    norms = {f"bert.{place}.LayerNorm.{weight}" for place in places for weight in ("weight", "bias")}
    assert moved == norms | {"classifier.weight", "classifier.bias"}


def test_houlsbys_defaults_are_the_papers():
    params = AdapterHoulsby.Params()
    assert (params.bottleneck, params.activation, params.train_norms) == (64, "gelu", True)


def test_pfeiffer_adapts_the_feed_forward_half_of_each_layer_alone_and_no_normalization(make_experiment):
    strategy = AdapterPfeiffer(AdapterPfeiffer.Params(learning_rate=0.02))
    bench = TrainingBench(make_experiment(), strategy, 0, lambda *progress: None)
    model = strategy.fit(bench).model
    adapted = {name for name, module in model.named_modules() if isinstance(module, AdaptedNorm)}
    assert adapted == {f"bert.encoder.layer.{layer}.output.LayerNorm" for layer in range(4)}
    plain = bench.base().bert.encoder.layer
    for mine, other in zip(model.bert.encoder.layer, plain, strict=True):
        assert torch.equal(mine.output.LayerNorm.norm.weight, other.output.LayerNorm.weight)
        assert not any(weight.requires_grad for weight in mine.output.LayerNorm.norm.parameters())


def test_pfeiffers_defaults_are_the_papers():
    params = AdapterPfeiffer.Params()
    assert (params.bottleneck, params.activation) == (48, "relu")

"""What holds of every strategy that trains few weights beside a frozen encoder, whichever these are."""

import copy
import re
from dataclasses import dataclass

import pytest
import torch
from helpers.training import KINDS, every_kind, same
from kdbench_plugins import kdbench_strategies
from kdbench_plugins._parameter_efficient import PeftStrategy
from kdbench_plugins._probe_model import MeanProbe

from kdbench.api.bench import model_inputs
from kdbench.models.artifacts import load_artifact, save_artifact
from kdbench.models.cost import count_parameters, count_trainable

LAYERS, WIDTH, INNER = 4, 32, 64
"""The shape of the tiny model."""


@dataclass(frozen=True)
class Method:
    """A strategy, and what it says that it does to an encoder."""

    spec: str
    moves: str | None
    """A pattern of the encoder's weights that the deployed model has otherwise; None for none."""
    trains: int | None
    """How many weights are trained beside the head; None where training or a pooler decides."""
    may_stay: str = "nothing"
    """Of the weights that it moves those that may stay all the same."""
    merged: bool = True
    """Whether a method of peft is deployed as the plain model of the base."""

    @property
    def name(self) -> str:
        return self.spec.partition("[")[0]


BLOCK = r"encoder\.layer\.\d\."
QUERY_AND_VALUE = BLOCK + r"attention\.self\.(query|value)\.weight"
PROJECTIONS = (
    BLOCK + r"(attention\.self\.\w+|attention\.output\.dense|intermediate\.dense|output\.dense)\.weight"
)
METHODS = [
    Method("lora[learning_rate=0.02]", QUERY_AND_VALUE, LAYERS * 2 * 8 * 2 * WIDTH),
    Method("lora-unmerged[learning_rate=0.02]", None, LAYERS * 2 * 8 * 2 * WIDTH, merged=False),
    Method("lora-plus[learning_rate=0.01]", QUERY_AND_VALUE, LAYERS * 2 * 8 * 2 * WIDTH),
    Method("vera[learning_rate=0.1]", QUERY_AND_VALUE, LAYERS * 2 * (WIDTH + 256)),
    # A magnitude for each output beside LoRA's two matrices.
    Method("dora[learning_rate=0.05]", QUERY_AND_VALUE, LAYERS * 2 * (8 * 2 * WIDTH + WIDTH)),
    # All ranks of a layer may go to others.
    Method("adalora[learning_rate=0.05]", PROJECTIONS, None, may_stay=PROJECTIONS),
    # The biases of keys and values are rescaled, too, but start at zero.
    Method(
        "ia3[learning_rate=0.05]",
        BLOCK + r"(attention\.self\.(key|value)|output\.dense)\.weight",
        LAYERS * (WIDTH + WIDTH + INNER),
    ),
    # Two normalizations a layer, and the embeddings'.
    Method(
        "adapter-houlsby[bottleneck=5,learning_rate=0.02]",
        r".*LayerNorm\.(weight|bias)",
        LAYERS * 2 * (2 * 5 * WIDTH + 5 + WIDTH) + (2 * LAYERS + 1) * 2 * WIDTH,
    ),
    Method(
        "adapter-houlsby[bottleneck=1,train_norms=false,learning_rate=0.02]",
        None,
        LAYERS * 2 * (2 * WIDTH + 1 + WIDTH),
    ),
    Method("adapter-pfeiffer[bottleneck=7,learning_rate=0.02]", None, LAYERS * (2 * 7 * WIDTH + 7 + WIDTH)),
    Method("prefix-tuning[length=3]", None, 3 * LAYERS * 2 * WIDTH),
    Method("prefix-tuning[length=3,network=true,network_width=8]", None, 3 * LAYERS * 2 * WIDTH),
    # A key's bias adds the same to all scores of a query, so that no loss depends on it; a pooler's may be trained.
    Method("bitfit", r".*bias", None, may_stay=r".*\.key\.bias"),
    Method("linear-probe", None, 0),
]
PEFT = {strategy.name for strategy in kdbench_strategies() if issubclass(strategy, PeftStrategy)}
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.spec)


@pytest.fixture(scope="module")
def fits():
    return {}


@pytest.fixture
def fitted(make_bench, fits):
    """A strategy, its bench, and a copy of the model that it fitted, once for all tests."""

    def make(method, task, seed=0):
        key = method.spec, task, seed
        if key not in fits:
            strategy, bench = make_bench(method.spec, task, seed=seed)
            fits[key] = strategy, bench, strategy.fit(bench)
        strategy, bench, model = fits[key]
        return strategy, bench, copy.deepcopy(model)

    return make


def batch_of(bench, rows=16):
    return bench.experiment.collate([bench.task.scored[i] for i in range(rows)])


@torch.no_grad()
def answers(model, bench):
    return model.eval()(**model_inputs(batch_of(bench))).logits


def encoder_and_head(model, base):
    """The weights of a deployed model that `base` has, by its names: those of embeddings and layers, and the head's.

    A pooler may count as either; a probe has none.
    """
    prefix = f"{base.base_model_prefix}."
    weights = {
        re.sub(r"\.(end|norm|base_layer)(?=\.)", "", name): weight  # what an adapter stands behind or beside
        for name, weight in getattr(model, "model", model).state_dict().items()
    }
    if isinstance(model, MeanProbe):
        weights = {re.sub(r"^encoder\.", prefix, name): weight for name, weight in weights.items()}
    assert {name for name in base.state_dict() if ".pooler." not in name} <= weights.keys()
    encoder = {
        name.removeprefix(prefix): weights[name]
        for name in base.state_dict()
        if name.startswith((f"{prefix}embeddings.", f"{prefix}encoder."))
    }
    return encoder, {name: weights[name] for name in base.state_dict() if not name.startswith(prefix)}


def moved(now, before):
    return {name for name in before if not torch.equal(now[name], before[name])}


def test_every_strategy_that_freezes_its_base_is_here():
    frozen = {strategy.name for strategy in kdbench_strategies() if strategy.freezes_base}
    # What `peft` does, its file says; `rslora` is `lora` with another scale.
    assert {method.name for method in METHODS} == frozen - {"peft", "rslora"}


@every_kind
@every_method
def test_what_is_frozen_is_the_bases_bit_for_bit_and_what_trains_is_counted(fitted, method, task):
    strategy, bench, model = fitted(method, task)
    base = bench.base()
    known = {weight.detach().numpy().tobytes() for weight in base.state_dict().values()}
    frozen = [weight for weight in model.parameters() if not weight.requires_grad]
    unknown = [weight for weight in frozen if weight.numpy().tobytes() not in known and weight.numel() > 1]
    assert strategy.freezes_base
    assert unknown == []
    assert 0 < count_trainable(model) < count_parameters(base) / 2
    if method.trains is not None:
        head = sum(weight.numel() for weight in encoder_and_head(base, base)[1].values())
        assert count_trainable(model) == method.trains + head


@every_kind
@every_method
def test_of_the_deployed_model_what_is_declared_has_moved_and_nothing_else(fitted, method, task):
    strategy, bench, model = fitted(method, task)
    base = bench.base()
    (encoder, head), (before, start) = (
        encoder_and_head(one, base) for one in (strategy.finalize(model, bench), base)
    )
    declared = {name for name in before if method.moves and re.fullmatch(method.moves, name)}
    certain = {name for name in declared if not re.fullmatch(method.may_stay, name)}
    assert certain <= moved(encoder, before) <= declared
    assert moved(head, start) == start.keys()


@every_kind
@every_method
def test_a_gradient_reaches_every_trained_weight_and_no_other(fitted, method, task):
    _, bench, model = fitted(method, task)
    batch = batch_of(bench)
    model.zero_grad()
    bench.kind.label_loss(model.eval()(**model_inputs(batch)).logits, batch["labels"]).backward()
    for name, weight in model.named_parameters():
        assert (weight.grad is not None) == weight.requires_grad, name
        assert not weight.requires_grad or weight.grad.any() or name.endswith(".key.bias"), name


@every_kind
@every_method
def test_deployed_it_answers_as_it_was_trained_and_comes_back_from_its_files(fitted, method, task, tmp_path):
    strategy, bench, model = fitted(method, task)
    trained, start = answers(model, bench), answers(bench.base(), bench)
    deployed = strategy.finalize(model, bench)
    torch.testing.assert_close(answers(deployed, bench), trained, rtol=0, atol=1e-5)
    assert (trained - start).abs().max() > 0.01  # there was something to deploy
    if method.name in PEFT and method.merged:
        assert type(deployed) is type(bench.base())
        assert deployed.state_dict().keys() == bench.base().state_dict().keys()
    save_artifact(deployed, bench.experiment.tokenizer, tmp_path / "artifact")
    loaded = load_artifact(tmp_path / "artifact")
    assert torch.equal(answers(loaded, bench), answers(deployed, bench))
    assert count_parameters(loaded) == count_parameters(deployed)


@pytest.mark.parametrize(
    "method", [method for method in METHODS if method.name in PEFT], ids=lambda method: method.spec
)
def test_before_it_is_trained_it_changes_nothing(make_bench, method):
    strategy, bench = make_bench(method.spec)
    model = strategy.adapt(bench.base(), bench)
    torch.testing.assert_close(answers(model, bench), answers(bench.base(), bench), rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS[:-1], ids=lambda method: method.spec)  # a probe draws nothing
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(fitted, make_bench, method):
    strategy, bench = make_bench(method.spec)
    again = strategy.fit(bench)
    assert same(again, fitted(method, KINDS[0])[2])
    assert not same(again, fitted(method, KINDS[0], seed=1)[2])

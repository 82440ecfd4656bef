import pytest
import torch
from helpers.architectures import HEADS, LAYERS, NAMES, WIDTH, config
from kdbench_plugins._attention_vectors import TeacherAttention, attention_windows, read_attention
from transformers import AutoModel, DebertaConfig, DebertaModel

from kdbench.errors import UsageError

MASK = torch.tensor([[1] * 12, [1] * 7 + [0] * 5])
WITHOUT_RELATIVE_POSITIONS = {"deberta-v3": {"relative_attention": False, "pos_att_type": []}}
every_architecture = pytest.mark.parametrize("name", NAMES)
NUMBERS = range(1, LAYERS + 1)


def encoder(name, **changes):
    torch.manual_seed(0)
    model = AutoModel.from_config(config(name, **changes)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)  # norms, too
    return model


def run(model, **wanted):
    tokens = torch.arange(5, 29).view(2, 12)
    return model(input_ids=tokens, attention_mask=MASK, **wanted)


@every_architecture
@torch.no_grad()
def test_what_is_read_gives_the_models_own_attention(name):
    """Without the scores of relative positions, which have no queries and keys of the text."""
    model = encoder(name, **WITHOUT_RELATIVE_POSITIONS.get(name, {}))
    if name == "mpnet":
        model.encoder.relative_attention_bias.weight.zero_()
    windows = attention_windows(model, model, [(number, number) for number in NUMBERS], "test")
    attentions = []
    with read_attention(model, NUMBERS, "test", rotated=True) as read:
        run(model)
        for number in NUMBERS:
            query, key = (
                vectors.view(2, 12, HEADS, WIDTH // HEADS).transpose(1, 2)
                for vectors in (read[number].query, read[number].key)
            )
            hidden = MASK[:, None, None] == 0
            if windows[number] is not None:
                places = torch.arange(12)
                hidden = hidden | ((places[:, None] - places).abs() > windows[number])
            scores = (query @ key.transpose(-1, -2) / 2).masked_fill(hidden, -torch.inf)  # the root of 4
            attentions.append(scores.softmax(dim=-1))
    if name not in ("deberta-v3", "mpnet"):  # which have one implementation
        model.set_attn_implementation("eager")
    for mine, theirs in zip(attentions, run(model, output_attentions=True).attentions, strict=True):
        assert mine[0].max() > 0.15  # they differ from an even spread
        # What a text's padding attends to does not matter.
        torch.testing.assert_close(mine[0], theirs[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(mine[1, :, :7], theirs[1, :, :7], rtol=0, atol=1e-5)


@every_architecture
@pytest.mark.parametrize("rotated", [False, True])
@torch.no_grad()
def test_a_teachers_vectors_are_those_that_it_has_when_it_runs(name, rotated):
    model = encoder(name)
    teacher = TeacherAttention(model, NUMBERS, "test", rotated=rotated)
    with read_attention(model, NUMBERS, "test", rotated=rotated) as read:
        states = run(model, output_hidden_states=True).hidden_states
        for number in NUMBERS:
            computed = teacher(number, states, dtype=torch.float32)
            for part in ("query", "key", "value"):
                torch.testing.assert_close(getattr(computed, part), getattr(read[number], part))
    assert not torch.allclose(teacher(1, states, dtype=torch.float32).key, computed.key)


def test_rotation_is_that_of_positions_alone():
    """A piece's score with itself does not depend on where it stands, and that of two on their distance alone."""
    model = encoder("modernbert")
    same = torch.full((1, 9), 7)
    with torch.no_grad(), read_attention(model, [1], "test", rotated=True) as read:
        model(input_ids=same)
        scores = read[1].query[0] @ read[1].key[0].T
    for distance in range(-8, 9):
        torch.testing.assert_close(
            scores.diagonal(distance), scores.diagonal(distance)[:1].expand(9 - abs(distance))
        )
    assert scores.diagonal(4)[0] != scores.diagonal(0)[0]


def test_each_run_replaces_the_one_before_and_carries_gradients():
    model = encoder("bert")
    with read_attention(model, [3], "test") as read:
        run(model)
        first = read[3].value
        run(model)
        assert read[3].value is not first
        torch.testing.assert_close(read[3].value, first)
        read[3].value.sum().backward()
    embeddings = model.base_model.get_input_embeddings().weight.grad
    assert embeddings.abs().sum() > 0


def hooks_of(model):
    return [
        hook
        for module in model.modules()
        for hooks in (module._forward_hooks, module._forward_pre_hooks)
        for hook in hooks.values()
    ]


@every_architecture
def test_afterwards_nothing_is_left_in_the_model_or_of_the_run(name):
    model = encoder(name)
    run(model, output_hidden_states=True)  # transformers adds hooks of its own, once
    before = hooks_of(model)
    with read_attention(model, [1, 3], "test") as read:
        assert sorted(read) == [1, 3]
        run(model)
        assert len(hooks_of(model)) > len(before)
    assert hooks_of(model) == before
    assert not read


def test_a_failure_leaves_nothing_either():
    model = encoder("bert")
    before = hooks_of(model)
    with pytest.raises(FloatingPointError), read_attention(model, [1], "test"):
        raise FloatingPointError
    assert hooks_of(model) == before


def test_a_layout_in_which_heads_cannot_be_told_apart_is_refused():
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = DebertaModel(DebertaConfig(vocab_size=20, **sizes))
    with (
        pytest.raises(
            UsageError,
            match=r"'minilm' cannot tell the queries, keys and values of DebertaModel apart; .*BERT",
        ),
        read_attention(model, [1], "minilm"),
    ):
        pass

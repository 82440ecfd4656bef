import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kdbench_plugins._attention_vectors import AttentionVectors
from kdbench_plugins._layer_matching import (
    attention_score_loss,
    hidden_state_loss,
    relation_loss,
    stage_shares,
)


def vectors(query, key):
    read = AttentionVectors()
    read.query = torch.tensor([query])
    read.key = torch.tensor([key])
    return read


def random_vectors(width, lengths, *, seed):
    """Return random vectors for texts of these lengths, with large numbers where they are padded."""
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    read = AttentionVectors()
    for name in ("query", "key", "value"):
        values = torch.randn(len(lengths), max(lengths), width, generator=generator)
        setattr(read, name, values.masked_fill(mask[:, :, None] == 0, 300.0))
    return read, mask


LOSSES = {
    "hidden": lambda student, teacher, mask: hidden_state_loss(student.query, teacher.query, mask),
    "attention": lambda student, teacher, mask: attention_score_loss(student, teacher, mask, heads=2),
    "relation": lambda student, teacher, mask: relation_loss(student.value, teacher.value, mask, heads=2),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_equals_cost_nothing_and_others_do(loss):
    student, mask = random_vectors(8, [5, 3], seed=0)
    teacher, _ = random_vectors(8, [5, 3], seed=1)
    assert loss(student, student, mask) == 0
    assert loss(student, teacher, mask) > 0.1


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_padded_batch_is_the_mean_of_its_texts_one_by_one(loss):
    lengths = [7, 2, 4, 1]
    student, mask = random_vectors(8, lengths, seed=0)
    teacher, _ = random_vectors(8, lengths, seed=1)
    teacher.query, teacher.key, teacher.value = -teacher.query, teacher.key / 2, -teacher.value / 3

    def text(read, i):
        alone = AttentionVectors()
        for name in ("query", "key", "value"):
            setattr(alone, name, getattr(read, name)[i : i + 1, : lengths[i]])
        return alone

    one_by_one = [
        loss(text(student, i), text(teacher, i), torch.ones(1, n, dtype=torch.long))
        for i, n in enumerate(lengths)
    ]
    torch.testing.assert_close(loss(student, teacher, mask), torch.stack(one_by_one).mean())


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_gradients_stay_out_of_padding_and_are_finite(loss):
    student, mask = random_vectors(8, [5, 3], seed=0)
    teacher, _ = random_vectors(8, [5, 3], seed=1)
    leaves = [student.query, student.key, student.value]
    for leaf in leaves:
        leaf.requires_grad_()
    loss(student, teacher, mask).backward()
    gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
    assert gradients
    for gradient in gradients:
        assert gradient.isfinite().all()
        assert gradient[mask == 0].abs().sum() == 0
        assert gradient[mask == 1].abs().sum() > 0


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_training_in_bfloat16_does_not_round_it(loss):
    student, mask = random_vectors(8, [5, 3], seed=0)
    teacher, _ = random_vectors(8, [5, 3], seed=1)
    expected = loss(student, teacher, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answer = loss(student, teacher, mask)
    assert answer.dtype == torch.float32
    assert answer == expected


@pytest.mark.parametrize(("mask", "expected"), [([1, 1], (2.5 + 12.5) / 2), ([1, 0], 2.5)])
def test_hidden_states_by_hand(mask, expected):
    states = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert hidden_state_loss(states, torch.zeros_like(states), torch.tensor([mask])) == expected


@pytest.mark.parametrize(("mask", "expected"), [([1, 1], (36 + 0 + 9 + 0) / 4), ([1, 0], 36)])
def test_attention_scores_by_hand(mask, expected):
    student = vectors([[2.0], [1.0]], [[3.0], [0.0]])
    teacher = vectors([[0.0], [0.0]], [[5.0], [7.0]])
    assert attention_score_loss(student, teacher, torch.tensor([mask]), heads=1) == expected


@pytest.mark.parametrize(("heads", "expected"), [(1, ((6 + 2) / 2) ** 2), (2, (36 / 2 + 4 / 2) / 2)])
def test_scores_are_divided_by_the_root_of_a_heads_width(heads, expected):
    student = vectors([[2.0, 0.0, 1.0, 1.0]], [[3.0, 0.0, 1.0, 1.0]])
    teacher = vectors([[0.0, 0.0]], [[0.0, 0.0]])
    loss = attention_score_loss(student, teacher, torch.tensor([[1]]), heads=heads)
    assert loss.item() == pytest.approx(expected)


def test_relations_by_hand():
    teacher = torch.tensor([[[math.log(3) ** 0.5], [0.0]]])  # products ln 3, 0 / 0, 0: relations 3:1 and 1:1
    student = torch.zeros(1, 2, 1)  # 1:1 and 1:1
    first = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    loss = relation_loss(student, teacher, torch.ones(1, 2), heads=1)
    assert loss.item() == pytest.approx((first + 0) / 2)
    backwards = relation_loss(teacher, student, torch.ones(1, 2), heads=1)
    assert backwards.item() == pytest.approx((0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)) / 2)


def test_relations_do_not_depend_on_width_or_turns_within_a_head():
    teacher, mask = random_vectors(8, [5, 3], seed=0)
    turned = teacher.value.view(2, 5, 2, 4).flip(-1) * torch.tensor([1.0, -1.0, 1.0, -1.0])
    # Heads half as wide again leave products as they are but are scaled by the root of 6 instead of 4.
    wider = torch.nn.functional.pad(turned, (0, 2)) * 1.5**0.25
    assert relation_loss(wider.flatten(2), teacher.value, mask, heads=2).item() == pytest.approx(0, abs=1e-5)
    across = teacher.value.roll(2, dims=-1)
    assert relation_loss(across, teacher.value, mask, heads=2).item() > 0.01


def test_pairs_beyond_a_window_do_not_count():
    """Word pieces of width 1: scores are products of numbers."""
    student, teacher = (
        vectors([[1.0], [2.0], [3.0]], [[1.0], [1.0], [1.0]]),
        vectors([[0.0]] * 3, [[0.0]] * 3),
    )
    mask = torch.ones(1, 3, dtype=torch.long)
    assert attention_score_loss(student, teacher, mask, heads=1) == pytest.approx((3 * (1 + 4 + 9)) / 9)
    # Rows 1 and 3 lose a pair each.
    near = attention_score_loss(student, teacher, mask, heads=1, window=1)
    assert near == pytest.approx((2 * 1 + 3 * 4 + 2 * 9) / 7)


def test_a_key_is_compared_with_every_query_of_its_group():
    """Two heads of queries, one of keys."""
    student, teacher = vectors([[1.0, 2.0]], [[3.0]]), vectors([[0.0, 0.0]], [[1.0]])
    loss = attention_score_loss(student, teacher, torch.ones(1, 1, dtype=torch.long), heads=2)
    assert loss == pytest.approx((3**2 + 6**2) / 2)


def steps_of_stages(steps, first):
    bench = SimpleNamespace(steps=steps)
    return [round(share * steps) for share in stage_shares(bench, first)]  # as bench.train rounds a share


@given(st.integers(2, 10_000), st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_they_use_the_steps_up_and_none_is_left_out(steps, first):
    stages = steps_of_stages(steps, first)
    assert sum(stages) == steps
    assert min(stages) >= 1
    assert abs(stages[0] - first * steps) <= 1


@pytest.mark.parametrize(
    ("steps", "first", "expected"),
    [(120, 0.5, [60, 60]), (5, 0.5, [2, 3]), (4, 0.01, [1, 3]), (4, 0.99, [3, 1]), (240, 0.75, [180, 60])],
)
def test_by_hand(steps, first, expected):
    assert steps_of_stages(steps, first) == expected

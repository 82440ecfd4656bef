import pytest
import torch
from torch import nn

from kdbench.training.gradient_balance import GradientBalance


def step(balance, weight, task, factor):
    """Backpropagate a loss whose gradient in two weights is (3, 4) times `factor`; return what arrives there."""
    weight.grad = None
    balance.weigh(task, factor * (weight * torch.tensor([3.0, 4.0])).sum()).backward()
    return weight.grad.norm().item()


@pytest.fixture
def weight():
    return nn.Parameter(torch.zeros(2))


def test_a_loss_is_scaled_by_the_mean_norm_over_its_own(weight):
    balance = GradientBalance([weight])
    assert step(balance, weight, "large", 3.0) == 15  # nothing is known yet
    assert step(balance, weight, "small", 1.0) == 5
    # The norms are 15 and 5, their mean 10.
    assert step(balance, weight, "large", 3.0) == pytest.approx(10)
    assert step(balance, weight, "small", 1.0) == pytest.approx(10)
    assert balance.weight("large") == pytest.approx(10 / 15)
    assert balance.weight("small") == pytest.approx(10 / 5)


def test_a_norm_is_a_running_mean_of_unweighted_gradients(weight):
    balance = GradientBalance([weight])
    for task, factor in (("a", 1.0), ("b", 2.0), ("a", 3.0), ("b", 2.0)):
        step(balance, weight, task, factor)
    balance.weigh("b", weight.sum())  # takes the last gradient in
    own = 0.9 * 5 + 0.1 * 15
    assert balance.weight("a") == pytest.approx((own + 10) / 2 / own)


def test_one_task_alone_is_left_as_it_is(weight):
    balance = GradientBalance([weight])
    assert [step(balance, weight, "a", 2.0) for _ in range(3)] == [10, 10, 10]


def test_a_batch_without_gradient_changes_nothing(weight):
    balance = GradientBalance([weight])
    for task, factor in (("a", 1.0), ("b", 3.0), ("a", 0.0), ("b", 3.0)):
        step(balance, weight, task, factor)
    assert step(balance, weight, "a", 1.0) == pytest.approx(10)


def test_weights_of_a_head_do_not_count(weight):
    head = nn.Parameter(torch.ones(1))
    balance = GradientBalance([weight])
    for task, factor in (("a", 1.0), ("b", 3.0)):
        balance.weigh(task, factor * (weight * torch.tensor([3.0, 4.0])).sum() + 1000 * head.sum()).backward()
        weight.grad = None
    assert step(balance, weight, "a", 1.0) == pytest.approx(10)


def test_once_stopped_it_notes_no_gradient(weight):
    balance = GradientBalance([weight])
    balance.stop()
    assert [step(balance, weight, task, factor) for task, factor in (("a", 1.0), ("b", 3.0)) * 2] == [
        5,
        15,
        5,
        15,
    ]

"""Models that share a memory, and are themselves in their turns and afterwards."""

import pytest
import torch
from torch import nn

from kdbench.measure.timing import shared_memory


class Tied(nn.Module):
    """An embedding table that is used twice, beside weights of another type."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 3)
        self.out = nn.Linear(3, 7, bias=False)
        self.out.weight = self.table.weight
        self.scale = nn.Parameter(torch.rand(3).to(torch.bfloat16))

    def forward(self, ids):
        return self.out(self.table(ids) * self.scale.float())


@pytest.fixture
def models():
    torch.manual_seed(0)
    lstm = nn.LSTM(3, 5, bidirectional=True)
    return [(Tied(), torch.arange(7)), (lstm, torch.rand(4, 3)), (nn.Linear(9, 9), torch.rand(2, 9))]


@torch.no_grad()
def answers(model, given):
    answer = model(given)
    return answer if isinstance(answer, torch.Tensor) else answer[0]


def test_each_answers_in_its_turns_as_before_and_all_do_again_afterwards(models):
    before = [answers(*one) for one in models]
    with shared_memory(model for model, _ in models) as loaders:
        for place in (0, 1, 2, 1, 0):
            loaders[place]()
            assert torch.equal(answers(*models[place]), before[place])
        firsts = {next(model.parameters()).data_ptr() for model, _ in models}
        assert len(firsts) == 1
        assert not torch.equal(answers(*models[2]), before[2])  # it is not its turn
    assert [torch.equal(answers(*one), expected) for one, expected in zip(models, before, strict=True)] == [
        True
    ] * 3
    tied = models[0][0]
    assert tied.out.weight is tied.table.weight


def test_models_are_themselves_again_whatever_happens(models):
    before = [answers(*one) for one in models]
    with pytest.raises(KeyboardInterrupt), shared_memory(model for model, _ in models):
        raise KeyboardInterrupt
    assert [torch.equal(answers(*one), expected) for one, expected in zip(models, before, strict=True)] == [
        True
    ] * 3


def test_without_weights_there_is_nothing_to_bring():
    with shared_memory([nn.ReLU()]) as (load,):
        load()
    with shared_memory([]) as loaders:
        assert loaders == []

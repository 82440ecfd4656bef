"""One memory that the models which are timed together run from, each in its turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_ALIGNMENT = 64
"""Bytes: a line of the processor's caches."""


@contextmanager
def one_memory(models: Iterable[nn.Module]) -> Iterator[Sequence[Callable[[], None]]]:
    """Have `models`, which are on the CPU, run from one memory in the block; give for each what brings its weights there.

    Where weights happen to lie decides about a call, by a tenth and more among equal models: in the system's cache of
    files, whose pages a loaded model shares, or in the memory that a virtual machine was given. From one memory all
    fare alike. In the block a model is itself from when its weights were brought until another's are.
    """
    moved = [_Moved(model) for model in models]
    memory = torch.empty(max([0, *(len(one.kept) for one in moved)]), dtype=torch.uint8)
    for one in moved:
        one.run_from(memory)
    try:
        yield [one.bring for one in moved]
    finally:
        for one in moved:
            one.run_from(one.kept)


class _Moved:
    """A model whose weights are kept in one piece, to be brought elsewhere at once."""

    def __init__(self, model: nn.Module) -> None:
        self._places: list[tuple[nn.Parameter, slice]] = []
        end = 0
        for parameter in model.parameters():  # one that is used twice comes once
            self._places.append((parameter, slice(end, end + parameter.nbytes)))
            end += -(-parameter.nbytes // _ALIGNMENT) * _ALIGNMENT
        self.kept = torch.empty(end, dtype=torch.uint8)
        self._memory = self.kept
        for parameter, place in self._places:
            self.kept[place] = parameter.detach().contiguous().view(-1).view(torch.uint8)

    def run_from(self, memory: Tensor) -> None:
        """Let the model read its weights in `memory`."""
        self._memory = memory
        for parameter, place in self._places:
            parameter.data = memory[place].view(parameter.dtype).view(parameter.shape)

    def bring(self) -> None:
        """Write the weights to where the model reads them."""
        self._memory[: len(self.kept)].copy_(self.kept)

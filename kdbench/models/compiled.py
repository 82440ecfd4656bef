"""Compile models with torch.compile, whose compiler (inductor) writes C++ for the CPU, and check what they answer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from torch import nn

from kdbench.api.bench import Batch
from kdbench.errors import KdbenchError
from kdbench.models.onnx import check_logits, quietly

_FOLDER = "TORCHINDUCTOR_CACHE_DIR"
_MOST_GRAPHS = 1000
"""The graphs that a class of models may have in a process: two per architecture and number of threads. torch's limit, 8, is
meant for the shapes of one model."""


def compiled(model: nn.Module) -> nn.Module:
    """Return `model` as torch.compile compiles it at its first call: as a whole, for every sequence length.

    It is compiled once for single texts, since a batch size of 1 is a constant to the compiler, and once for all larger
    batches; and again when torch's number of threads changes, or where inputs come to be made in inference mode. Models of
    one architecture share their code.
    """
    import torch._dynamo.config as tracing
    import torch._inductor.config as compiling

    tracing.recompile_limit = _MOST_GRAPHS
    compiling.compile_threads = 1  # else a pool of processes stays behind while models are timed
    return cast(nn.Module, torch.compile(model, fullgraph=True, dynamic=True))


@contextmanager
def compiled_in(folder: Path) -> Iterator[None]:
    """Keep the code of models that are compiled in the block in `folder`, not in the system's temporary folder."""
    before = os.environ.get(_FOLDER)
    os.environ[_FOLDER] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FOLDER]
        else:
            os.environ[_FOLDER] = before


def check_compiled(model: nn.Module, example: Batch) -> None:
    """Compile `model` for single texts and for batches, with nothing compiled before, and check what it answers.

    Args:
        model: a float32 model in evaluation mode that returns ``.logits``.
        example: its inputs on its device, each int64 ``(2, sequence)``; see `example_inputs`.

    Raises:
        KdbenchError: it cannot be compiled as a whole, or answers differently; says why in one line.
    """
    from torch._inductor.utils import fresh_cache

    torch.compiler.reset()
    with fresh_cache(), torch.inference_mode(), quietly():
        problem = _problem(model, example)  # an error would leave the folder of the block behind
    if problem is not None:
        raise problem


def _problem(model: nn.Module, example: Batch) -> KdbenchError | None:
    name, whole = type(model).__name__, compiled(model)
    for batch in ({part: values[:1] for part, values in example.items()}, example):
        try:
            answered = whole(**batch).logits
        except Exception as error:
            return KdbenchError(f"torch.compile cannot compile {name}: {_first_line(error)}")
        try:
            check_logits(answered, model(**batch).logits, batch, f"the compiled {name}")
        except KdbenchError as error:
            return error
    return None


def _first_line(error: Exception) -> str:
    """Return type and first line of an error; the others are hints and stacks."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"

"""Choose the device that a process computes on, and the precision of training there."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def pick_device() -> torch.device:
    """Return CUDA or MPS if available, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def has_fast_bf16(device: torch.device) -> bool:
    """Return whether the hardware multiplies bfloat16 matrices faster than float32.

    A process that ``ATEN_CPU_CAPABILITY`` limits to an older instruction set does not.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type == "cpu" and torch.backends.cpu.get_cpu_capability() not in ("AVX2", "DEFAULT"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def training_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return the autocast context that training uses on `device`."""
    if has_fast_bf16(device):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()

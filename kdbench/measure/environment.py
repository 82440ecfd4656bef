"""Describe the machine, the libraries and the source revision that produce a record."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from collections.abc import Collection, Iterable
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psutil
import torch

from kdbench.results.records import Environment

_LIBRARIES = (
    "kdbench",
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "peft",
    "tokenizers",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "numpy",
    "scipy",
)
_EXTRAS = ("openvino",)
"""Libraries that some installations lack."""
_CPU_FLAGS = (
    "avx2",
    "fma",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_bf16",
    "amx_int8",
    # Of ARM:
    "asimd",
    "asimddp",
    "bf16",
    "i8mm",
    "sve",
)
"""CPU instructions by which libraries choose their matrix-product kernels."""


@cache
def describe_environment() -> Environment:
    """Return the environment of this process."""
    revision, dirty = _git(Path(__file__).parent)
    return Environment(
        hardware=_hardware(),
        libraries={name: version(name) for name in _LIBRARIES}
        | {name: version(name) for name in _EXTRAS if find_spec(name) is not None}
        | {"python": platform.python_version()},
        git_revision=revision,
        git_dirty=dirty,
    )


_INSTRUCTIONS = {
    torch.bfloat16: ("avx512_bf16", "amx_bf16", "bf16"),
    torch.float16: ("avx512_fp16", "amx_fp16", "asimdhp"),
}
"""The flags of processors, x86 and ARM, that multiply in these types."""


def emulated_types(dtypes: Iterable[torch.dtype], flags: Collection[str] | None = None) -> list[str]:
    """Return the names of those `dtypes` that the processor has no instructions for; none where its flags are unknown.

    `flags` are by default those of this machine.
    """
    flags = _cpu()[1] if flags is None else flags
    missing = {
        dtype
        for dtype in dtypes
        if flags and dtype in _INSTRUCTIONS and not set(_INSTRUCTIONS[dtype]) & set(flags)
    }
    return sorted(str(dtype).removeprefix("torch.") for dtype in missing)


def peak_memory_bytes() -> int:
    """Return the largest resident set of this process so far."""
    # On Linux, getrusage would include the parent's memory at the time it started this process.
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, others KiB


def _hardware() -> dict[str, str]:
    cpu, flags = _cpu()
    hardware = {
        "cpu": cpu,
        "cores": str(os.cpu_count()),
        "memory_gib": str(round(psutil.virtual_memory().total / 2**30)),
        "system": platform.system(),
    }
    physical = psutil.cpu_count(logical=False)
    if physical is not None:
        hardware["physical_cores"] = str(physical)
    known = [flag for flag in _CPU_FLAGS if flag in flags]
    if known:
        hardware["cpu_flags"] = " ".join(known)
    return hardware | _gpu()


def _gpu() -> dict[str, str]:
    """Return the GPU's name and memory and its software versions; empty without a GPU."""
    if not torch.cuda.is_available():
        return {}
    card = torch.cuda.get_device_properties(torch.cuda.current_device())
    known = {
        "gpu": card.name,
        "gpu_memory_gib": str(round(card.total_memory / 2**30)),
        "gpus": str(torch.cuda.device_count()),
        "cuda": torch.version.cuda,
        "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        "gpu_driver": _nvidia_driver(),
    }
    return {name: value for name, value in known.items() if value is not None}


def _nvidia_driver() -> str | None:
    """Return the version of NVIDIA's driver; None where nvidia-smi does not report it."""
    try:
        versions = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return versions[0] if versions else None


def _cpu() -> tuple[str, set[str]]:
    """Return the processor's name and flags, from /proc/cpuinfo on Linux; elsewhere the name from `platform` alone."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine(), set()
    fields: dict[str, str] = {}
    for line in info.read_text().splitlines():
        key, _, value = line.partition(":")
        fields[key.strip()] = value.strip()
    name = fields.get("model name", platform.machine())
    return name, set(fields.get("flags", fields.get("Features", "")).split())


def _git(folder: Path) -> tuple[str | None, bool | None]:
    """Return the revision of the git checkout that has `folder`, and whether it has changes; None outside of one."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        # An installed copy may lie inside the checkout of another project.
        git("ls-files", "--error-unmatch", "environment.py")
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None

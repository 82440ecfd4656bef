"""The machine, the libraries and the source that a record came from."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from kdbench.records import Environment

_LIBRARIES = ("kdbench", "torch", "transformers", "datasets", "peft", "tokenizers", "numpy")
_FLAGS_THAT_MATTER = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


@cache
def describe_environment() -> Environment:
    """Return where this process runs."""
    revision, dirty = _git(Path(__file__).parent)
    return Environment(
        hardware=_hardware(),
        libraries={name: version(name) for name in _LIBRARIES} | {"python": platform.python_version()},
        git_revision=revision,
        git_dirty=dirty,
    )


def peak_memory_bytes() -> int:
    """Return the largest resident set that this process ever had."""
    # On Linux getrusage would count what the parent held when it started this process.
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
        "memory_gib": _memory_gib(),
        "system": platform.system(),
    }
    known = [flag for flag in _FLAGS_THAT_MATTER if flag in flags]
    if known:
        hardware["cpu_flags"] = " ".join(known)
    if torch.cuda.is_available():
        hardware["gpu"] = torch.cuda.get_device_name()
    return hardware


def _cpu() -> tuple[str, set[str]]:
    """Return the processor's name and flags; Linux names them in a file, others by `platform` alone."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine(), set()
    fields: dict[str, str] = {}
    for line in info.read_text().splitlines():
        key, _, value = line.partition(":")
        fields[key.strip()] = value.strip()
    name = fields.get("model name", platform.machine())
    return name, set(fields.get("flags", fields.get("Features", "")).split())


def _memory_gib() -> str:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return str(round(total / 2**30))


def _git(folder: Path) -> tuple[str | None, bool | None]:
    """Return the revision of the checkout that `folder` belongs to and whether it has changes; None outside of one."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        git(
            "ls-files", "--error-unmatch", "environment.py"
        )  # an installed copy may lie inside another's checkout
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None

"""Say which inference back ends this machine has."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from importlib.util import find_spec

from kdbench.budgets import BackEnd
from kdbench.errors import UsageError


def absence(back_end: BackEnd) -> str | None:
    """Return why nothing can run in `back_end` on this machine, and the remedy; None where it can."""
    if back_end is BackEnd.OPENVINO and find_spec("openvino") is None:
        return "OpenVINO is not installed; run pip install 'kdbench[openvino]'"
    if back_end is BackEnd.TORCH_COMPILE:
        compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
        if shutil.which(compiler) is None:
            return f"torch.compile needs a C++ compiler, and there is no {compiler}; install it, or name yours in CXX"
    return None


def check_back_ends(requested: Iterable[BackEnd]) -> None:
    """Check that this machine has all back ends that the user has requested.

    Raises:
        UsageError: it lacks one; names the remedy.
    """
    for back_end in requested:
        reason = absence(back_end)
        if reason is not None:
            raise UsageError(f"no model can be timed in {back_end}: {reason}")

"""Say which inference back ends this machine has."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from kdbench.budgets import BackEnd
from kdbench.errors import UsageError


def absence(back_end: BackEnd) -> str | None:
    """Return why nothing can run in `back_end` on this machine, and the remedy; None where it can."""
    if back_end is BackEnd.OPENVINO and find_spec("openvino") is None:
        return "OpenVINO is not installed; run pip install 'kdbench[openvino]'"
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

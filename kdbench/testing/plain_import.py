"""Import a plugin's module in a fresh process, to see whether it loads torch."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

from kdbench.testing.report import CheckError

_PROGRAM = """
import sys
sys.path[:] = {path!r}
from kdbench.plugins import import_plugin
import_plugin({module!r})
sys.exit(3 if "torch" in sys.modules else 0)
"""
_LOADED_TORCH = 3


def import_without_torch(part: type) -> None:
    """Raise a CheckError if importing the package or file that defines `part` imports torch."""
    file = getattr(sys.modules[part.__module__], "__file__", None)
    package = part.__module__.partition(".")[0]
    # A class of a single file, which may not be importable by name, or of a package.
    is_package = hasattr(sys.modules.get(package), "__path__")
    _check(package if is_package or file is None else str(file))


@cache
def _check(module: str) -> None:
    program = _PROGRAM.format(path=sys.path, module=module)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    if ended.returncode == _LOADED_TORCH:
        raise CheckError(
            f"importing {module} imports torch, and so would every `kdbench list`; import it where it is used"
        )
    if ended.returncode:
        last = ended.stderr.strip().splitlines()[-1:]
        raise CheckError(f"{module} cannot be imported in a process of its own: {' '.join(last)}")

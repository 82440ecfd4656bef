"""Source trees of small distributions that bring plugins, sound and broken ones, as others would publish them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
DISTRIBUTIONS = sorted(path.name for path in FOLDER.iterdir() if (path / "pyproject.toml").is_file())


def install(folder: Path, *distributions: str | Path) -> Path:
    """Build and install `distributions` with pip, and return the folder to put on PYTHONPATH; nothing is downloaded.

    A distribution is the name of one here, or the path of a folder.
    """
    sources = [shutil.copytree(FOLDER / name, folder / "sources" / Path(name).name) for name in distributions]
    installed = folder / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(installed)]
    subprocess.run([*pip, *offline, *map(str, sources)], check=True)
    return installed

"""A site put into a folder of the user's."""

from __future__ import annotations

import shutil
from pathlib import Path

from kdbench.errors import KdbenchError, UsageError
from kdbench.files import write_atomically
from kdbench.publish.site import Site
from kdbench.results.paths import RECORDS_FILE

_REPLACED = {"predictions": ".safetensors", "timings": ".json"}


def check_place(out: Path, results: Path) -> None:
    """Refuse a folder that a site must not be written into.

    Raises:
        UsageError: it is no folder, or the results folder itself, whose predictions a site would replace.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is no folder; name one, or one that is not there yet")
    if out.resolve() == results.resolve():
        raise UsageError(f"--out {out} is the results folder; name another")


def write_site(site: Site, out: Path) -> list[Path]:
    """Write the files of `site` into `out` and return them.

    Files of the same names are replaced. Where `out` holds an earlier site, its predictions and timings that this one
    has not are deleted; whatever else stands there is left alone.

    Raises:
        KdbenchError: a file cannot be written.
    """
    files = site.files
    try:
        if (out / RECORDS_FILE).is_file():
            _remove_stale(out, set(files))
        written = []
        for name in files:
            write_atomically(out / name, (site.folder / name).read_bytes())
            written.append(out / name)
    except OSError as error:
        raise KdbenchError(
            f"cannot write {error.filename or out} ({error.strerror}); make room or name another folder with --out"
        ) from error
    return written


def _remove_stale(out: Path, names: set[str]) -> None:
    for part, suffix in _REPLACED.items():
        for path in (out / part).glob(f"*{suffix}"):
            if path.relative_to(out).as_posix() not in names and path.is_file():
                path.unlink()
        if (out / part).is_dir() and not any((out / part).iterdir()):
            shutil.rmtree(out / part)

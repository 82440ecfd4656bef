"""`kdbench.load`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.export.manifest import read_manifest

if TYPE_CHECKING:
    from kdbench.export.model import ExportedModel


def load(folder: str | Path, *, base: str | Path | None = None) -> ExportedModel:
    """Return the model in a folder that ``kdbench export`` wrote, whatever its format and kind of task.

    Args:
        folder: the exported folder.
        base: for a folder that holds an adapter alone, the base model: a folder, a hub id, or None for the embedded one.

    Raises:
        UsageError: the folder is none, or is damaged, or the base model is another than the adapter's.
    """
    manifest = read_manifest(Path(folder))  # a mistyped folder answers before torch is loaded
    from kdbench.export.formats import open_model, open_tokenizer
    from kdbench.export.model import ExportedModel

    folder = Path(folder)
    model = open_model(folder, manifest, None if base is None else str(base))
    return ExportedModel(model, open_tokenizer(folder), manifest)

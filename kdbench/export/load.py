"""`kdbench.load`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.api.kinds import TaskKind
from kdbench.errors import UsageError
from kdbench.export.manifest import read_manifest

if TYPE_CHECKING:
    from kdbench.export.model import ExportedModel


def load(folder: str | Path, *, base: str | Path | None = None, plugins: Sequence[str] = ()) -> ExportedModel:
    """Return the model in a folder that ``kdbench export`` wrote, whatever its format and kind of task.

    Args:
        folder: the exported folder.
        base: for a folder that holds an adapter alone, the base model: a folder, a hub id, or None for the embedded one.
        plugins: where the kind of task is that of a plugin which is not installed, its module or ``.py`` file.

    Raises:
        UsageError: the folder is none, or is damaged, or the base model is another than the adapter's, or no plugin
            brings the kind of task.
    """
    manifest = read_manifest(Path(folder))  # a mistyped folder answers before torch is loaded
    kind = _kind(manifest.kind, plugins)
    from kdbench.export.formats import open_model, open_tokenizer
    from kdbench.export.model import ExportedModel

    folder = Path(folder)
    model = open_model(folder, manifest, kind, None if base is None else str(base))
    return ExportedModel(model, open_tokenizer(folder), manifest, kind)


def _kind(name: str, plugins: Sequence[str]) -> TaskKind:
    own = next((kind for kind in TaskKind if kind == name), None)
    if own is not None:
        return own
    from kdbench.plugins import load_plugins

    found = load_plugins(plugins).kinds.get(name)
    if found is None:
        raise UsageError(
            f"the model answers tasks of the kind {name!r}, which no plugin here brings; name the plugin's file: "
            "kdbench.load(folder, plugins=[FILE]), or kdbench predict --plugin FILE"
        )
    return found.item

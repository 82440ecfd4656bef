"""Load an exported model: `kdbench.load`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.api.kinds import TaskKind
from kdbench.errors import UsageError
from kdbench.export.manifest import Format, Manifest, read_manifest

if TYPE_CHECKING:
    from kdbench.export.model import ExportedModel


def load(folder: str | Path, *, base: str | Path | None = None, plugins: Sequence[str] = ()) -> ExportedModel:
    """Return the model in a folder that ``kdbench export`` wrote, of any format and kind of task.

    Args:
        folder: the exported folder.
        base: for a folder with only an adapter, the base model: a folder, a hub id, or None for the embedded one.
        plugins: modules or ``.py`` files of plugins that provide the kind of task or the model's class and are not
            installed.

    Raises:
        UsageError: the folder is no exported model or is damaged, the base model is not the adapter's, or no plugin
            provides the kind of task.
    """
    manifest = read_manifest(Path(folder))  # a mistyped folder is reported before torch is loaded
    kind = _kind(manifest, plugins)
    from kdbench.export.formats import open_model, open_tokenizer
    from kdbench.export.model import ExportedModel

    folder = Path(folder)
    model = open_model(folder, manifest, kind, None if base is None else str(base))
    return ExportedModel(model, open_tokenizer(folder), manifest, kind)


def _kind(manifest: Manifest, plugins: Sequence[str]) -> TaskKind:
    name = manifest.kind
    built_in = next((kind for kind in TaskKind if kind == name), None)
    if built_in is not None and manifest.format is not Format.KDBENCH:
        return built_in
    from kdbench.plugins import load_plugins

    registered = load_plugins(plugins).kinds.get(name)  # and the model classes that plugins register
    if registered is None:
        raise UsageError(
            f"the model serves tasks of the kind {name!r}, which no installed plugin provides; name the plugin's file: "
            "kdbench.load(folder, plugins=[FILE]), or kdbench predict --plugin FILE"
        )
    return registered.item

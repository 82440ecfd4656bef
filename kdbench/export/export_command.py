"""What ``kdbench export`` does and tells."""

from __future__ import annotations

from pathlib import Path

from kdbench.board.formatting import size, with_interval
from kdbench.board.recommend import Limit
from kdbench.config import RunConfig
from kdbench.export.exporting import export_model
from kdbench.export.manifest import Format
from kdbench.registry import Registry


def export_and_tell(
    config: RunConfig,
    registry: Registry,
    folder: Path,
    *,
    form: str | None,
    seed: int | None,
    limits: list[Limit] | None,
) -> list[str]:
    """Write the model that `config` names into `folder` and return lines that say what is there; see `export_model`."""
    done = export_model(
        config, registry, folder, form=None if form is None else Format(form), seed=seed, limits=limits
    )
    manifest, quality = done.manifest, done.checked.quality
    return [
        f"{manifest.strategy} on {manifest.task} as {manifest.format}, {size(done.model_bytes)}: {manifest.metric} "
        f"{with_interval(quality.score, quality.low, quality.high)}, scored with the exported files",
        f"logits differ from the benchmarked model's by up to {done.checked.drift:.1e}",
        f"Folder: {folder} (README.md is its card, example.py was run)",
    ]

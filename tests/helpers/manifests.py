"""Builder of what an export says of its model."""

from __future__ import annotations

from typing import Any

from kdbench.api.task import TaskKind
from kdbench.export.manifest import Format, Manifest


def make_manifest(**given: Any) -> Manifest:
    """Return the manifest of a text classifier, with the `given` fields."""
    return Manifest(
        **{
            "format": Format.HF,
            "task": "reviews",
            "kind": TaskKind.SEQUENCE_CLASSIFICATION,
            "labels": ("bad", "good"),
            "paired": False,
            "max_length": 32,
            "strategy": "finetune",
            "key": "0",
            "base_model": "tiny-bert",
            "base_sha256": "0",
            "metric": "accuracy",
            "score": 0.5,
            **given,
        }
    )

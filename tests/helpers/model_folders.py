"""Model folders as others have them."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file, save_file


def sharded(folder: Path) -> list[str]:
    """Split the weights in `folder` into two shards with their index; return the names of the shards."""
    weights = load_file(folder / "model.safetensors")
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    places = {weight: names[i % 2] for i, weight in enumerate(sorted(weights))}
    for name in names:
        part = {weight: weights[weight].clone() for weight in weights if places[weight] == name}
        save_file(part, folder / name, metadata={"format": "pt"})
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return names

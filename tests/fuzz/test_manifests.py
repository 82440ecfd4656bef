"""An odd manifest of an exported folder is refused in one line that names it, or read as json reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fuzz.judge import fuzz, taken
from fuzz.mutate import damaged, odd_json
from helpers.manifests import make_manifest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.export.manifest import Manifest, read_manifest, write_manifest

SEEDS = [
    make_manifest().model_dump_json(),
    make_manifest(labels=(), kind="a plugin's").model_dump_json(indent=1),
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an exported model, of which only the manifest is there."""
    folder = tmp_path_factory.mktemp("exported")
    write_manifest(make_manifest(), folder)
    return folder


@fuzz(500)
@given(
    content=st.one_of(
        odd_json(SEEDS).map(lambda text: text.encode("utf-8", "surrogatepass")),
        damaged([text.encode() for text in SEEDS]),
    )
)
def test_odd_manifests(exported: Path, content: bytes) -> None:
    (file,) = exported.iterdir()
    file.write_bytes(content)
    manifest, problem = taken(lambda: read_manifest(exported), file)
    if problem is None:
        given = json.loads(content)
        read = manifest.model_dump(mode="json")
        defaults = {name: field.default for name, field in Manifest.model_fields.items()}
        assert read == {name: given.get(name, defaults[name]) for name in read}
    assert list(exported.iterdir()) == [file]

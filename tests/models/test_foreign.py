"""A model's folder holds data: no code in it runs."""

import json
import shutil

import pytest
import torch

from kdbench.errors import KdbenchError, UsageError
from kdbench.models.artifacts import load_artifact
from kdbench.models.base import resolve_base_model
from kdbench.models.foreign import refuse_code


@pytest.fixture
def folder(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "theirs")


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_model_with_code_of_its_own_is_refused_in_one_line(call, folder, toy_plugin, tmp_path, name):
    settings = json.loads((folder / name).read_text())
    classes = {"AutoConfig": "theirs.Theirs", "AutoTokenizer": ["theirs.Theirs", None]}
    (folder / name).write_text(json.dumps({**settings, "model_type": "theirs", "auto_map": classes}))
    (folder / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Theirs: pass\n")
    code, _, errors = call("plan", "--model", folder, "--plugin", toy_plugin, "--task", "toy-sentiment")
    assert code == 2
    assert errors.splitlines()[-1].startswith(
        f"kdbench: {folder / name} names Python code of the model's own"
    )
    assert not (tmp_path / "ran").exists()


def test_a_model_with_a_pickle_alone_is_refused(folder):
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"has a pickle for weights \(pytorch_model\.bin\)"):
        resolve_base_model(str(folder), folder)


@pytest.mark.parametrize("content", ["{", "[]", "null", "[" * 100_000])
def test_what_is_no_json_object_is_left_to_its_reader(folder, content):
    (folder / "tokenizer_config.json").write_text(content)
    refuse_code(folder)


@pytest.mark.parametrize(
    "key", ["os:system", "subprocess:Popen", "transformers:Trainer", "transformers:pipeline", 5]
)
def test_an_artifact_names_no_class_but_a_registered_one(folder, key):
    (folder / "kdbench.json").write_text(json.dumps({"model": key}))
    with pytest.raises(KdbenchError, match="no installed plugin registers the model class"):
        load_artifact(folder)

import json

import pytest

from kdbench.data import default_cache_dir
from kdbench.data.fetch import package_files
from kdbench.errors import UsageError
from kdbench.models.base import BASE_MODEL, fetch_base_model


def test_the_embedded_model_is_a_bert_of_6_layers_that_loads_without_a_hub():
    from transformers import AutoModel

    folder = fetch_base_model(default_cache_dir())
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["num_hidden_layers"], config["hidden_size"]) == ("bert", 6, 384)
    model = AutoModel.from_pretrained(folder, local_files_only=True)
    assert sum(parameter.numel() for parameter in model.parameters()) == 22_713_216


def test_damaged_weights_are_named_with_a_remedy(tmp_path):
    whole = package_files(BASE_MODEL, default_cache_dir())
    fetch_base_model(default_cache_dir())
    for role, path in package_files(BASE_MODEL, tmp_path).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(whole[role])
    weights = package_files(BASE_MODEL, tmp_path)["model.safetensors"]
    weights.unlink()
    weights.write_bytes(b"cut off")
    with pytest.raises(UsageError, match=r"model\.safetensors is damaged: .* delete the file and run again"):
        fetch_base_model(tmp_path)

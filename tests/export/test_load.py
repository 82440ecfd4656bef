"""Which plugins an exported folder needs, to be opened."""

import json
import shutil
from pathlib import Path

import helpers.counting_plugin
import pytest
import torch
from helpers.counting_plugin import KEY, WordCounter
from helpers.manifests import make_manifest
from transformers import AutoTokenizer

import kdbench
from kdbench.errors import KdbenchError
from kdbench.export.manifest import Format, write_manifest


@pytest.fixture
def folder(tmp_path, tiny_model):
    """An export in kdbench's own form, of a model that counts good and bad words."""
    made = tmp_path / "export"
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = WordCounter(len(tokenizer), 2)
    model.scores.weight.data.zero_()
    for word, scores in {"good": (0.0, 2.0), "weak": (3.0, 0.0)}.items():
        model.scores.weight.data[tokenizer.convert_tokens_to_ids(word)] = torch.tensor(scores)
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)
    (made / "kdbench.json").write_text(json.dumps({"model": KEY}))
    write_manifest(make_manifest(format=Format.KDBENCH, strategy="count-words"), made)
    return made


def test_a_model_class_may_come_from_the_file_of_a_plugin(folder, tmp_path):
    with pytest.raises(KdbenchError, match=f"no installed plugin registers the model class '{KEY}'"):
        kdbench.load(folder)
    plugin = shutil.copy(Path(helpers.counting_plugin.__file__), tmp_path / "mine.py")
    model = kdbench.load(folder, plugins=[str(plugin)])
    answers = model.predict(["a good film", "good but weak", "a film"])
    assert [answer.label for answer in answers] == ["good", "bad", "bad"]
    # Softmax of (0, 2), (3, 2) and (0, 0).
    assert [answer.scores["good"] for answer in answers] == pytest.approx([0.880797, 0.268941, 0.5], abs=1e-6)

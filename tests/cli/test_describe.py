"""`kdbench describe` and `kdbench list` as a user calls them."""

import json
from collections import Counter

import numpy as np
import pytest
from helpers.toy_plugin import ToyTags


@pytest.fixture
def told(call, toy_plugin, cache_dir, tmp_path, monkeypatch):
    """What a command prints about the toy plugin."""
    monkeypatch.setenv("KDBENCH_CACHE", str(cache_dir))
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code, out, err = call(*arguments, "--plugin", toy_plugin)
        assert (code, err) == (0, "")
        return out

    return run


def test_a_task_is_described_with_the_sizes_of_its_data(told):
    sizes = json.loads(told("describe", "toy-tags", "--json"))["sizes"]
    rows = ToyTags().load(None)
    lengths = [len(row["words"]) for row in rows["train"]]
    tags = Counter(tag for row in rows["train"] for tag in row["tags"])
    assert sizes["examples"] == {name: len(split) for name, split in rows.items()}
    assert sizes["words"]["longest"] == max(lengths)
    assert sizes["words"]["p50"] == round(np.percentile(lengths, 50))
    assert sizes["label_shares"] == {label: round(tags[label] / sum(lengths), 4) for label in ToyTags.labels}
    assert sizes["first_examples"] == list(rows["train"][:2])


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["describe", "toy-sentiment"], ["Toy sentiment", "240", "80"]),
        (["describe", "lora"], ["arXiv:2106.09685", "rank of the updates"]),
        (["list", "tasks"], ["toy-sentiment", "toy-tags"]),
        (["list", "plugins"], ["toy_plugin.py"]),
    ],
)
def test_in_a_terminal_it_is_text(told, arguments, parts):
    text = told(*arguments)
    assert [part for part in parts if part not in text] == []

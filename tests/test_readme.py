"""The README names every strategy; its Chinese version shows the same commands, outputs and links to pages that exist."""

import re
from pathlib import Path

import pytest
from kdbench_plugins import kdbench_strategies

ROOT = Path(__file__).parents[1]
ENGLISH, CHINESE = (ROOT / name for name in ("README.md", "README.zh.md"))


def blocks(path, language):
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_every_strategy_stands_in_the_table_of_what_is_compared():
    table = ENGLISH.read_text(encoding="utf-8").partition("## What it compares")[2].partition("| budget |")[0]
    names = {strategy.name for strategy in kdbench_strategies()}
    assert names <= set(re.findall(r"`([a-z0-9-]+)`", table))


def test_both_languages_show_the_same_commands_and_output():
    def commands(path):
        lines = "".join(blocks(path, "console")).splitlines()
        return [re.split(r"\s+# ", line)[0] for line in lines]

    assert commands(CHINESE) == commands(ENGLISH)
    assert blocks(CHINESE, "text") == blocks(ENGLISH, "text")


@pytest.mark.parametrize(
    "name", ["README.md", "README.zh.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
)
def test_links_lead_to_files(name):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / name).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []

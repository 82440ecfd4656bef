"""An odd config file or flag is refused in one line that names the place, or read as tomllib reads it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from fuzz.judge import fuzz, taken
from fuzz.mutate import damaged
from hypothesis import given
from hypothesis import strategies as st

from kdbench.config import RunConfig, load_config, to_toml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SEEDS = [
    b"""# A comment
strategy = ["lora[r=4]", 'tinybert+int8']
task = ["mine", "sst2"]
budget = "short@16"
seeds = 2
margin = 0.5
timeout = 1e3
results = "results"
drawings = false

[budgets.short]
base = "quick"
train_examples = 500
steps = {sequence-classification = 10, token-classification = 0x14}
latency_seconds = 0.0
latency_back_ends = ["torch"]

[tasks.mine]
kind = "sequence-classification"
train = "train.csv"
text = ["a", "b"]
label = "y"
labels = ["no", "yes"]
delimiter = ";"

[plugins]
modules = ["a.b", "own.py"]

[grid.lora]
r = [2, 4]
""",
    b"""labels = [16, 64, "all"]
model = "a/b"
workers = 1
grid.lora.r = [1]
[tasks."tags-2"]
kind = "token-classification"
train = "a.conll"
text = 0
label = -1
[tasks.hub]
dataset = "owner/name"
revision = '''v1'''
metrics = ["macro-f1"]
""",
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config file in a folder of its own."""
    return tmp_path_factory.mktemp("settings") / "kdbench.toml"


@pytest.mark.parametrize(
    "content",
    [
        b"seeds = 0x" + b"f" * 5000,
        b"[tasks.mine]\ntrain = 'a.csv'\nlabel = 0x" + b"f" * 5000,
        b"[budgets.mine]\nseeds = [0x" + b"f" * 5000 + b"]",
        b'"\\u001b[31m' + b"a" * 5000 + b'" = 1',
        b"model = '" + b"9" * 5000 + b"'",  # longer than a file's name
        b"[budgets.mine]\nbase = '" + b"a" * 5000 + b"'",
    ],
)
def test_found_and_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    _, problem = taken(lambda: load_config(file, {}), file)
    assert problem is not None


@fuzz(1500)
@given(content=damaged(SEEDS))
def test_odd_files(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    config, problem = taken(lambda: load_config(file, {}), file)
    if problem is None:
        given = tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))
        check_same(given, config, file.parent)
        copied = file.with_name("copy.toml")
        copied.write_text(
            to_toml(config.model_copy(update={"results": file.parent / config.results})), encoding="utf-8"
        )
        again = load_config(copied, {})
        assert again.model_copy(update={"results": config.results}) == config


def check_same(given: Any, read: Any, folder: Path) -> None:
    """Check that all that is `given` was `read`; paths are relative to `folder`."""
    if isinstance(given, dict):
        for name, value in given.items():
            check_same(value, read[name] if isinstance(read, dict) else getattr(read, name), folder)
    elif isinstance(given, list) and not given:
        assert not read
    elif isinstance(given, list) and "all" in given:
        assert sorted(map(str, read)) == sorted(map(str, set(given)))
    elif isinstance(given, list):
        assert len(given) == len(read)
        for one, other in zip(given, read, strict=True):
            check_same(one, other, folder)
    elif isinstance(read, Path) or (isinstance(given, str) and given != str(read)):
        assert Path(read) == folder / Path(given).expanduser()
    else:
        assert given == read


_words = st.one_of(
    st.sampled_from(
        ["", "0", "-1", "16", "8,16,all", "all,all", " 9 , 8", "7", "9" * 5000, "1e3", "quick@16", "a@b"]
    ),
    st.sampled_from(
        ["lora", "smoke", "quick", "\0", "\x1b[31m", "a\nb", "~nosuch/x", "a" * 5000, "никак", "٣٢"]
    ),
    st.text(max_size=8),
    st.lists(st.sampled_from(["all", *map(str, range(8, 30))]), min_size=2).map(",".join),
)
_numbers = st.one_of(st.integers(), st.just(10**5000), st.floats())
_FLAGS = {
    **dict.fromkeys(("budget", "labels", "model", "teacher", "executor", "overwrite"), _words),
    **dict.fromkeys(("strategy", "task", "report_to"), st.lists(_words, max_size=2)),
    **dict.fromkeys(("seeds", "workers", "threads", "timeout", "margin"), _numbers),
    "drawings": st.booleans(),
    "plugins": st.fixed_dictionaries({"modules": st.lists(_words, max_size=2)}),
    "tasks": st.dictionaries(
        _words, st.dictionaries(st.sampled_from(["train", "text", "kind", "metric"]), _words), max_size=1
    ),
}


@fuzz(1000)
@given(st.fixed_dictionaries({}, optional=_FLAGS))
def test_odd_flags(flags: dict[str, Any]) -> None:
    config, problem = taken(lambda: load_config(None, flags))
    if problem is None:
        for name, value in flags.items():
            if name == "labels" and value:
                check_labels(value, config)
            elif value not in ("", []):
                check_same(value, getattr(config, name), Path())


def check_labels(text: str, config: RunConfig) -> None:
    words = {word.strip() for word in text.split(",")}
    numbers = sorted(int(word) for word in words - {"all"})
    assert config.labels == [*numbers, *(["all"] if "all" in words else [])]

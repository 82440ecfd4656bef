"""Every hook is documented with its signature, and every hook is called by a test."""

import inspect
import re

import numpy as np
import pandas as pd
import pytest
from helpers.guide import GUIDE, code_blocks
from helpers.support import make_record

from kdbench import KdbenchError, TaskKind, hookspecs
from kdbench.api.model_classes import find_model_class
from kdbench.api.predictions import Predictions
from kdbench.errors import UsageError
from kdbench.plugins import load_plugins
from kdbench.results.records import Status

HOOKS = [name for name in vars(hookspecs) if name.startswith("kdbench_")]


def example_of(hook):
    """The example in the section of the guide that explains `hook`."""
    section = GUIDE.partition(f"### {hook}\n")[2].partition("\n#")[0]
    (example,) = (block for block in code_blocks(section) if "@hookimpl" in block)
    return example


@pytest.fixture
def load(tmp_path):
    def load_source(source):
        path = tmp_path / "plugin.py"
        path.write_text(source, encoding="utf-8")
        registry = load_plugins([str(path)])
        assert registry.plugins[-1].error is None
        return registry

    return load_source


@pytest.mark.parametrize("hook", HOOKS)
def test_the_guide_has_a_section_with_the_exact_signature(hook):
    signature = str(inspect.signature(getattr(hookspecs, hook))).replace("'", "")
    assert f"### {hook}\n\n```python\ndef {hook}{signature}\n```\n" in GUIDE


def test_the_guide_has_no_section_on_a_hook_that_is_not_there():
    assert re.findall(r"^### (kdbench_\w+)$", GUIDE, re.MULTILINE) == HOOKS


@pytest.mark.parametrize("hook", HOOKS)
def test_there_is_a_test_that_calls_the_hook(hook):
    assert any(name.startswith(f"test_hook_{hook}") for name in globals())


def test_hook_kdbench_strategies_brings_the_classes_that_it_returns(load):
    source = """
from kdbench import Strategy, hookimpl
class One(Strategy):
    name = title = citation = "one"
    def fit(self, bench): return bench.train(bench.base())
class Two(One):
    name = "two"
@hookimpl
def kdbench_strategies(): return [One, Two]
"""
    assert list(load(source).strategies)[-2:] == ["one", "two"]


def test_hook_kdbench_tasks_brings_the_tasks_that_it_returns(load):
    source = """
from kdbench import LocalSource, Task, TaskKind, hookimpl
class Corpus(Task):
    kind = TaskKind.SEQUENCE_REGRESSION
    metric = "spearman"
    sources = {"local": LocalSource({"train": "train.tsv", "test": "test.tsv"})}
    def __init__(self, name): self.name = self.title = name
    def load(self, opened): return {}
@hookimpl
def kdbench_tasks(): return (Corpus(name) for name in ("one", "two"))
"""
    assert list(load(source).tasks)[-2:] == ["one", "two"]


def test_hook_kdbench_model_classes_registers_the_classes_of_saved_models(load):
    load(example_of("kdbench_model_classes"))
    with pytest.raises(ModuleNotFoundError, match="kdbench_word_average"):
        find_model_class("word-average")  # looked for where the plugin says
    with pytest.raises(KdbenchError, match="no installed plugin registers the model class 'word-mean'"):
        find_model_class("word-mean")


def test_hook_kdbench_kinds_brings_the_kinds_that_it_returns(load):
    source = """
from kdbench import TaskKind, hookimpl
class Ranking(type(TaskKind.SEQUENCE_REGRESSION)):
    name = "ranking"
@hookimpl
def kdbench_kinds(): return [Ranking()]
"""
    registry = load(source)
    assert list(registry.kinds) == [*TaskKind, "ranking"]
    assert registry.kind("ranking") == "ranking"
    with pytest.raises(UsageError, match="unknown kind of task 'rankin'"):
        registry.kind("rankin")


def test_hook_kdbench_metrics_brings_the_metrics_that_it_returns(load):
    registry = load(example_of("kdbench_metrics"))
    values = np.array([1.0, 2.0, 3.0], dtype=np.float32)
    answers = Predictions(np.arange(3), values[:, None], values + np.float32([0.05, 0.5, -0.05]))
    assert registry.metrics["within-a-tenth"].of(answers, ()) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("attributes", "error"),
    [
        ("metric = 'within-a-tent'", r"unknown metric 'within-a-tent' \(did you mean 'within-a-tenth'"),
        ("metric = 'accuracy'", "metric 'accuracy' does not suit a sequence-regression task"),
        ("metric = 'pearson'; kind = Ranking()", "no plugin registers its kind 'ranking'"),
    ],
)
def test_a_task_whose_kind_or_metric_no_plugin_brings_is_told_and_left_out(tmp_path, attributes, error):
    path = tmp_path / "plugin.py"
    task = f"""
from kdbench import LocalSource, Task
class Ranking(type(TaskKind.SEQUENCE_REGRESSION)):
    name = "ranking"
class Corpus(Task):
    name = title = "corpus"
    kind = TaskKind.SEQUENCE_REGRESSION
    sources = {{"local": LocalSource({{"train": "train.tsv"}})}}
    {attributes}
    def load(self, opened): return {{}}
@hookimpl
def kdbench_tasks(): return [Corpus()]
"""
    path.write_text(example_of("kdbench_metrics") + task, encoding="utf-8")
    registry = load_plugins([str(path)])
    assert re.search(f"task 'corpus': {error}", registry.plugins[-1].error)
    assert "corpus" not in registry.tasks
    assert "within-a-tenth" in registry.metrics


def test_hook_kdbench_cell_finished_is_shown_every_record(load, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    registry = load(example_of("kdbench_cell_finished"))
    assert registry.cell_finished(make_record("lora", "twitter-ner", 0.5)) == []
    assert registry.cell_finished(make_record("lora", status=Status.FAILED, reason="out of memory")) == []
    assert (
        tmp_path / "finished.log"
    ).read_text() == "lora twitter-ner 0.500\nlora rotten-tomatoes out of memory\n"


def test_hook_kdbench_board_columns_adds_what_it_returns(load):
    registry = load(example_of("kdbench_board_columns"))
    table = pd.DataFrame({"score": [0.75, None], "artifact_bytes": [3e6, None]})
    warnings = []
    (added,) = registry.board_columns(table, warn=warnings.append)
    assert added["score_per_mb"].iloc[0] == pytest.approx(0.25)
    assert pd.isna(added["score_per_mb"].iloc[1])
    assert warnings == []

"""What `kdbench list` and `kdbench describe` tell; this module is itself the plugin that is listed."""

import io
import json
from enum import Enum
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field
from rich.console import Console

from kdbench import (
    HubSource,
    LocalSource,
    PackageSource,
    Params,
    Strategy,
    StudentParams,
    Task,
    TaskKind,
    hookimpl,
)
from kdbench.api.params import FINE_TUNING_RATES
from kdbench.cli.description import description, description_view, listing, listing_table
from kdbench.errors import UsageError
from kdbench.plugins import load_plugins
from kdbench.registry import PluginInfo, Registry
from kdbench.utils.files import content_hash, sha256

SOURCE_HASH = content_hash([sha256(Path(__file__))])[:12]
"""This module has no version."""


class Norm(str, Enum):
    BATCH = "batch"
    LAYER = "layer"


class Documented(Params):
    r: int = Field(8, ge=1, le=64, description="rank of the [bold]updates[/bold]")
    share: float | None = Field(None, gt=0, lt=1)
    norm: Norm = Norm.LAYER
    where: Literal["query", "value"] = "query"
    layers: tuple[int, ...] = Field((0, 2), min_length=1)
    code: str = Field("a", pattern="^[a-z]$")
    deep: bool = False


class Documentary(Strategy):
    name = "documentary"
    title = "A strategy with every type of [red]parameter[/red]"
    citation = "Nobody et al. 2026, Nothing, arXiv:0000.00000"
    family = "samples"
    kinds = frozenset({TaskKind.TOKEN_CLASSIFICATION, TaskKind.SEQUENCE_CLASSIFICATION})
    teacher_outputs = "logits"
    Params = Documented

    def fit(self, bench):
        return bench.train(bench.base())


class Short(Documentary):
    name = "short"
    kinds = frozenset(TaskKind)
    Params = StudentParams


class Corpus(Task):
    name = "corpus"
    title = "A corpus"
    kind = TaskKind.SEQUENCE_CLASSIFICATION
    labels = ("no", "yes")
    metric = "accuracy"
    metrics = ("macro-f1", "accuracy")
    licence = "CC BY 4.0"
    sources = {
        "package": PackageSource("nobody==1.0", "0" * 64, {"data": "nobody/data.csv"}, wheel_bytes=9_350_000),
        "local": LocalSource({"train": ("Corpus/train.tsv", "corpus/train.tsv"), "test": "Corpus/test.tsv"}),
        "hub": HubSource("nobody/corpus", "small", revision="0123abc"),
    }

    def load(self, opened):
        raise NotImplementedError


@hookimpl
def kdbench_strategies():
    return [Documentary, Short]


@hookimpl
def kdbench_tasks():
    return [Corpus()]


@pytest.fixture(scope="module")
def registry():
    return load_plugins([__name__])


def text_of(renderable, width=200):
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


def test_a_strategys_parameters_are_told_in_words(registry):
    told = description(registry, "documentary")
    parameters = {
        row.pop("name"): row for row in told["parameters"] if row["name"] not in Params.model_fields
    }
    assert parameters == {
        "r": {
            "type": "integer",
            "default": 8,
            "constraints": ">= 1, <= 64",
            "meaning": "rank of the [bold]updates[/bold]",
        },
        "share": {"type": "number or none", "default": None, "constraints": "> 0, < 1", "meaning": ""},
        "norm": {"type": "'batch' or 'layer'", "default": "layer", "constraints": "", "meaning": ""},
        "where": {"type": "'query' or 'value'", "default": "query", "constraints": "", "meaning": ""},
        "layers": {"type": "list of integer", "default": [0, 2], "constraints": "items >= 1", "meaning": ""},
        "code": {"type": "string", "default": "a", "constraints": "matches ^[a-z]$", "meaning": ""},
        "deep": {"type": "boolean", "default": False, "constraints": "", "meaning": ""},
    }


def test_a_strategy_is_told_with_all_that_a_user_chooses_by(registry):
    told = description(registry, "documentary")
    del told["parameters"]
    assert told == {
        "name": "documentary",
        "title": "A strategy with every type of [red]parameter[/red]",
        "family": "samples",
        "citation": "Nobody et al. 2026, Nothing, arXiv:0000.00000",
        "kinds": ["sequence-classification", "token-classification"],
        "uses_teacher": True,
        "learning_rates": {str(kind): FINE_TUNING_RATES[kind] for kind in sorted(Documentary.kinds)},
        "distribution": "(module)",
        "version": SOURCE_HASH,
    }


def test_a_parameter_of_two_types_names_both(registry):
    (layers,) = (row for row in description(registry, "short")["parameters"] if row["name"] == "layers")
    assert layers["type"] == "integer or list of integer"


def test_a_task_is_told_with_its_sources_in_words(registry):
    assert description(registry, "corpus", sizes={"train": 5}) == {
        "name": "corpus",
        "title": "A corpus",
        "kind": "sequence-classification",
        "labels": ["no", "yes"],
        "metrics": ["accuracy", "macro-f1"],
        "eval_split": "test",
        "sources": [
            "package nobody==1.0 (9.3 MB)",
            "files under --data-dir: Corpus/train.tsv, Corpus/test.tsv",
            "hub data set nobody/corpus small at 0123abc",
        ],
        "licence": "CC BY 4.0",
        "citation": "",
        "distribution": "(module)",
        "version": SOURCE_HASH,
        "sizes": {"train": 5},
    }


def test_a_budget_is_told_with_every_field(registry):
    told = description(registry, "smoke")
    assert told["train_examples"] == 64
    assert told["steps"]["token-classification"] == 6


def test_an_unknown_name_is_refused_with_the_nearest_of_any_sort(registry):
    for name, near in (("documentry", "documentary"), ("corpsu", "corpus"), ("smoek", "smoke")):
        with pytest.raises(UsageError, match=f"did you mean '{near}'"):
            description(registry, name)
    with pytest.raises(UsageError, match=r"^cannot list 'strategy' \(did you mean 'strategies'\?\)$"):
        listing(registry, "strategy")


@pytest.mark.parametrize("what", ["strategies", "tasks", "plugins", "budgets"])
def test_every_listing_is_json_and_shows_each_name(registry, what):
    rows = listing(registry, what)
    assert json.loads(json.dumps(rows)) == rows
    shown = text_of(listing_table(what, rows))
    assert all(row["name"] in shown for row in rows)


def test_all_kinds_are_listed_in_a_word(registry):
    rows = [row for row in listing(registry, "strategies") if row["distribution"] == "(module)"]
    documentary, short = text_of(listing_table("strategies", rows)).splitlines()[-3:-1]
    assert "sequence-classification, token-classification" in documentary
    assert " all " in short


def test_what_is_wrong_with_a_plugin_is_listed():
    broken = PluginInfo(
        "mine", "my-plugin", "1.0", strategies=["lora-x"], errors=["one [b]thing[/b]", "another"]
    )
    (row,) = listing(Registry({}, {}, [broken], hook=None), "plugins")
    assert row["error"] == "one [b]thing[/b]; another"
    assert "one [b]thing[/b]; another" in text_of(listing_table("plugins", [row]))


def test_text_of_plugins_is_shown_as_it_stands(registry):
    shown = text_of(description_view(description(registry, "documentary")))
    assert "[red]parameter[/red]" in shown
    assert "rank of the [bold]updates[/bold]" in shown


def test_names_are_whole_even_on_a_narrow_terminal(registry):
    assert "documentary" in text_of(listing_table("strategies", listing(registry, "strategies")), width=60)

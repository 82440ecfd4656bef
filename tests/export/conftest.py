"""A results folder with one model of each sort, trained once for all tests of exports."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kdbench.api.spec import parse_spec
from kdbench.config import RunConfig
from kdbench.export.export import Exported, export_model
from kdbench.export.manifest import Format
from kdbench.registry import Registry
from kdbench.results.records import RecordStore
from kdbench.run.cell import CellOrder, score_cell, train_cell
from kdbench.run.keys import cell_key
from kdbench.training.experiment import open_experiment

CELLS = [
    ("lora[r=2]", "toy-sentiment", 0),
    ("bilstm", "toy-sentiment", 0),
    ("hard-labels[layers=2]", "toy-score", 0),
    ("hard-labels[layers=2]", "toy-tags", 0),
]


@pytest.fixture(scope="session")
def trained(
    tiny_model: Path,
    toy_plugin: Path,
    cache_dir: Path,
    registry: Registry,
    tmp_path_factory: pytest.TempPathFactory,
) -> RunConfig:
    """Settings whose results folder holds `CELLS`, with a record of LoRA's second seed, whose model is gone as after a run."""
    config = RunConfig(
        budget="smoke",
        model=str(tiny_model),
        results=tmp_path_factory.mktemp("trained") / "results",
        cache_dir=cache_dir,
        plugins={"modules": [str(toy_plugin)]},
    )
    for spec, task, seed in CELLS:
        experiment = open_experiment(config, task).experiment
        strategy = registry.strategy(parse_spec(spec))
        key = cell_key(strategy, experiment, seed)
        order = CellOrder(config=config, spec=parse_spec(spec), task=task, seed=seed, key=key)
        train_cell(order.model_dump_json(), no_report)
        score_cell(order.model_dump_json(), no_report)
        store = RecordStore(config.results)
        if spec.startswith("lora"):
            store.put(store.get(key).model_copy(update={"seed": 1, "key": "f" * 20}))
    return config


def no_report(phase: str, done: int, total: int, loss: float | None) -> None:
    """Take a report and tell nobody."""


@pytest.fixture(scope="session")
def naming(trained: RunConfig) -> Callable[..., RunConfig]:
    """The settings that name one row: ``naming("lora[r=2]", "toy-sentiment")``."""

    def make(strategy: str | None, task: str, **settings: Any) -> RunConfig:
        named = {"task": [task], **({} if strategy is None else {"strategy": [strategy]}), **settings}
        return trained.model_copy(update=named)

    return make


@pytest.fixture(scope="session")
def exported(
    naming: Callable[..., RunConfig], registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Exported]:
    """An export, made once: ``exported("lora[r=2]", "toy-sentiment", "hf")``."""

    @cache
    def make(strategy: str, task: str, form: str | None = None) -> Exported:
        out = tmp_path_factory.mktemp("exports") / "model"
        return export_model(
            naming(strategy, task), registry, out, form=None if form is None else Format(form)
        )

    return make

"""A metric of the library `evaluate` scores a task like any other."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from helpers.small_run import Nobody

from kdbench.api.predictions import Predictions
from kdbench.config import RunConfig
from kdbench.plugins import load_plugins
from kdbench.results.records import RecordStore
from kdbench.run.runner import run

PLUGIN = Path(__file__).parents[2] / "examples" / "evaluate_metric.py"


@pytest.fixture(scope="module")
def ran(tmp_path_factory, tiny_model, cache_dir):
    """The settings of a run of the example's task."""
    folder = tmp_path_factory.mktemp("evaluate-metric")
    config = RunConfig.model_validate(
        {
            "task": ["short-reviews"],
            "strategy": ["finetune"],
            "budget": "smoke",
            "drawings": False,
            "model": str(tiny_model),
            "results": folder / "results",
            "board": folder / "board",
            "cache_dir": cache_dir,
            "plugins": {"modules": [str(PLUGIN)]},
        }
    )
    outcome = run(config, load_plugins(config.plugins.modules), Nobody())
    assert outcome.failed == 0
    return config


@pytest.mark.slow
def test_records_carry_what_the_metric_computes_and_an_interval_by_resampling(ran):
    records, _ = RecordStore(ran.results).load()
    for record in records:
        answers = Predictions.load(ran.results / "predictions" / f"{record.key}.safetensors")
        expected = sklearn.metrics.balanced_accuracy_score(answers.references, answers.predicted)
        assert record.quality.score == pytest.approx(expected)
        assert record.quality.metrics["accuracy"] == pytest.approx(
            np.mean(answers.references == answers.predicted)
        )
        assert record.quality.low <= record.quality.score <= record.quality.high


@pytest.mark.slow
def test_boards_and_verify_compute_it_anew(call, ran):
    rows = pd.read_csv(ran.board / "short-reviews.csv")
    assert set(rows["metric"]) == {"balanced-accuracy"}
    assert rows["rank"].notna().all()  # what has a rank was compared on resampled answers
    code, out, _ = call("verify", ran.results, "--plugin", PLUGIN)
    assert code == 0, out
    assert "balanced-accuracy" not in out

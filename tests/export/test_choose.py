"""Which row and seed is taken, from records alone."""

import pytest
from helpers.support import make_record, make_timing, save_predictions

from kdbench.board.limits import parse_limits
from kdbench.config import RunConfig
from kdbench.errors import KdbenchError, UsageError
from kdbench.export.choose import choose
from kdbench.results.paths import CellFiles
from kdbench.results.records import RecordStore, Status
from kdbench.results.timings import put_timing

RIGHT = {"finetune": 90, "lora": 89, "hard-labels": 60}


@pytest.fixture
def results(tmp_path):
    """Three rows; the second is shown by no test to be worse than the first, the third is."""
    store = RecordStore(tmp_path)
    timed = {}
    for (strategy, right), size in zip(RIGHT.items(), (40, 30, 10), strict=True):
        record = make_record(strategy, score=right / 100, scored_examples=100, parameters=size * 10**6)
        store.put(record)
        save_predictions(tmp_path, record.key, [i < right for i in range(100)])
        CellFiles(tmp_path, record.key).artifact.mkdir(parents=True)
        timed[record.key] = size / 10
    put_timing(tmp_path, make_timing(timed))
    store.put(make_record("bitfit", score=None, status=Status.FAILED, reason="it fell over"))
    return tmp_path


def config_of(results, *strategies, **settings):
    return RunConfig(results=results, strategy=list(strategies) or ["*"], **settings)


@pytest.mark.parametrize(
    ("limits", "taken"),
    [
        ("latency_ms=10", "finetune"),  # no faster row is shown to be as good
        ("parameters=20M", "hard-labels"),
        ("quality=87", "finetune"),
    ],
)
def test_limits_choose_as_recommend_does(results, registry, limits, taken):
    choice = choose(config_of(results), registry, None, parse_limits(limits))
    assert choice.record.strategy.label == taken
    assert "kdbench recommend" in choice.reason
    timing, timed = choice.timing
    assert (timing.threads, timed.key) == (1, choice.record.key)


def test_limits_that_nothing_keeps_name_the_nearest(results, registry):
    with pytest.raises(KdbenchError, match="the nearest is hard-labels"):
        choose(config_of(results), registry, None, parse_limits("parameters=9M"))


def test_a_row_is_found_under_another_spelling(results, registry):
    choice = choose(config_of(results, "lora[r=8]"), registry, None, None)  # 8 is the default
    assert (choice.record.strategy.label, choice.reason) == ("lora", "")


@pytest.mark.parametrize(
    ("strategies", "settings", "seed", "told"),
    [
        ([], {}, None, "name one row of rotten-tomatoes with --strategy"),
        (["lora", "finetune"], {}, None, "name one row"),
        (["lora[r=9]"], {}, None, r"'lora\[r=9\]' has no result on rotten-tomatoes \(did you mean 'lora'"),
        (["bitfit"], {}, None, r"bitfit on rotten-tomatoes has no model: failed \(it fell over\)"),
        (["lora"], {"task": ["rotten"]}, None, "--task 'rotten' has no result"),
        (["lora"], {"task": ["a", "b"]}, None, "name the one task of the model"),
        (["lora"], {"budget": "full"}, None, "no record of budget 'full'"),
        (["lora"], {}, 1, "--seed 1: no model of lora with this seed is left, only 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(results, registry, strategies, settings, seed, told):
    with pytest.raises(UsageError, match=told) as error:
        choose(config_of(results, *strategies, **settings), registry, seed, None)
    assert "\n" not in str(error.value)


def test_a_model_that_was_deleted_is_missed_in_words(results, registry):
    for folder in (results / "models").glob("*"):
        (folder / "artifact").rmdir()
    with pytest.raises(UsageError, match=r"no model of lora is left.*--overwrite all"):
        choose(config_of(results, "lora"), registry, None, None)

"""What no run can have measured is found, and what a run can have measured is not."""

from datetime import timedelta

import pytest
from helpers.support import NOON, make_record, make_timing

from kdbench.results.records import Status
from kdbench.results.tuning import Tuning
from kdbench.share.verify_records import budget_difference, impossible_in_record, impossible_in_timing

LATER = NOON + timedelta(days=1)
PARAMETERS = 22_713_986
STEPS = 120  # of the budget quick on a classification task of 2,000 examples, in steps of 8


def _made(part=None, **values):
    record = make_record()
    fair = record.cost.model_copy(update={"steps": STEPS, "examples": 8 * STEPS})
    record = record.model_copy(update={"cost": fair})
    if part is None:
        return record.model_copy(update=values)
    return record.model_copy(update={part: getattr(record, part).model_copy(update=values)})


def _tuned(found, trials=10):
    strategy = make_record().strategy.model_copy(update={"params": {"learning_rate": 0.002, "r": 8}})
    tuning = Tuning(
        strategy=strategy.name,
        params=found,
        trials=trials,
        tuning_s=60,
        score=0.8,
        default_score=0.7,
        validation_examples=1000,
        repeats=1,
    )
    return _made(strategy=strategy, tuning=(tuning,))


def _told(record, joint=False):
    return list(impossible_in_record(record, PARAMETERS, joint, LATER))


@pytest.mark.parametrize(
    "record",
    [
        _made(),
        _made("cost", steps=STEPS + 2, examples=0),
        _made("cost", steps=0, examples=64),
        _made("size", trainable_parameters=0),
        _made("quality", low=0.785, high=0.785),
        make_record(status=Status.FAILED, reason="out of memory"),
        _tuned({"learning_rate": 0.002}),
        _tuned({}),
    ],
)
def test_what_can_be_is_not_told_of(record):
    assert _told(record) == []


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (
            _tuned({"learning_rate": 0.004}),
            "learning_rate of finetune is 0.002, but its tuning found 0.004",
        ),
        (_tuned({}, trials=0), "finetune was tuned without a trial"),
        (
            _made("quality", score=1.2, metrics={"accuracy": 1.2}),
            "score is 1.2, but accuracy lies between 0 and 1",
        ),
        (
            _made("quality", metrics={"accuracy": 0.7}),
            "the score is 0.785, but accuracy among the metrics is 0.7",
        ),
        (_made("quality", metrics={}), "the headline metric 'accuracy' is not among its metrics"),
        (_made("quality", low=0.9, high=0.8), "the interval's upper bound 0.8 is below its lower bound 0.9"),
        (_made("cost", train_s=-1.0), "cost.train_s is -1.0"),
        (_made("cost", steps=503, examples=0), "503 steps, but the budget allows 500"),
        (_made("cost", examples=8 * STEPS + 1), "961 examples, but 120 steps of 8 examples"),
        (
            _made("size", non_embedding_parameters=PARAMETERS + 1),
            "22,713,987 non-embedding parameters, but only",
        ),
        (
            _made("size", trainable_parameters=2 * PARAMETERS),
            "45,427,972 parameters were trained, but no model",
        ),
        (_made("size", artifact_bytes=0), "the artifact has no bytes"),
        (_made("task", train_examples=2001), "2,001 train examples, but the budget has 2,000"),
        (_made(seed=-1), "the seed is -1"),
        (_made(size=None), "its status is ok, but it has no score or no size"),
        (_made(status=Status.FAILED, reason="x"), "it has a score although it ended as failed"),
        (make_record(status=Status.TIMEOUT), "it ended as timeout without a reason"),
        (_made(finished_at=LATER + timedelta(hours=1)), "which is in the future"),
        (_made(finished_at=NOON.replace(tzinfo=None)), "its end time has no time zone"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(record, line):
    told = _told(record)
    assert line in told[0]
    assert len(told) == (2 if "score is 1.2" in line else 1)  # the score stands among the metrics, too


def test_a_correlation_may_be_negative_and_a_joint_strategy_s_steps_may_be_any():
    record = make_record(metric="matthews", score=-0.5)
    fair = record.model_copy(update={"cost": _made().cost})
    assert _told(fair) == []
    assert _told(_made("cost", steps=10 * STEPS), joint=True) == []


def test_a_stack_may_take_the_steps_of_each_of_its_stages():
    record = make_record().model_copy(
        update={"cost": _made("cost", steps=700, examples=0).cost}
    )  # 2.5 * 200 + 200
    stack = {"lora": {"learning_rate": None}, "prune": {"learning_rate": None}}
    assert _told(record) != []
    assert (
        _told(record.model_copy(update={"strategy": record.strategy.model_copy(update={"params": stack})}))
        == []
    )


def test_a_budget_with_other_numbers_is_told():
    assert budget_difference(_made()) is None
    assert "'quick'" in budget_difference(_made("budget", max_length=47))


def test_a_sound_timing_is_sound_and_a_p95_below_the_median_is_not():
    timing = make_timing({"a": 5.0, "b": 6.0})
    assert list(impossible_in_timing(timing, LATER)) == []
    twice = timing.model_copy(update={"models": (*timing.models, timing.models[0]), "threads": 0})
    assert list(impossible_in_timing(twice, LATER)) == [
        "threads is 0",
        f"the model {timing.models[0].key} was timed twice",
    ]
    (line,) = impossible_in_timing(_with_point(timing, p95_ms=4.0), LATER)
    assert line == f"p95_ms is 4, below p50_ms of 5 ({timing.models[0].key}, torch, batch 1)"
    (line,) = impossible_in_timing(_with_point(timing, speedup=-1.0), LATER)
    assert "speedup is -1.0" in line


def _with_point(timing, **values):
    model = timing.models[0]
    back_end = model.back_ends[0]
    points = (back_end.points[0].model_copy(update=values),)
    changed = model.model_copy(update={"back_ends": (back_end.model_copy(update={"points": points}),)})
    return timing.model_copy(update={"models": (changed,)})

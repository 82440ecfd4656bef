"""Odd records, timings, studies, trials and live states are refused in one line, or read as json reads them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from fuzz.judge import bounded, check_line, fuzz
from fuzz.mutate import damaged, odd_json
from helpers.support import make_record, make_timing
from hypothesis import given
from hypothesis import strategies as st

from kdbench.live.recorder import LiveState
from kdbench.results.records import LearningCurve, Record
from kdbench.results.timings import Timing
from kdbench.results.tuning import Study, Trial, Tuning
from kdbench.utils.files import JsonModel, parse_json

KEY = "0123456789abcdef0123"
NOON = "2026-11-03T12:00:00Z"

_CURVE = LearningCurve(steps=(2, 4), losses=(0.75, 0.5), validated=(4,), scores=(0.75,))
_TUNING = Tuning(
    strategy="lora",
    params={"r": 4},
    trials=3,
    tuning_s=2.5,
    score=0.75,
    default_score=None,
    validation_examples=8,
    repeats=1,
)
_STUDY = {
    "key": KEY,
    "strategy": "lora",
    "tasks": ["reviews"],
    "metrics": ["accuracy"],
    "budget": "quick",
    "model": "tiny",
    "weights_sha256": "0" * 64,
    "seeds": [0, 1],
    "validation_examples": 8,
    "is_unseen": True,
}
_TRIAL = {
    "study": KEY,
    "number": 1,
    "params": {"r": 4, "layers": [0, 2], "name": "a"},
    "score": 0.75,
    "scores": {"reviews": [0.7, 0.8]},
    "seconds": 2.5,
    "finished_at": NOON,
}
_STATE = {
    "budget": "quick",
    "model": "tiny",
    "weights_sha256": "0" * 64,
    "board": "/nowhere/board",
    "started_at": NOON,
    "told_at": NOON,
    "left_s": 2.5,
    "cells": [
        {
            "strategy": "lora",
            "task": "reviews",
            "seed": 0,
            "state": "running",
            "phase": "training",
            "done": 1,
            "total": 2,
            "loss": 0.5,
            "losses": [[1, 0.5]],
        }
    ],
    "timings": [{"name": "latency of reviews", "state": "queued"}],
}


def _text(content: Any) -> str:
    return content.model_dump_json() if isinstance(content, JsonModel) else json.dumps(content)


SEEDS = {
    Record: [
        _text(make_record(curves=(_CURVE,)).model_copy(update={"tuning": (_TUNING,)})),
        _text(make_record(seed=1))
        .replace('"citation"', '"reference"', 1)
        .replace('"eval_split"', '"scored_split"'),
    ],
    Timing: [_text(make_timing({KEY: 5.0}))],
    Study: [_text(_STUDY)],
    Trial: [_text(_TRIAL)],
    LiveState: [_text({"schema_version": 1, **_STATE})],
}
_RENAMED = {"reference": "citation", "scored_split": "eval_split"}


def judge(kind: type[JsonModel], content: bytes) -> None:
    with bounded():
        item, problem = parse_json(kind, content)
    if item is None:
        assert problem is not None
        check_line(problem)
    else:
        assert problem is None
        check_same(json.loads(content, object_pairs_hook=_once), item.model_dump(mode="json"))
        again, _ = parse_json(kind, item.model_dump_json().encode())
        assert again == item


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def check_same(given: Any, read: Any) -> None:
    """Check that all that is `given` was `read`, which has defaults, too."""
    if isinstance(given, dict):
        assert isinstance(read, dict)
        for name, value in given.items():
            check_same(value, read[name if name in read else _RENAMED[name]])
    elif isinstance(given, list):
        assert len(given) == len(read)
        for one, other in zip(given, read, strict=True):
            check_same(one, other)
    elif isinstance(given, str) and given != read and isinstance(read, str):
        assert datetime.fromisoformat(given) == datetime.fromisoformat(read)
    else:
        assert given == read
        assert isinstance(given, str) == isinstance(read, str)


@pytest.mark.parametrize("kind", SEEDS)
def test_the_seeds_are_read(kind: type[JsonModel]) -> None:
    for text in SEEDS[kind]:
        assert parse_json(kind, text.encode())[1] is None


@fuzz(1500)
@given(st.sampled_from(list(SEEDS)).flatmap(lambda kind: st.tuples(st.just(kind), odd_json(SEEDS[kind]))))
def test_odd_values(given: tuple[type[JsonModel], str]) -> None:
    kind, text = given
    judge(kind, text.encode("utf-8", "surrogatepass"))


@fuzz(1500)
@given(
    st.sampled_from(list(SEEDS)).flatmap(
        lambda kind: st.tuples(st.just(kind), damaged([text.encode() for text in SEEDS[kind]]))
    )
)
def test_odd_bytes(given: tuple[type[JsonModel], bytes]) -> None:
    judge(*given)

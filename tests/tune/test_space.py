"""Edges of a range, and how it widens, by hand-computed values."""

import math
from datetime import datetime, timezone

import pytest
from pydantic import Field

from kdbench import Choice, Params, Range, Strategy, TaskKind
from kdbench.results.tuning import Trial
from kdbench.tune.space import SPREAD_TRIALS, StudySpace

CLASSIFICATION = [TaskKind.SEQUENCE_CLASSIFICATION]


class Searched(Strategy):
    class Params(Params):
        share: float = Field(0.5, ge=0, lt=1)
        weight: float = Field(0.5, ge=0, le=1)
        width: int = Field(16, ge=1)
        mode: str = "a"

    name = "searched"
    title = "Searched"
    citation = "Nobody 2026"
    search = {
        "learning_rate": Range(1e-4, 1e-2, log=True),
        "share": Range(0.1, 0.9),
        "weight": Range(0.0, 1.0),
        "width": Range(8, 32),
        "mode": Choice(("a", "b")),
    }

    def fit(self, bench):
        raise NotImplementedError


def trials(*scored):
    """Return trials with these parameters and scores; those in between have the score 0 and values in the middle."""
    ended = datetime(2026, 11, 3, tzinfo=timezone.utc)
    made = [
        Trial(
            study="s", number=number, params={"learning_rate": 1e-3}, score=0.0, seconds=1, finished_at=ended
        )
        for number in range(1, 2 + SPREAD_TRIALS)
    ]
    for number, (params, score) in enumerate(scored, start=2):
        made[number - 1] = made[number - 1].model_copy(update={"params": params, "score": score})
    return made


@pytest.fixture
def space():
    return StudySpace(Searched(Searched.Params()), CLASSIFICATION)


@pytest.mark.parametrize(
    ("params", "edges"),
    [
        ({"learning_rate": 9e-3}, {"learning_rate": "upper"}),  # 98% of the way, by ratios
        ({"learning_rate": 7.8e-3}, {}),  # 94.6%
        ({"learning_rate": 1.2e-4}, {"learning_rate": "lower"}),  # 4.0%
        ({"learning_rate": 1e-3, "share": 0.13}, {"share": "lower"}),  # 3.8%
        ({"learning_rate": 1e-3, "weight": 1.0}, {}),  # no weight is larger
        ({"learning_rate": 1e-3, "mode": "b"}, {}),
        ({"learning_rate": 1e-3, "width": 32}, {"width": "upper"}),
    ],
)
def test_a_best_value_near_an_end_that_could_move_is_at_the_edge(space, params, edges):
    assert space.edges(trials((params, 0.9))) == edges


def test_only_the_best_trial_counts_and_of_equals_the_first(space):
    assert space.edges(trials(({"learning_rate": 1e-2}, 0.5), ({"learning_rate": 1e-3}, 0.5))) == {
        "learning_rate": "upper"
    }
    assert space.edges(trials(({"learning_rate": 1e-2}, None), ({"learning_rate": 1e-3}, -1.0))) == {}


def test_a_range_widens_by_half_as_far_as_the_parameter_allows(space):
    best = {"learning_rate": 1e-2, "share": 0.9, "width": 8}
    after = space.after(trials((best, 0.9)))
    assert after["learning_rate"].high == pytest.approx(1e-1)  # two decades, and a half of them
    assert after["learning_rate"].low == 1e-4
    assert after["share"].high == pytest.approx(0.95)  # 1.3 is too much, and so is 1
    assert after["width"] == Range(1, 32)  # 8 - 12 is too little
    assert after["weight"] == Range(0.0, 1.0)


def test_the_range_is_that_of_the_declaration_until_all_of_it_was_tried(space):
    assert space.after(trials(({"learning_rate": 1e-2}, 0.9))[:-1]) == space.declared


def test_a_widened_range_widens_once_more_only_for_a_better_value_at_its_new_edge(space):
    first = trials(({"learning_rate": 1e-2}, 0.9))
    more = first[-1].model_copy(update={"number": 10, "params": {"learning_rate": 0.09}, "score": 0.95})
    assert space.after([*first, more.model_copy(update={"score": 0.1})]) == space.after(first)
    high = space.after([*first, more])["learning_rate"].high
    assert high == pytest.approx(1e-1 * math.sqrt(1e3))


def test_what_the_user_set_is_not_searched():
    params = Searched.Params(learning_rate=1e-3, width=4)
    assert set(StudySpace(Searched(params), CLASSIFICATION).declared) == {"share", "weight", "mode"}


def test_kinds_with_other_rates_are_searched_together(registry):
    kinds = [TaskKind.SEQUENCE_CLASSIFICATION, TaskKind.TOKEN_CLASSIFICATION]
    joint = registry.strategies["multi-task"].item
    space = StudySpace(joint(joint.Params()), kinds)
    assert space.declared["learning_rate"] == Range(1e-4 / 8, 2e-4 * 8, log=True)
    # The default rate is each task's own: no single number.
    assert space.values(trials()[0].model_copy(update={"params": {}})) is None

"""A task is judged by its predictions at each look, and in words at the end."""

import math

import numpy as np
import pytest
from helpers.comparisons import put_row

from kdbench.board.decision import Savings, TaskDecision
from kdbench.board.load import load_cells
from kdbench.board.statistics import Known
from kdbench.render.decision import decision_lines, end_lines, state_line
from kdbench.stats.prospects import OneSided, Prospect
from kdbench.stats.sequential import Design

EXAMPLES = 2000
RIGHT = {
    "best": (1800, 1790, 1810),
    "twin": (1800, 1790, 1810, 100),  # a seed more than the look asks for, as another run may have left
    "near": (1590, 1780, 1670),
    "far": (1200, 1210, 1190),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    for row, counts in RIGHT.items():
        put_row(
            folder, row, {seed: (np.arange(EXAMPLES) < count).tolist() for seed, count in enumerate(counts)}
        )
    return folder


@pytest.fixture(scope="module")
def known():
    return Known()


@pytest.fixture
def look(results, known):
    """Return a decision of up to ten seeds, or of so many, after its first look, with what was worth a seed."""

    def make(max_seeds=10):
        cells = load_cells(results, budget="quick").cells
        decision = TaskDecision("rotten-tomatoes", Design(0.02, 3, max_seeds))
        return decision, decision.look(cells, 3, results, known)

    return make


def test_rows_that_may_be_the_best_are_worth_a_seed_and_those_shown_to_be_worse_are_not(look):
    decision, worth = look()
    assert worth == {"best", "near", "twin"}
    assert decision.claims.worse_than == {"far": "best"}
    # Equal answers, seed for seed, are equivalent; the third row may still be better than they are.
    assert decision.claims.is_close("best", "twin")
    assert set(decision.prospects) == {("best", "near"), ("near", "twin")}
    assert not decision.is_decided


def test_the_last_look_asks_for_no_more_seeds(look):
    decision, worth = look(max_seeds=3)
    assert not decision.is_decided
    assert worth == set()


def test_the_end_is_told_in_words(look):
    decision, _ = look()
    assert (
        state_line(decision) == "rotten-tomatoes, 3 seeds: 3 rows open, 0 good enough, 1 worse than another"
    )
    lines = list(decision_lines(decision))
    assert lines[1] == "  open, neither shown to be so nor to be worse than another row: best, near, twin"
    assert len(lines) == 4
    assert all("best against near" in line or "near against twin" in line for line in lines[2:])
    savings = Savings(cells=12, of_cells=20, train_s=7200.0, max_seeds=5)
    assert list(end_lines([decision], savings)) == [
        *lines,
        "Ran 8 of the 20 cells of the full grid (5 seeds of every row); the other 12 would have trained for about 2.0 h",
    ]


def test_what_would_settle_a_pair_is_said(look):
    decision, _ = look()
    now = math.sqrt(0.1 + 0.9 / 3)
    test = OneSided(0.025, lambda: 1.96 * now)
    differing = {"a": 1.0, "b": 0.65, "c": 0.625, "d": 0.5, "e": 0.4, "f": 0.3, "g": 0.2}
    decision.prospects = {
        ("best", row): Prospect(difference, 0.1, ((0.9, 3),), 0.0, test, test)
        for row, difference in differing.items()
    }
    decision.examples = 1000
    # Worked out as in the tests of prospects: 1000 * 0.1 * (1.96 / 0.5)**2 = 1,537, with two digits.
    assert list(decision_lines(decision))[2:] == [
        "    3 more seeds would settle best against a, if the difference stays as it is",
        "    88 more seeds would settle best against b, if the difference stays as it is",
        *(
            f"    no number of seeds would settle best against {row}: the test set of 1,000 examples is too small;"
            f" about {examples} would"
            for row, examples in (("d", "1,500"), ("e", "2,400"), ("f", "4,300"))
        ),
        "    and 1 more pair with more examples",
        "    more than 100 seeds would be needed to settle best against c",
    ]

"""Rounds: who gets a seed, what comes with it, and that an interrupted run goes through the same rounds again."""

import json

import helpers.stacking_plugin
import numpy as np
import pytest
from helpers.small_run import Nobody
from helpers.support import make_record, save_predictions

from kdbench.config import to_toml
from kdbench.errors import UsageError
from kdbench.plugins import load_plugins
from kdbench.results.records import RecordStore, Status
from kdbench.run.rounds import Rounds, design_of, plan_grid, run_until_decided

EXAMPLES = 4000
ROWS = ("finetune", "linear-probe", "tfidf")


class Told(Nobody):
    """A watcher that remembers the rounds, and may end the run when a cell starts."""

    def __init__(self, die_at=""):
        self.rounds, self.judged_after, self.starts, self._die_at = [], [], [], die_at

    def planned(self, plan):
        self.rounds.append({(str(cell.row.spec), cell.seed) for cell in plan.cells})

    def judged(self, tasks):
        self.judged_after.append([decision.seeds for decision in tasks])

    def started(self, name):
        if name == self._die_at:
            raise Killed
        self.starts.append(name)


class Killed(BaseException):
    """The end of a process that nobody is told of."""


@pytest.fixture
def plugins(toy_plugin):
    return {"modules": [str(toy_plugin), helpers.stacking_plugin.__file__]}


@pytest.fixture
def make_rounds(make_config, plugins):
    """Rounds of these settings, and the cells of each; records are made up by `accuracy(row, seed)` instead of trained."""

    def make(accuracy, **settings):
        config = make_config(until_decided=True, plugins=plugins, **settings)
        registry = load_plugins(config.plugins.modules)
        made = Rounds(config, registry, Told(), plan_grid(config, registry, fetch=True))

        def each():
            for cells in made:
                for cell in cells:
                    _put(config.results, cell, made.grid.base.sha256, accuracy(str(cell.row.spec), cell.seed))
                yield {(cell.task.name, str(cell.row.spec), cell.seed) for cell in cells}

        return made, list(each())

    return make


def _put(results, cell, weights, share):
    """Write a record that answers this share right, the same examples whenever the share is the same."""
    record = make_record(
        str(cell.row.spec),
        cell.task.name,
        share,
        seed=cell.seed,
        key=cell.key,
        weights=weights,
        budget="smoke",
        scored_examples=EXAMPLES,
        status=Status.OK if share is not None else Status.FAILED,
        reason=None if share is not None else "no luck",
        train_s=10.0,
    )
    RecordStore(results).put(record)
    if share is not None:
        right = np.arange(EXAMPLES) < round(share * EXAMPLES)
        save_predictions(results, cell.key, right.tolist())


def rows_of(cells):
    return {(row, seed) for _, row, seed in cells}


def test_the_first_round_has_the_first_seeds_of_every_row(make_rounds):
    made, found = make_rounds(lambda row, seed: 0.9, strategy=["linear-probe", "tfidf"])
    # All answer alike: equivalent at once.
    assert [rows_of(cells) for cells in found] == [{(row, seed) for row in ROWS for seed in range(3)}]
    decision = made.tasks["toy-sentiment"]
    assert decision.is_decided
    assert set(decision.claims.good_enough) == set(decision.claims.rows)


def luck(row, seed):
    """The probe is far behind; the two others change places from seed to seed."""
    if row == "linear-probe":
        return 0.5
    return 0.9 + 0.002 * ((seed if row == "finetune" else seed + 1) % 2)


def test_a_row_shown_to_be_worse_gets_no_more_seeds_and_open_ones_do(make_rounds):
    made, found = make_rounds(luck, strategy=["linear-probe", "tfidf"], margin=0.6, max_seeds=6)
    seeds = {row: {seed for cells in found for _, other, seed in cells if other == row} for row in ROWS}
    assert seeds["linear-probe"] == {0, 1, 2}
    assert seeds["finetune"] == set(range(2 + len(found)))
    assert len(found) > 1
    claims = made.tasks["toy-sentiment"].claims
    assert set(claims.worse_than) == {"linear-probe"}
    savings = made.savings()
    assert (savings.cells, savings.of_cells) == (18 - sum(map(len, found)), 18)
    assert savings.train_s == pytest.approx(10.0 * savings.cells)


def test_a_row_that_fails_with_a_seed_takes_no_further_part(make_rounds):
    made, found = make_rounds(
        lambda row, seed: None if (row, seed) == ("finetune", 3) else luck(row, seed),
        strategy=["linear-probe", "tfidf"],
        margin=0.6,
    )
    assert {seed for cells in found for _, row, seed in cells if row == "finetune"} == {0, 1, 2, 3}
    claims = made.tasks["toy-sentiment"].claims
    assert claims.may_be_best == ("tfidf",)
    assert claims.open == ()


def test_what_a_row_starts_from_is_run_with_it(make_rounds, monkeypatch):
    monkeypatch.setattr(
        "kdbench.board.decision.worth_a_seed", lambda prospects, max_seeds: {"linear-probe+scale", "scale"}
    )
    _, found = make_rounds(
        lambda row, seed: 0.9, strategy=["linear-probe+scale", "linear-probe", "scale"], max_seeds=4
    )
    assert rows_of(found[1]) == {
        (row, 3) for row in ("linear-probe+scale", "linear-probe", "scale", "finetune")
    }


def test_students_come_with_their_teacher_and_joint_rows_with_their_partners(make_rounds, monkeypatch):
    def chosen(prospects, max_seeds):
        return {"vanilla-kd"} if chosen.calls.pop(0) else {"together"}

    chosen.calls = [True, False, True, False]
    monkeypatch.setattr("kdbench.board.decision.worth_a_seed", chosen)
    _, found = make_rounds(
        lambda row, seed: 0.9,
        task=["toy-sentiment", "toy-tags"],
        strategy=["vanilla-kd", "together"],
        seeds=2,
        max_seeds=3,
    )
    assert found[1] == {
        ("toy-sentiment", "vanilla-kd", 2),
        ("toy-sentiment", "finetune", 2),
        ("toy-sentiment", "together", 2),
        ("toy-tags", "together", 2),
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"seeds": 1},
            "--until-decided needs two seeds to begin with; set --seeds 2 or more, or leave it out",
        ),
        (
            {"seeds": 5, "max_seeds": 4},
            "--max-seeds 4 is fewer than the 5 seeds that every row begins with; raise it, or set --seeds",
        ),
    ],
)
def test_settings_without_a_look_are_refused(make_config, settings, message):
    with pytest.raises(UsageError, match=message):
        design_of(make_config(until_decided=True, **settings))


@pytest.mark.slow
def test_a_killed_run_goes_through_the_same_rounds_again(make_config, monkeypatch, call):
    monkeypatch.setattr("kdbench.board.decision.worth_a_seed", lambda prospects, max_seeds: {"linear-probe"})
    settings = {
        "strategy": ["linear-probe"],
        "until_decided": True,
        "seeds": 2,
        "max_seeds": 4,
        "executor": "inline",
    }
    killed, resumed = Told("linear-probe on toy-sentiment, seed 3"), Told()
    config = make_config(**settings)
    registry = load_plugins(config.plugins.modules)
    with pytest.raises(Killed):
        run_until_decided(config, registry, killed)
    decided = run_until_decided(config, registry, resumed)
    assert resumed.rounds == [
        {(row, seed) for row in ROWS[:2] for seed in range(2)},
        {("linear-probe", 2)},
        {("linear-probe", 3)},
    ]
    assert killed.rounds == resumed.rounds
    assert resumed.starts == ["linear-probe on toy-sentiment, seed 3", "latency of toy-sentiment"]
    assert resumed.judged_after == [[2], [3], [4]]
    assert (decided.savings.cells, decided.savings.of_cells) == (2, 8)
    assert (decided.outcome.failed, decided.outcome.unfinished) == (0, 0)

    settings_file = config.results.parent / "settings.toml"
    settings_file.write_text(to_toml(config), encoding="utf-8")
    code, told, _ = call("run", "--config", settings_file)
    assert code == 0
    assert [line for line in told.splitlines() if " cells (" in line or " cell (" in line] == [
        "4 cells (4 done)",
        "1 cell (1 done)",
        "1 cell (1 done)",
    ]
    assert "\n  toy-sentiment, 3 seeds: " in told
    assert "\ntoy-sentiment, 4 seeds: " in told
    assert (
        "\nRan 6 of the 8 cells of the full grid (4 seeds of every row); the other 2 would have trained for"
        in told
    )


def test_a_plan_shows_the_first_round_and_the_most_that_a_run_could_take(make_config, call):
    config = make_config(strategy=["linear-probe"], until_decided=True, max_seeds=5)
    settings_file = config.results.parent / "settings.toml"
    settings_file.write_text(to_toml(config), encoding="utf-8")
    code, told, _ = call("plan", "--config", settings_file, "--json")
    planned = json.loads(told)
    assert code == 0
    assert {(cell["strategy"], cell["seed"]) for cell in planned["cells"]} == {
        (row, seed) for row in ROWS[:2] for seed in range(3)
    }
    assert (planned["at_most"]["cells"], planned["at_most"]["pending"]) == (10, 10)
    code, told, _ = call("plan", "--config", settings_file)
    assert "\n6 cells: 6 pending\n" in told
    assert "With further ones, at most 5 seeds of every row: 10 cells: 10 pending\n" in told
    code, _, problem = call("plan", "--config", settings_file, "--max-seeds", "2")
    assert (code, problem.count("\n")) == (2, 1)

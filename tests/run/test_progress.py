"""What a run tells in a terminal and elsewhere, and what it warns of before it starts."""

import io
from dataclasses import replace

import pytest
from helpers.commands import comes_true
from rich.console import Console

from kdbench.board.decision import TaskDecision
from kdbench.results.records import Status
from kdbench.run import progress
from kdbench.run.plan import make_plan
from kdbench.run.preflight import preflight
from kdbench.run.process_executor import Progress
from kdbench.run.progress import Terminal
from kdbench.stats.sequential import Design

CELL, OTHER = (f"{strategy} on toy-sentiment, seed 0" for strategy in ("finetune", "[red]odd[/b]"))


@pytest.fixture
def plan(make_config, registry):
    return make_plan(make_config(strategy=["hard-labels"]), registry, fetch=False)


def shown_in(terminal):
    text = io.StringIO()
    return text, Console(file=text, width=100, force_terminal=terminal, color_system=None)


def test_without_a_terminal_each_end_is_a_line_and_progress_one_now_and_then(plan, monkeypatch):
    text, console = shown_in(False)
    with Terminal(console) as told:
        told.planned(plan)
        before = len(text.getvalue())
        told.started(CELL)
        told.progressed(CELL, Progress("id", "training", 3, 6, 0.5))
        assert len(text.getvalue()) == before  # too soon for a line
        monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
        told.progressed(CELL, Progress("id", "scoring", 3, 40, None))
        told.ended(CELL, Status.OK, None, 0.5, 12.3)
        told.started(OTHER)
        told.ended(OTHER, Status.FAILED, "ValueError: [red]no", None, 1.0)
        told.started("latency of toy-sentiment")
        told.ended("latency of toy-sentiment", Status.OK, None, None, 3.0)
        told.remark("a plugin is odd")
    assert text.getvalue().startswith("2 cells (2 pending)\n  strategies: finetune, hard-labels\n")
    assert text.getvalue()[before:].splitlines() == [
        f"   …    {CELL}: scoring 3/40; 0 of 2 cells done, 0 failed",
        f"  1/2 ok {CELL}: 50.0 (12 s)",
        f"  2/2 failed {OTHER}: ValueError: [red]no (1 s)",
        "ok latency of toy-sentiment:  (3 s)",
        "  ! a plugin is odd",
    ]


def test_in_a_terminal_what_runs_stands_in_a_table_that_follows(plan):
    text, console = shown_in(True)
    with Terminal(console) as told:
        told.planned(plan)
        told.started(OTHER)
        assert comes_true(lambda: f"{OTHER}  starting" in text.getvalue())
        told.progressed(OTHER, Progress("id", "training", 3, 6, 0.5))
        assert comes_true(lambda: f"{OTHER}  training 3/6, loss 0.500" in text.getvalue())
        assert "0 of 2 cells done, 0 failed" in text.getvalue()


def test_data_that_may_surprise_is_warned_of(plan):
    (experiment,) = plan.experiments.values()

    def warnings(**changed):
        changed = {"toy-sentiment": replace(experiment, task=replace(experiment.task, **changed))}
        (lines,) = preflight(replace(plan, experiments=changed)).values()
        return [line for line in lines if line.startswith("!")]

    assert warnings(duplicates=0, near_duplicates=0, unknown_share=0.0, too_long_share=0.0) == []
    assert warnings(
        duplicates=1234,
        near_duplicates=5,
        unknown_share=0.25,
        too_long_share=0.5,
        label_counts={"negative": 64, "positive": 0},
    ) == [
        "! 50% of the texts are truncated; a budget with a larger max_length, or with window_stride, which reads long"
        " texts in windows, avoids that",
        "! 25% of the tokens are unknown; does the model know the data's language?",
        "! 1,234 scored examples are also in train",
        "! 5 scored examples nearly in train: most runs of three words are the same",
        "! no training example has the label positive",
    ]


def test_a_further_round_says_only_what_is_new_and_counts_on(plan):
    text, console = shown_in(False)
    with Terminal(console) as told:
        told.planned(plan)
        told.started(CELL)
        told.ended(CELL, Status.OK, None, 0.5, 12.3)
        before = len(text.getvalue())
        decision = TaskDecision("toy-sentiment", Design(0.005, 3, 10))
        told.judged([decision])
        told.planned(replace(plan, cells=plan.cells[:1]))
        told.started(CELL)
        told.ended(CELL, Status.OK, None, 0.5, 12.3)
    assert text.getvalue()[before:].splitlines() == [
        "  toy-sentiment: no row has a score to compare",
        "1 cell (1 pending)",
        "  strategies: finetune",
        f"  2/3 ok {CELL}: 50.0 (12 s)",
    ]

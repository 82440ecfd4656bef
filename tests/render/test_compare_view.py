"""A comparison as it is printed and as JSON."""

import io
import json

import pytest
from helpers.comparisons import put_row, right
from helpers.support import make_record
from rich.console import Console

from kdbench.board.compare import compare
from kdbench.board.disagreements import Disagreement, Disagreements
from kdbench.board.load import load_cells
from kdbench.render.compare import comparison_data, print_comparison
from kdbench.results.records import RecordStore, Status

EXAMPLE = Disagreement(7, "a fine [film]", "fresh", "fresh", "rotten")
SHOWN = {"a": Disagreements(0, 50, 1000, (EXAMPLE,)), "b": "the data of b is not on this machine"}


@pytest.fixture
def comparison(tmp_path):
    for task in ("a", "b", "c"):
        put_row(tmp_path, "lora[r=16]", {0: right(800)}, task)
    for task in ("a", "b", "d"):
        put_row(tmp_path, "hard-labels", {0: right(750)}, task)
    RecordStore(tmp_path).put(make_record("hard-labels", "c", status=Status.FAILED, reason="diverged"))
    return compare(load_cells(tmp_path, budget="quick"), tmp_path, "lora[r=16]", "hard-labels", [])


def test_the_terminal_shows_scores_tests_examples_and_what_is_missing(comparison):
    file = io.StringIO()
    print_comparison(comparison, SHOWN, Console(file=file, width=120, markup=False, highlight=False))
    text = file.getvalue()
    for part in (
        "lora[r=16]",
        "80.0 [",
        "+5.0 [+3.",
        "Holm over 2 tasks: p < 0.001",
        "examples, seed by seed: lora[r=16] better on 50, equal on 950, worse on 0",
        "seed 0: 50 of 1,000 examples predicted differently, 1 of them listed",
        "a fine [film]",
        "label: fresh; lora[r=16]: fresh; hard-labels: rotten",
        "examples not shown: the data of b is not on this machine",
        "not compared: hard-labels failed: diverged",
        "Only hard-labels was run on d.",
        "Over 2 tasks lora[r=16] is significantly better on 2 and significantly worse on 0; on 0 the difference is",
    ):
        assert part in text, part


def test_the_json_can_be_read_back_and_leaves_out_what_was_not_measured(comparison):
    data = json.loads(json.dumps(comparison_data(comparison, SHOWN), allow_nan=False))
    assert (data["better"], data["worse"], data["only_b"]) == (2, 0, ["d"])
    a, b, c = data["tasks"]
    assert a["examples"]["shown"][0]["text"] == "a fine [film]"
    assert b["examples_problem"] == "the data of b is not on this machine"
    assert a["a"]["p50_ms"] is None
    assert c["problem"] == "hard-labels failed: diverged"
    assert "difference" not in c
    assert c["b"]["score"] is None

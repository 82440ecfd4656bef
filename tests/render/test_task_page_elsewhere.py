"""Latencies from settings other than that of a task's table."""

from helpers.boards import tables_without_predictions
from helpers.support import make_environment, make_record, make_timing

from kdbench.render.task_page import task_page

OTHER = make_environment("EPYC 9654")


ROWS = {"a": 0.7, "b": 0.8, "c": 0.6}
KEYS = {name: make_record(name, score=score).key for name, score in ROWS.items()}


def tables(*timings):
    return tables_without_predictions(
        [make_record(name, score=score) for name, score in ROWS.items()], timings
    )


def page(*timings):
    board = tables(*timings)
    return task_page(board.rows, board.cells, board.points, board.statistics["rotten-tomatoes"], board.loads)


def test_every_further_setting_has_a_table_of_its_own():
    here = make_timing({KEYS[name]: 10.0 for name in "abc"})
    there = make_timing({KEYS["a"]: 2.0, KEYS["b"]: 4.0}, environment=OTHER)
    section = page(here, there).partition("\n## Speed in other settings\n")[2]
    assert section.splitlines()[:6] == [
        "",
        "batch 1, 1 thread, on cores 2, cpu EPYC 9654, torch 2.13.0:",
        "",
        "| strategy | back end | p50 ms | p90 ms | p95 ms | examples per second | speed-up | speed-up at p95 |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
        "| b | torch | 4.00 | - | 4.40 | - | 2.50x | - |",
    ]


def test_one_setting_needs_no_section():
    assert "Speed in other settings" not in page(make_timing({KEYS[name]: 10.0 for name in "abc"}))


def test_a_row_that_was_timed_nowhere_else_is_told_of_by_its_remark():
    here = make_timing({KEYS["a"]: 10.0, KEYS["b"]: 10.0})
    there = make_timing({KEYS["c"]: 2.0}, environment=OTHER)
    assert "Speed in other settings" not in page(here, there)
    notes = tables(here, there).rows.set_index("strategy")["latency_note"]
    assert notes["c"].startswith("timed in another setting, not to be compared: p50 2.00 ms")

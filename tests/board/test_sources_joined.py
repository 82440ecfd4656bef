"""The records of several machines and runs on one board."""

import pytest
from helpers.comparisons import put_row, right
from helpers.support import NOON, make_environment, make_record, make_timing, save_predictions

from kdbench.board.load import load_cells
from kdbench.board.sources import joined, read_results
from kdbench.board.tables import board_tables
from kdbench.results.records import RecordStore, Status
from kdbench.results.timings import put_timing


@pytest.fixture
def folders(tmp_path):
    return tmp_path / "runs" / "one", tmp_path / "runs" / "two"


def join(*folders):
    return joined([read_results(folder) for folder in folders])


def put(results, record, answers=None):
    RecordStore(results).put(record)
    if answers is not None:
        save_predictions(results, record.key, answers)


def test_rows_of_two_folders_are_compared_as_if_they_had_been_run_in_one(folders, tmp_path):
    one, two = folders
    put_row(one, "a", {0: right(700)})
    put_row(two, "b", {0: right(500)})
    for name, count in (("a", 700), ("b", 500)):
        put_row(tmp_path / "both", name, {0: right(count)})
    expected = board_tables(load_cells(tmp_path / "both", budget="quick"), tmp_path / "both")
    with join(one, two) as source:
        found = board_tables(load_cells(source, budget="quick"), source.root)
    assert found.rows.equals(expected.rows)
    assert list(found.rows["rank"]) == [1, 2]


def test_a_copy_of_a_record_is_the_same_cell_and_no_conflict(folders):
    for folder in folders:
        put_row(folder, "a", {0: right(700)})
    with join(*folders) as source:
        assert len(source.records) == 1
        assert source.conflicts == {}


def test_runs_of_a_cell_that_differ_in_time_and_machine_alone_are_no_conflict(folders):
    one, two = folders
    put(one, make_record("a", score=0.7))
    later = make_record("a", score=0.7, minutes=5, train_s=99.0, environment=make_environment("EPYC 9654"))
    put(two, later)
    with join(*folders) as source:
        assert source.records == (later,)
        assert source.conflicts == {}


@pytest.mark.parametrize(
    ("later", "told"),
    [
        ({"score": 0.75}, "accuracy 75 in two but accuracy 70 in one"),
        ({"status": Status.FAILED, "reason": "out of memory"}, "failed in two but ok in one"),
        ({"score": 0.7, "parameters": 1000}, "1,000 parameters in two but 22,713,986 in one"),
    ],
)
def test_runs_of_a_cell_that_differ_in_what_matters_are_named(folders, later, told):
    one, two = folders
    put(one, make_record("a", score=0.7))
    newest = make_record("a", minutes=5, **later)
    put(two, newest)
    for order in ((one, two), (two, one)):
        with join(*order) as source:
            assert source.records == (newest,)
            (line,) = source.conflicts.values()
            assert line == (
                f"conflict: a on rotten-tomatoes, seed 0 (record {newest.key}): {told}. The newest, in two, counts here"
            )
            assert load_cells(source, budget="quick").left_out == (line,)


def test_folders_of_one_name_are_told_apart_by_what_stands_above(folders):
    one, two = (folder / "results" for folder in folders)
    put(one, make_record("a", score=0.7))
    put(two, make_record("a", score=0.75, minutes=5))
    with join(one, two) as source:
        (line,) = source.conflicts.values()
    assert "accuracy 75 in two/results but accuracy 70 in one/results" in line


def test_predictions_are_found_in_whichever_folder_has_them(folders):
    one, two = folders
    put(one, make_record("a", score=0.7), right(700))
    put(two, make_record("a", score=0.7, minutes=5))
    with join(one, two) as source:
        rows = board_tables(load_cells(source, budget="quick"), source.root).rows
    assert list(rows["rank"]) == [1]
    assert not rows["warnings"].any()


def test_predictions_of_a_run_that_scored_otherwise_are_not_taken_for_the_newest(folders):
    one, two = folders
    put(one, make_record("a", score=0.7), right(700))
    put(two, make_record("a", score=0.75, minutes=5))
    with join(one, two) as source:
        rows = board_tables(load_cells(source, budget="quick"), source.root).rows
    assert list(rows["score"]) == [0.75]
    assert "the predictions of seed 0 are missing or damaged" in rows["warnings"].iloc[0]


def test_nothing_in_the_folders_changes_and_the_links_vanish(folders):
    one, two = folders
    put(one, make_record("a", score=0.7), right(700))
    put(two, make_record("b", score=0.7), right(700))
    before = {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*")}
    with join(one, two) as source:
        assert len(list((source.root / "predictions").iterdir())) == 2
    assert not source.root.exists()
    assert before == {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*")}


def test_a_machine_that_timed_all_is_not_set_aside_for_one_that_timed_a_part_later(folders):
    one, two = folders
    records = [make_record(name, score=0.7, minutes=at) for at, name in enumerate("abc")]
    for record in records:
        put(one, record)
    put(two, records[0])
    put_timing(one, make_timing({record.key: 10.0 for record in records}, minutes=60))
    elsewhere = make_timing({records[0].key: 2.0}, minutes=90, environment=make_environment("EPYC 9654"))
    assert elsewhere.finished_at > NOON
    put_timing(two, elsewhere)
    with join(one, two) as source:
        tables = board_tables(load_cells(source, budget="quick"), source.root)
    assert list(tables.rows["p50_ms"]) == [10.0, 10.0, 10.0]
    assert not tables.rows["latency_note"].any()
    measured = tables.points.set_index(["strategy", "setting"])["p50_ms"].to_dict()
    assert measured == {
        **{(name, "batch 1, 1 thread, on cores 2, cpu Xeon 8481C, torch 2.13.0"): 10.0 for name in "abc"},
        ("a", "batch 1, 1 thread, on cores 2, cpu EPYC 9654, torch 2.13.0"): 2.0,
    }

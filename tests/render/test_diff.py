"""What changed, as pages, a table for programs, and in the terminal."""

import io

import pandas as pd
import pytest
from helpers.comparisons import put_row, right
from helpers.support import make_record, markdown_table
from rich.console import Console

from kdbench.board.diff import Against, changes
from kdbench.board.load import load_cells
from kdbench.board.sources import read_source
from kdbench.render.diff import CHANGES_COLUMNS, changes_files, headline, print_changes, regressions_line
from kdbench.render.write import write_board
from kdbench.results.records import RecordStore, Status

EVIL = "<b>|evil"


@pytest.fixture
def folders(tmp_path):
    """One row worse, one gone, one failing, one the same, one by its score alone; each on one task."""
    old, new = tmp_path / "secret" / "old", tmp_path / "secret" / "new"
    put_row(old, EVIL, {0: right(700)})
    put_row(new, EVIL, {0: right(600)}, minutes=5, parameters=1000)
    put_row(old, "gone", {0: right(700)})
    for folder in (old, new):
        put_row(folder, "same", {0: right(650)})
        RecordStore(folder).put(make_record("bare", score=0.7, minutes=5 if folder is new else 0))
    put_row(old, "breaks", {0: right(700)})
    RecordStore(new).put(
        make_record("breaks", score=None, status=Status.FAILED, reason="out of\nmemory", minutes=5)
    )
    return old, new


@pytest.fixture
def found(folders):
    old, new = folders
    return changes(Against(read_source(old)), load_cells(new, budget="quick"), new)


def test_the_numbers_of_each_kind_stand_first_and_regressions_are_named(found):
    assert headline(found) == "1 worse, 1 fails now, 1 gone, 1 not significantly different, 1 the same run"
    assert regressions_line(found) == (
        f"3 regressions: {EVIL} on rotten-tomatoes: worse; breaks on rotten-tomatoes: fails now; gone on"
        " rotten-tomatoes: gone"
    )


def test_the_page_lists_what_changed_worst_first(found):
    page = str(changes_files(found)["changes.md"])
    headings, *rows = markdown_table(page)
    assert headings == ["change", "strategy", "before", "now", "difference", "p"]
    assert [row[:4] for row in rows] == [
        ["**worse**", "&lt;b&gt;\\|evil", "70.0", "60.0"],
        ["**fails now**", "breaks", "70.0", "failed"],
        ["**gone**", "gone", "70.0", ""],
        ["not significantly different", "bare", "70.0", "70.0"],
    ]
    assert rows[0][4].startswith("-10.0 [-")
    assert rows[0][5] == "&lt; 0.001"
    assert rows[3][4:] == ["\\~ +0.0", ""]
    assert "- The same run: same" in page
    assert "- **breaks**: failed: out of memory" in page
    assert "- &lt;b&gt;\\|evil on rotten-tomatoes: fewer parameters: 22,713,986 before, 1,000 now" in page
    assert "secret" not in page


def test_the_table_for_programs_has_a_line_for_every_row(found):
    table = pd.read_csv(io.StringIO(str(changes_files(found)["changes.csv"])))
    assert list(table.columns) == list(CHANGES_COLUMNS)
    assert list(table["change"]) == [
        "worse",
        "fails now",
        "gone",
        "not significantly different",
        "the same run",
    ]
    assert list(table["is_regression"]) == [True, True, True, False, False]
    assert list(table["by_scores"]) == [False, False, False, True, False]
    worse = table.iloc[0]
    assert worse["difference"] == pytest.approx(-0.1)
    assert worse["difference_low"] < -0.1 < worse["difference_high"]
    assert (worse["score_before"], worse["score_now"]) == (0.7, 0.6)
    assert (worse["total_parameters_before"], worse["total_parameters_now"]) == (22_713_986, 1000)
    assert table["difference"].notna().sum() == 1


def test_the_terminal_shows_the_same(found):
    console = Console(width=120, file=io.StringIO(), highlight=False, markup=False)
    print_changes(found, console)
    text = console.file.getvalue()
    assert "What changed: 1 worse, 1 fails now, 1 gone" in text
    assert f"{EVIL}" in text
    assert "-10.0 [-" in text
    assert "breaks on rotten-tomatoes: failed: out of memory" in text


def test_the_same_records_give_the_same_files(folders, found):
    old, new = folders
    again = changes(Against(read_source(old)), load_cells(new, budget="quick"), new)
    assert changes_files(again) == changes_files(found)


def test_a_board_held_against_older_records_leads_to_what_changed(folders, tmp_path):
    old, new = folders
    board = tmp_path / "board"
    summary = write_board(new, board, budget="quick", against=Against(read_source(old)))
    assert summary.changes is not None
    assert {board / "changes.md", board / "changes.csv"} <= set(summary.written)
    assert "[What changed](changes.md): 1 worse, 1 fails now" in (board / "README.md").read_text()
    write_board(new, board, budget="quick")
    assert "changes.md" not in (board / "README.md").read_text()


def test_a_board_can_be_held_against_what_it_replaces(folders, tmp_path):
    old, new = folders
    board = tmp_path / "board"
    write_board(old, board, budget="quick")
    summary = write_board(new, board, budget="quick", against=Against(read_source(board)))
    assert headline(summary.changes).startswith("1 worse, 1 fails now, 1 gone")
    assert all(change.difference is None for change in summary.changes.rows)

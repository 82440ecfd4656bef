"""The cells of a results folder that belong on one board."""

import pytest
from helpers.support import make_record, make_timing

from kdbench.board.load import load_cells
from kdbench.errors import UsageError
from kdbench.results.records import RecordStore
from kdbench.results.timings import put_timing


def test_the_cells_of_one_budget_with_their_timings(tmp_path):
    timed, other = make_record("lora"), make_record("lora", budget="smoke")
    for record in (timed, other):
        RecordStore(tmp_path).put(record)
    put_timing(tmp_path, make_timing({timed.key: 4.0}))
    (tmp_path / "records" / "junk.json").write_text("{")
    loaded = load_cells(tmp_path, budget="quick")
    assert list(loaded.cells["key"]) == [timed.key]
    assert list(loaded.cells["p50_ms"]) == [4.0]
    assert list(loaded.cells["fingerprint"]) == ["data-1"]
    assert len(loaded.unreadable) == 1
    assert "junk.json" in loaded.unreadable[0]


def test_an_empty_folder_says_how_to_fill_it(tmp_path):
    with pytest.raises(UsageError, match=r"no record of budget 'quick'.*kdbench run --budget quick"):
        load_cells(tmp_path, budget="quick")

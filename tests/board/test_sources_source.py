"""The places that records are read from."""

import pytest
from helpers.support import make_record, make_timing

from kdbench.board.sources import read_source
from kdbench.errors import UsageError
from kdbench.results.records import RecordStore
from kdbench.results.timings import put_timing


def test_a_results_folder_and_a_file_of_the_same_records_hold_the_same(tmp_path):
    records = [make_record("a"), make_record("b")]
    timing = make_timing({records[0].key: 4.0})
    for record in records:
        RecordStore(tmp_path / "results").put(record)
    (tmp_path / "board").mkdir()
    lines = "".join(f"{record.model_dump_json()}\n" for record in sorted(records, key=lambda one: one.key))
    (tmp_path / "board" / "records.jsonl").write_text(lines)
    put_timing(tmp_path / "results", timing)
    put_timing(tmp_path / "board", timing)
    results, board = read_source(tmp_path / "results"), read_source(tmp_path / "board")
    file = read_source(tmp_path / "board" / "records.jsonl")
    assert results.records == board.records == file.records
    assert results.timings == board.timings == file.timings == (timing,)
    assert (results.root, board.root, file.root) == (
        tmp_path / "results",
        tmp_path / "board",
        tmp_path / "board",
    )


def test_a_line_that_is_no_record_is_named_and_skipped(tmp_path):
    file = tmp_path / "records.jsonl"
    file.write_text(f'{make_record("a").model_dump_json()}\n\n{{"key": 1}}\nnonsense\n')
    source = read_source(tmp_path)
    assert len(source.records) == 1
    first, second = source.unreadable
    assert first.startswith(f"skipped {file}, line 3: no record of schema 1 (")
    assert second.startswith(f"skipped {file}, line 4: no record of schema 1 (")


def test_a_file_that_is_no_record_is_named_and_skipped(tmp_path):
    RecordStore(tmp_path).put(make_record("a"))
    (tmp_path / "records" / "junk.json").write_text("{")
    source = read_source(tmp_path)
    assert len(source.records) == 1
    assert [str(tmp_path / "records" / "junk.json") in line for line in source.unreadable] == [True]


def test_a_place_without_records_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"there is no .*nowhere; name a results folder"):
        read_source(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"holds neither records/ nor records\.jsonl"):
        read_source(tmp_path)
    (tmp_path / "records").mkdir()
    with pytest.raises(UsageError, match=r"holds no record that can be read$"):
        read_source(tmp_path)
    (tmp_path / "records" / "junk.json").write_text("{")
    with pytest.raises(UsageError, match=r"holds no record that can be read; skipped .*junk\.json"):
        read_source(tmp_path)

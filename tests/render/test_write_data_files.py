"""The files of a board that programs read."""

import io
import json

import pandas as pd
from helpers.boards import tables_in, tables_without_predictions
from helpers.comparisons import put_row, put_times, right
from helpers.support import make_environment, make_record, make_timing

from kdbench.render.write import data_files
from kdbench.results.timings import put_timing


def files_of(tables, records=(), rows=None):
    return data_files(tables.rows if rows is None else rows, tables, records)


def csv(files, name):
    return pd.read_csv(io.StringIO(files[name]))


def test_cells_have_one_line_a_seed_and_latencies_one_a_point(tmp_path):
    (record, _) = put_row(tmp_path, "a", {0: right(700), 1: right(710)}, warnings=("w1", "w2"))
    put_times(tmp_path, {record.key: 4.0})
    files = files_of(tables_in(tmp_path))
    cells = csv(files, "cells.csv")
    assert list(cells["score"]) == [0.7, 0.71]
    assert list(cells["seed"]) == [0, 1]
    assert list(cells["warnings"]) == ["w1; w2"] * 2
    assert "cpu Xeon 8481C" in cells["latency_setting"][0]
    latencies = csv(files, "latency.csv")
    assert list(latencies[["strategy", "back_end", "batch_size", "p50_ms"]].iloc[0]) == ["a", "torch", 1, 4.0]
    assert latencies["length"].isna().all()
    assert list(csv(files, "overview.csv")["average_rank"]) == [1.0]


def test_parquet_has_the_tables_with_their_types(tmp_path):
    put_row(tmp_path, "a", {0: right(700)})
    put_row(tmp_path, "b", {0: right(500)})
    tables = tables_in(tmp_path)
    files = files_of(tables)
    rows = pd.read_parquet(io.BytesIO(files["rows.parquet"]))
    assert list(rows.columns) == list(tables.rows.columns)
    assert rows["total_parameters"].tolist() == [22_713_986] * 2
    assert rows["rank"].tolist() == [1, 2]
    cells = pd.read_parquet(io.BytesIO(files["cells.parquet"]))
    assert list(cells.columns) == list(tables.cells.columns)
    assert list(cells["labels"]) == ["rotten; fresh"] * 2
    assert files == files_of(tables_in(tmp_path))


def test_parquet_has_the_versions_that_were_timed_and_does_without_where_none_is_known(tmp_path):
    (record,) = put_row(tmp_path, "a", {0: right(700)})
    put_times(tmp_path, {record.key: 4.0})
    files = files_of(tables_in(tmp_path))
    assert list(pd.read_parquet(io.BytesIO(files["cells.parquet"]))["latency_runtimes"]) == ["torch 2.13.0"]
    nameless = make_environment().model_copy(update={"libraries": {}})
    put_timing(tmp_path, make_timing({record.key: 4.0}, environment=nameless))
    files = files_of(tables_in(tmp_path))
    assert list(pd.read_parquet(io.BytesIO(files["cells.parquet"]))["latency_runtimes"]) == [""]


def test_whatever_a_plugin_puts_into_a_column_fits_into_parquet():
    tables = tables_without_predictions([make_record("a"), make_record("b")])
    rows = tables.rows.assign(odd=[{"x": 1}, 3.5])
    written = pd.read_parquet(io.BytesIO(files_of(tables, rows=rows)["rows.parquet"]))
    assert list(written["odd"]) == ["{'x': 1}", "3.5"]


def test_records_stand_one_a_line_in_the_order_of_their_keys():
    records = [make_record("b", key="2" * 20), make_record("a", key="1" * 20)]
    lines = files_of(tables_without_predictions(records), records)["records.jsonl"].splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["1" * 20, "2" * 20]

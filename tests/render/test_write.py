import pandas as pd
import pytest
from helpers.comparisons import right
from helpers.support import make_record, make_timing, save_predictions

from kdbench.errors import KdbenchError, UsageError
from kdbench.render.write import write_board
from kdbench.results.records import RecordStore, Status
from kdbench.results.timings import put_timing


@pytest.fixture
def store(tmp_path):
    return RecordStore(tmp_path / "results")


def put(store, *records):
    for record in records:
        store.put(record)
        save_predictions(
            store.folder.parent,
            record.key,
            right(round(1000 * (record.quality.score if record.quality else 0))),
        )


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_board_has_a_page_over_all_tasks_and_two_files_a_task(tmp_path, store):
    put(store, make_record(task="sst2"), make_record(task="ner"))
    summary = write_board(tmp_path / "results", tmp_path / "board", budget="quick")
    names = {
        *(
            "README.md",
            "sst2.md",
            "sst2.csv",
            "ner.md",
            "ner.csv",
            "overview.csv",
            "cells.csv",
            "latency.csv",
        ),
        *("rows.parquet", "cells.parquet", "records.jsonl"),
    }
    assert set(files_of(tmp_path / "board")) == names
    assert {path.name for path in summary.written} == names
    assert summary.problems == ()


def test_csv_and_markdown_agree_with_the_table(tmp_path, store):
    records = [make_record("finetune", is_teacher=True), make_record("lora", score=0.7)]
    put(store, *records)
    put_timing(tmp_path / "results", make_timing({records[0].key: 10.0, records[1].key: 8.0}))
    summary = write_board(tmp_path / "results", tmp_path / "board", budget="quick")
    table = pd.read_csv(tmp_path / "board" / "rotten-tomatoes.csv")
    for name in ("rank", "strategy", "score", "p50_ms", "speedup", "share_kept"):
        assert list(table[name]) == list(summary.rows[name])
    page = (tmp_path / "board" / "rotten-tomatoes.md").read_text("utf-8")
    # Latencies without an interval are on no front; parameters are alike, and costs as far as they are known.
    assert "| 1 | finetune (teacher) | PC | **78.5 [76.0, 80.9]** | **100.0%** |" in page
    assert "| 2 | lora | c | 70.0 [67.5, 72.4] | 89.2% [" in page


def test_drawing_twice_gives_the_same_bytes(tmp_path, store):
    put(store, *(make_record(s, t, score=0.5) for s in ("b", "a") for t in ("y", "x")))
    for name in ("first", "second"):
        write_board(tmp_path / "results", tmp_path / name, budget="quick")
    assert files_of(tmp_path / "first") == files_of(tmp_path / "second")


def test_foreign_and_truncated_files_are_named_and_skipped(tmp_path, store):
    record = make_record()
    put(store, record)
    whole = store.path(record.key).read_text("utf-8")
    (store.folder / "cut.json").write_text(whole[: len(whole) // 2])
    (store.folder / "notes.txt").write_text("not a record")
    (tmp_path / "results" / "timings").mkdir()
    (tmp_path / "results" / "timings" / "odd.json").write_text("[]")
    summary = write_board(tmp_path / "results", tmp_path / "board", budget="quick")
    assert len(summary.rows) == 1
    assert len(summary.problems) == 3
    for name, problem in zip(("cut.json", "notes.txt", "odd.json"), summary.problems, strict=True):
        assert problem.startswith("skipped ")
        assert name in problem
    overview = (tmp_path / "board" / "README.md").read_text("utf-8")
    assert "skipped 3 files" in overview
    assert str(tmp_path) not in overview


def test_pending_cells_are_counted_by_task(tmp_path, store):
    put(store, make_record(task="sst2"), make_record(task="ner"))
    pending = [("lora", "sst2"), ("kd", "sst2")]
    write_board(tmp_path / "results", tmp_path / "board", budget="quick", pending=pending)
    pages = {
        name: text.decode() for name, text in files_of(tmp_path / "board").items() if name.endswith(".md")
    }
    assert "**2 of 4 cells done**" in pages["README.md"]
    assert "**1 of 3 cells done**" in pages["sst2.md"]
    assert "cells done" not in pages["ner.md"]


@pytest.mark.parametrize("records", [[], [make_record(budget="standard")]])
def test_nothing_to_show_says_what_is_there_and_what_to_do(tmp_path, store, records):
    put(store, *records)
    with pytest.raises(UsageError) as caught:
        write_board(tmp_path / "results", tmp_path / "board", budget="quick")
    there = "all-MiniLM-L6-v2 at budget 'standard'" if records else "none"
    assert f"(existing: {there})" in str(caught.value)
    assert "'kdbench run --budget quick'" in str(caught.value)
    assert not (tmp_path / "board").exists()


def test_an_unknown_base_model_is_named_with_those_there(tmp_path, store):
    put(store, make_record())
    with pytest.raises(UsageError, match=r"base model 'bert-tiny' .*existing: all-MiniLM-L6-v2"):
        write_board(tmp_path / "results", tmp_path / "board", budget="quick", model="bert-tiny")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, store):
    put(store, make_record())
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(KdbenchError, match=r"cannot write the board's .*--board"):
        write_board(tmp_path / "results", tmp_path / "file", budget="quick")


def test_columns_of_plugins_stand_at_the_end(tmp_path, store):
    put(store, make_record("lora", score=0.9), make_record("<i>", score=0.8))

    def columns(table):
        table["score"] = 0.0
        yield None
        yield pd.DataFrame({"energy_j": [1.23456, None], "tag|": ["=x", "<i>"]}, index=table.index)

    summary = write_board(tmp_path / "results", tmp_path / "board", budget="quick", columns=columns)
    assert summary.problems == ()
    table = pd.read_csv(tmp_path / "board" / "rotten-tomatoes.csv")
    assert list(table.columns[-2:]) == ["energy_j", "tag|"]
    assert list(table["score"]) == [0.9, 0.8]
    assert list(table["tag|"]) == ["'=x", "<i>"]
    page = (tmp_path / "board" / "rotten-tomatoes.md").read_text("utf-8")
    lines = page.partition("## From plugins")[2].splitlines()
    heading, best, other = [line for line in lines if line.startswith("|") and "---" not in line]
    assert heading.endswith(r"| energy\_j | tag\| |")
    assert best.endswith("| 1.235 | =x |")
    assert other.endswith("| - | &lt;i&gt; |")


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        (lambda table: [{"a": 1}], "must return a DataFrame or None, not dict"),
        (lambda table: [pd.DataFrame({"a": [1, 2]})], "a: the index is not that of the table"),
        (lambda table: [table[["score"]]], "score: taken by another column"),
    ],
)
def test_a_plugins_misfit_is_named_and_the_board_is_drawn_without_it(tmp_path, store, columns, problem):
    put(store, make_record())
    summary = write_board(tmp_path / "results", tmp_path / "board", budget="quick", columns=columns)
    assert problem in summary.problems[0]
    assert len(pd.read_csv(tmp_path / "board" / "rotten-tomatoes.csv")) == 1


def test_a_board_of_failures_alone_is_drawn(tmp_path, store):
    put(store, make_record(status=Status.FAILED, reason=None))
    write_board(tmp_path / "results", tmp_path / "board", budget="quick")
    table = pd.read_csv(tmp_path / "board" / "rotten-tomatoes.csv")
    assert list(table["reason"]) == ["no reason was recorded"]

import io

from helpers.boards import tables_without_predictions
from helpers.support import make_record, make_timing
from rich.console import Console

from kdbench.render.terminal import render_terminal
from kdbench.results.records import Status


def shown(records, timings=(), width=100):
    console = Console(width=width, file=io.StringIO(), record=True)
    for table in render_terminal(tables_without_predictions(records, timings).rows):
        console.print(table)
    return console.export_text()


def test_every_figure_is_whole_at_100_columns():
    records = [
        make_record(
            "vanilla-kd[layers=3,temperature=4.5]", score=0.785, interval=(0.76, 0.809), train_s=345.0
        ),
        make_record(
            "finetune", score=0.7, parameters=109_482_240, artifact_bytes=438_000_000, is_teacher=True
        ),
        make_record("serves-no-such-task", status=Status.NOT_APPLICABLE, reason="x"),
    ]
    text = shown(records, [make_timing({records[0].key: 123.4, records[1].key: 234.5}, teacher_ms=234.5)])
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    for figure in (
        "78.5 [76.0, 80.9]",
        "112.1%",
        "109M",
        "438 MB",
        "123",
        "1.90x",
        "5.8 min",
        "not-applicable",
    ):
        assert figure in text


def test_one_table_a_task():
    tables = render_terminal(tables_without_predictions([make_record(task="b"), make_record(task="a")]).rows)
    assert [str(table.title).split(". ")[0] for table in tables] == ["a", "b"]


def test_names_are_no_markup():
    assert "[red]" in shown([make_record("[red]evil")]).replace("\n", "")


def test_reasons_and_warnings_stand_below():
    records = [
        make_record("int8", status=Status.FAILED, reason="no\nkernel"),
        make_record("pkd", warnings=("one class",)),
    ]
    text = shown(records)
    assert "int8: no kernel" in text
    assert "pkd: one class" in text

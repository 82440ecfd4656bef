from pathlib import Path

import pytest

from kdbench.board.columns import CELL_COLUMNS, CSV_CELL_COLUMNS, ROW_COLUMNS
from kdbench.board.figures import FIGURES, Group, best_rows, figures_of, plugin_figure

DOCS = Path(__file__).parents[2] / "docs" / "board.md"


def test_every_figure_is_a_column_of_the_tables_it_belongs_to():
    for figure in FIGURES.values():
        assert all(ROW_COLUMNS[column] == figure.dtype for column in figure.columns)
        for column in figure.cell_columns:
            assert CELL_COLUMNS[column] == figure.dtype
            assert column in CSV_CELL_COLUMNS


def test_the_documentation_lists_every_figure_as_it_is_declared():
    listed = [
        f"| `{figure.name}` | {figure.heading} | {figure.note} |"
        for figure in FIGURES.values()
        if figure.is_column
    ]
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    start = lines.index("| column | heading | meaning |") + 2
    assert lines[start : start + len(listed)] == listed
    assert not lines[start + len(listed)].startswith("|")


def test_a_figure_is_written_with_its_interval_where_there_is_one():
    speedup = FIGURES["speedup"]
    row = {"speedup": 1.834, "speedup_low": 1.801, "speedup_high": 1.858}
    assert speedup.text(row) == "1.83x [1.80x, 1.86x]"
    assert speedup.text(row, is_brief=True) == "1.83x"
    assert speedup.text({**row, "speedup_low": None}) == "1.83x"
    assert speedup.text(dict.fromkeys(row)) == "-"


@pytest.mark.parametrize(
    ("row", "text"), [({"score": None, "status": "failed"}, "failed"), ({"score": 0.785}, "78.5")]
)
def test_a_row_without_a_score_tells_its_status(row, text):
    assert FIGURES["score"].text({"score_low": None, "score_high": None, **row}) == text


def test_the_cost_of_training_has_the_teachers_part_in_it():
    cost = FIGURES["training_cost_s"]
    assert cost.text({"train_s": 60.0, "teacher_s": 20.0}) == "80.0 s"
    assert cost.value({"train_s": 60.0, "teacher_s": None}) is None
    measured = {"train_s": 60.0, "teacher_s": 20.0, "train_cpu_s": 50.0, "teacher_cpu_s": 15.0}
    assert cost.value(measured) == 65.0
    assert cost.value({**measured, "teacher_cpu_s": None}) == 80.0


def test_a_gap_is_no_figure_where_the_teacher_is_not_shown_to_lead():
    gap = FIGURES["gap_recovered"]
    row = {"gap_recovered": 0.642, "gap_low": 0.31, "gap_high": 0.98, "gap_reason": None}
    assert gap.text(row) == "64% [31%, 98%]"
    assert gap.text({**row, "gap_reason": "no lead"}) == "-"


def test_the_best_rows_are_the_lowest_or_the_highest_and_what_reads_alike():
    assert best_rows(FIGURES["p50_ms"], [{"p50_ms": ms} for ms in (8.001, 8.002, 9.0, None)]) == {0, 1}
    assert best_rows(FIGURES["label_loyalty"], [{"label_loyalty": share} for share in (0.5, 0.9)]) == {1}
    assert best_rows(FIGURES["seeds"], [{"seeds": 1}, {"seeds": 3}]) == set()
    assert best_rows(FIGURES["p50_ms"], [{"p50_ms": 8.0}] * 2) == set()


def test_a_plugins_column_may_hold_anything():
    assert [
        plugin_figure("energy_j").text({"energy_j": value}) for value in ("a lot", 1.23456, True, None)
    ] == [
        "a lot",
        "1.235",
        "True",
        "-",
    ]


def test_a_group_keeps_the_order_of_the_declaration():
    assert [figure.name for figure in figures_of(Group.LEADING)] == ["rank", "strategy", "front"]

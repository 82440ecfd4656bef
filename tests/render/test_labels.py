"""The page of the label counts."""

import pytest
from helpers.comparisons import right
from helpers.label_counts import put_counts

from kdbench.board.labels import label_tables
from kdbench.board.sources import read_results
from kdbench.budgets import BUDGETS
from kdbench.errors import UsageError
from kdbench.render.labels import labels_files
from kdbench.render.write import write_board
from kdbench.render.write_labels import write_labels


@pytest.fixture
def results(tmp_path):
    """A student that overtakes its control between 16 labels and all, and a row that has a score at one count."""
    put_counts(tmp_path, "finetune", {16: right(700), None: right(900)}, is_teacher=True)
    put_counts(tmp_path, "control", {16: right(650), None: right(660)})
    put_counts(tmp_path, "student", {16: right(500), None: right(810)}, control="control")
    put_counts(tmp_path, "late", {None: right(500)})
    return tmp_path


def lines_of(page, start):
    return [line for line in page.splitlines() if line.startswith(start)]


def test_the_page_says_what_was_labelled_scored_and_overtaken(results):
    tables = label_tables(read_results(results), budget="quick")
    page = labels_files(tables, "quick", ["pictures/labels-rotten-tomatoes.png"])["labels.md"]
    assert "| 16 | 16 | 32 | 200 x 8 | 100 |" in page
    assert "| 2,000 | 200 | 2,200 | 200 x 8 | 0.8 |" in page
    assert "![accuracy by labelled training examples](pictures/labels-rotten-tomatoes.png)" in page
    table = [
        line.split("|")[1:4]
        for line in page.splitlines()
        if line.startswith(("| finetune", "| late", "| student |"))
    ]
    assert [[cell.split("[")[0].strip(" *") for cell in row] for row in table[:3]] == [
        ["finetune (teacher)", "70.0", "90.0"],
        ["student", "50.0", "81.0"],
        ["late", "-", "50.0"],
    ]
    # -15 points and +15 points: half way between the logarithms of 16 and 2,000 lies their geometric mean, 179.
    (sentence,) = lines_of(page, "- student overtakes")
    assert sentence.startswith("- student overtakes control at 180 [")
    assert sentence.endswith(" labels.")
    (line,) = lines_of(page, "| student | control")
    assert (
        "| control (control) | -15.0\\* | +15.0\\* | ahead at 2,000, behind at 16 | student | 180 ["
        in line.replace("**", "")
    )
    (line,) = lines_of(page, "| student | finetune")
    assert "| behind at every count | - | - | 0.0% |" in line
    assert "**One seed.**" in page


def test_a_crossing_whose_interval_leaves_the_counts_says_so(tmp_path):
    put_counts(tmp_path, "finetune", {16: right(705), None: right(700)}, is_teacher=True)
    put_counts(tmp_path, "twin", {16: right(700, start=99), None: right(705, start=99)})
    tables = label_tables(read_results(tmp_path), budget="quick")
    page = labels_files(tables, "quick", [])["labels.md"]
    (line,) = lines_of(page, "| twin | finetune")
    assert "| not told apart | twin | 180 [below 16, above 2,000] |" in line
    assert "Shown by the tests" not in page


def test_a_board_has_the_page_as_soon_as_nothing_is_pending(results, tmp_path):
    board = tmp_path / "board"
    write_board(results, board, budget="quick", pending=[("lora", "rotten-tomatoes")])
    assert not (board / "labels.md").exists()
    write_board(results, board, budget="quick")
    assert "(labels.md)" in (board / "README.md").read_text()
    records = (board / "records.jsonl").read_text().splitlines()
    assert len(records) == 7


def test_without_a_label_count_there_is_no_page(tmp_path):
    put_counts(tmp_path, "finetune", {None: right(700)}, is_teacher=True)
    with pytest.raises(
        UsageError, match=r"no record of a label count of budget 'quick' .* --labels 16,64,all"
    ):
        write_labels(read_results(tmp_path), tmp_path / "board", budget="quick")


def test_passes_count_batches_of_no_more_than_the_labels(tmp_path):
    put_counts(tmp_path, "finetune", {16: right(700), 40: right(750)}, budget="standard", is_teacher=True)
    budget = BUDGETS["standard"]
    steps, batch = budget.steps["sequence-classification"], budget.batch_size["sequence-classification"]
    assert 16 < batch < 40
    page = labels_files(label_tables(read_results(tmp_path), budget="standard"), "standard", [])["labels.md"]
    assert f"| 16 | 16 | 32 | {steps:,} x 16 | {steps} |" in page
    assert f"| 40 | 40 | 80 | {steps:,} x {batch} | {steps / 2:g} |" in page
    assert f"stops after {budget.patience} validations" in page

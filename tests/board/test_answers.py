"""What one answer was worth: the labels with which the control scores as much, less the row's own, per answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.comparisons import right
from helpers.label_counts import put_counts

from kdbench.board.answers import AnswerTables, answer_tables
from kdbench.board.frames import rows_of
from kdbench.board.labels import label_tables
from kdbench.board.sources import read_results
from kdbench.render.answers import answers_files
from kdbench.render.write import write_board
from kdbench.results.answers import AnswersInfo
from kdbench.results.records import Record, RecordStore

INFO = AnswersInfo(
    sha256="0" * 64,
    answers=5000,
    forms={"probabilities": 5000},
    labelled=12,
    unlabelled=4900,
    unlabelled_examples=9000,
    agreement=0.875,
    entropy_bits=0.5,
)


def learn_from_answers(results: Path, records: list[Record], answers: int) -> None:
    """Write `records` again as those of a row that trained on so many answers."""
    for record in records:
        assert record.cost is not None
        changed = record.model_copy(
            update={
                "model": record.model.model_copy(update={"teacher": "answers.jsonl", "answers": INFO}),
                "cost": record.cost.model_copy(update={"answers": answers}),
            }
        )
        RecordStore(results).put(changed)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A row that with 16 labels and 100 answers scores what its control does with 64, and in the end beats it."""
    counts = {16: 600, 64: 700, None: 800}
    put_counts(tmp_path, "control", {count: right(number) for count, number in counts.items()})
    rows = {16: right(700, start=100), 64: right(640), None: right(900)}
    learn_from_answers(tmp_path, put_counts(tmp_path, "student", rows, control="control"), 100)
    return tmp_path


def tables(results: Path, price: float | None = None) -> AnswerTables:
    found = label_tables(read_results(results), budget="quick")
    assert found is not None
    made = answer_tables(found.counts, found.records, price)
    assert made is not None
    return made


def worth(results: Path, labels: int, **settings: Any) -> dict[str, Any]:
    (line,) = [row for row in rows_of(tables(results, **settings).worth) if row["labels"] == labels]
    return line


def test_an_answer_is_worth_the_labels_that_the_control_needs(results: Path) -> None:
    line = worth(results, 16, price=0.5)
    assert (line["strategy"], line["control"], line["answers"]) == ("student", "control", 100)
    assert line["equivalent_labels"] == pytest.approx(64)
    assert line["labels_per_answer"] == pytest.approx((64 - 16) / 100)
    assert line["labels_per_answer_low"] < 0.48 < line["labels_per_answer_high"]
    assert line["difference"] == pytest.approx(0.1)
    assert (line["price"], line["price_per_point"]) == (50, pytest.approx(5))


def test_answers_may_do_harm(results: Path) -> None:
    line = worth(results, 64, price=0.5)
    # Four tenths of the way from 16 to 64 on the logarithm.
    assert line["equivalent_labels"] == pytest.approx(16 * 4**0.4)
    assert line["labels_per_answer"] < 0
    assert line["price_per_point"] is None


def test_what_the_control_does_not_reach_is_said(results: Path) -> None:
    line = worth(results, 2000)
    assert line["reached"] is False
    assert line["equivalent_labels"] is None
    assert line["price"] is None


def test_the_page_says_it_in_words(results: Path) -> None:
    page = answers_files(tables(results, 0.5), "quick")["answers.md"]
    lines = {line.split("|")[2].strip(): line for line in page.splitlines() if line.startswith("| student")}
    assert "| 100 | 70.0 | +10.0 [" in lines["16"]
    assert "| 64 [" in lines["16"]
    assert "| 0.48 [" in lines["16"]
    assert "| 50.00 | 5.00 [" in lines["16"]
    assert "| 50.00 | no gain |" in lines["64"]
    assert (
        "| not reached with 2,000 [above 2,000, above 2,000] | above 0 [above 0, above 0] |" in lines["2,000"]
    )
    assert "| 16 | 12 | 87.5 | 9,000 | 4,900 | 0 | 0.500 | 5,000 | 0 | 0 |" in page


def test_a_board_has_the_page_only_where_answers_were_the_teacher(results: Path, tmp_path: Path) -> None:
    write_board(results, tmp_path / "board", budget="quick")
    assert (tmp_path / "board" / "answers.md").exists()
    notes = (tmp_path / "board" / "rotten-tomatoes.md").read_text()
    assert "a file of answers and no model" in notes
    put_counts(tmp_path / "plain", "control", {None: right(600)})
    write_board(tmp_path / "plain", tmp_path / "other", budget="quick")
    assert not (tmp_path / "other" / "answers.md").exists()

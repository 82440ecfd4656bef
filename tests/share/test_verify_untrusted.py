"""What somebody made up is told in a line, and not followed further."""

from datetime import timedelta

import pytest
from helpers.support import NOON, make_record, make_timing, save_predictions

from kdbench.results.paths import RECORDS_FILE
from kdbench.results.records import Record
from kdbench.share import verify_folder, verify_scores
from kdbench.share.verify_folder import SubmittedFolder
from kdbench.share.verify_records import impossible_in_timing
from kdbench.share.verify_report import Report
from kdbench.share.verify_scores import load_predictions

KEY = "a" * 20
NAME = f"predictions/{KEY}.safetensors"


@pytest.fixture
def handed_in(tmp_path):
    """A folder with the record `KEY`, whose task has two labels, and a report on it."""
    (tmp_path / RECORDS_FILE).write_text(make_record(key=KEY).model_dump_json() + "\n")
    report = Report()
    return SubmittedFolder(tmp_path, report), report


def loaded(handed_in, **task):
    folder, report = handed_in
    record = make_record(key=KEY)
    record = record.model_copy(update={"task": record.task.model_copy(update=task)})
    return load_predictions(NAME, record, folder, report)


def test_an_example_that_is_predicted_twice_is_a_problem(handed_in, tmp_path):
    save_predictions(tmp_path, KEY, [True] * 4, ids=[0, 1, 1, 2])
    assert loaded(handed_in) is None
    assert handed_in[1].problems[0].startswith(f"{NAME}: an example is predicted twice; ")
    save_predictions(tmp_path, KEY, [True] * 4, ids=[0, 1, 3, 2])
    assert len(loaded(handed_in)) == 4


def test_as_many_classes_as_the_record_has_labels(handed_in, tmp_path):
    save_predictions(tmp_path, KEY, [True] * 4)
    assert loaded(handed_in, labels=("no", "yes", "maybe")) is None
    assert "2 classes, but the record has 3 labels" in handed_in[1].problems[0]


def test_labels_beyond_counting_are_said_to_be_unchecked(handed_in, tmp_path):
    save_predictions(tmp_path, KEY, [True] * 4)
    many = tuple(map(str, range(verify_scores.MOST_LABELS + 1)))
    assert loaded(handed_in, labels=many) is None
    assert handed_in[1].problems == []
    assert list(handed_in[1].unchecked.values()) == [[NAME]]


def test_after_a_line_without_end_no_other_is_read(handed_in, tmp_path, monkeypatch):
    folder, report = handed_in
    line = (tmp_path / RECORDS_FILE).read_text()
    monkeypatch.setattr(Record, "largest_bytes", len(line))
    (tmp_path / RECORDS_FILE).write_text(f"{line}\n{'x' * 10 * len(line)}\n{line}")
    assert [place for place, _ in folder.records()] == [f"{RECORDS_FILE}, line 1"]
    (problem,) = report.problems
    assert problem.startswith(f"{RECORDS_FILE}, line 3: is longer than {len(line):,} bytes")


def test_of_files_beyond_counting_the_first_are_read(handed_in, tmp_path, monkeypatch):
    folder, report = handed_in
    for letter in "abc":
        save_predictions(tmp_path, letter * 20, [True] * 4)
    monkeypatch.setattr(verify_folder, "MOST_FILES", 2)
    assert folder.predictions() == [NAME, f"predictions/{'b' * 20}.safetensors"]
    assert "contains 3 files; the first 2 were read" in report.problems[0]


@pytest.mark.parametrize(
    ("point", "line"),
    [
        ({"speedup": 0.0}, "the speed-up is 0"),
        (
            {"speedup_low": 2.0, "speedup_high": 1.5},
            "the speed-up's upper bound 1.5 is below its lower bound 2.0",
        ),
    ],
)
def test_a_speedup_that_cannot_be_is_told(point, line):
    timing = make_timing({KEY: 5.0})
    (model,) = timing.models
    (back_end,) = model.back_ends
    changed = back_end.model_copy(update={"points": (back_end.points[0].model_copy(update=point),)})
    model = model.model_copy(update={"back_ends": (changed,)})
    found = impossible_in_timing(timing.model_copy(update={"models": (model,)}), NOON + timedelta(days=1))
    assert list(found) == [f"{line} ({KEY}, torch, batch 1)"]


def test_a_call_that_took_no_time_is_told():
    timing = make_timing({KEY: 5.0})
    (model,) = timing.models
    (back_end,) = model.back_ends
    point = back_end.points[0].model_copy(update={"calls_ms": ((5.0, 0.0),)})
    model = model.model_copy(update={"back_ends": (back_end.model_copy(update={"points": (point,)}),)})
    found = impossible_in_timing(timing.model_copy(update={"models": (model,)}), NOON + timedelta(days=1))
    assert list(found) == [f"a call took no time ({KEY}, torch, batch 1)"]

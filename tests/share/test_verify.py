"""A folder of records is checked as a whole."""

import json
import os

import numpy as np
import pytest

from kdbench.api.predictions import Predictions
from kdbench.errors import UsageError
from kdbench.results.records import RecordStore
from kdbench.share.verify import verify


@pytest.fixture
def check(small_results, registry):
    """Verify the folder as it stands."""
    return lambda: verify(small_results, registry)


@pytest.fixture
def records(small_results):
    """The records by strategy and task."""
    found, problems = RecordStore(small_results).load()
    assert problems == []
    return {(record.strategy.name, record.task.name): record for record in found}


@pytest.fixture
def change(small_results):
    """Change a value of a record's file: ``change(record, score=0.9)`` below ``quality``, and so on."""

    def edit(record, part=None, **values):
        path = small_results / "records" / f"{record.key}.json"
        data = json.loads(path.read_text())
        (data if part is None else data[part]).update(values)
        path.write_text(json.dumps(data))

    return edit


PROBE = ("linear-probe", "toy-sentiment")


def test_what_a_run_left_is_clean_and_every_key_and_score_comes_out(check):
    report = check()
    assert report.problems == []
    assert report.unchecked == {}
    counts = {"records": 4, "keys": 4, "scores": 4, "intervals": 4, "noisy scores": 4, "test sets": 2}
    assert {name: report.checked[name] for name in counts} == counts
    assert report.checked["timings"] == 2


def test_a_published_folder_is_read_from_its_lines(small_results, registry, records):
    lines = "".join(record.model_dump_json() + "\n" for record in records.values())
    (small_results / "records.jsonl").write_text(lines)
    for path in (small_results / "records").iterdir():
        path.unlink()
    (small_results / "records").rmdir()
    report = verify(small_results, registry)
    assert report.problems == []
    assert report.checked["records"] == report.checked["keys"] == 4


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("task", {"fingerprint": "0" * 64}),
        ("model", {"weights_sha256": "0" * 20}),
        (None, {"seed": 3}),
        ("budget", {"max_length": 63}),
    ],
)
def test_a_record_whose_contents_do_not_give_its_key_is_named(check, change, records, part, values):
    record = records[PROBE]
    change(record, part, **values)
    (problem,) = [line for line in check().problems if "is not the hash" in line]
    assert problem.startswith(f"records/{record.key}.json: the key {record.key} is not the hash of ")


def test_a_changed_parameter_does_not_give_the_key(check, change, records):
    for name, values in (("finetune", {"weight_decay": 0.5}), ("linear-probe", {"no_such_parameter": 1})):
        record = records[name, "toy-sentiment"]
        change(record, "strategy", params={**record.strategy.params, **values})
        assert any(record.key in line and "is not the hash" in line for line in check().problems)


def test_a_better_score_than_the_predictions_give_is_found(check, change, records):
    record = records[PROBE]
    score = record.quality.score + 1e-6
    change(record, "quality", score=score, metrics={**record.quality.metrics, "accuracy": score})
    problems = check().problems
    assert [
        line
        for line in problems
        if f"accuracy is recorded as {score} but is {record.quality.score} when recomputed" in line
    ]
    assert len(problems) == 1


def test_a_further_metric_an_interval_and_a_noisy_score_are_recomputed_too(check, change, records):
    record = records[PROBE]
    metrics = {**record.quality.metrics, "macro-f1": 0.123}
    change(record, "quality", metrics=metrics, high=record.quality.high + 1e-6, noisy_score=0.99)
    told = "\n".join(check().problems)
    assert "macro-f1 is recorded as 0.123" in told
    assert "the interval is recorded as" in told
    assert "noisy_score is recorded as 0.99" in told


def test_changed_predictions_are_another_test_set_and_another_score(check, small_results, records):
    record = records[PROBE]
    path = small_results / "predictions" / f"{record.key}.safetensors"
    answers = Predictions.load(path)
    references = answers.references.copy()
    references[:5] = 1 - references[:5]
    Predictions(answers.ids, answers.logits, references).save(path)
    told = "\n".join(check().problems)
    assert "differ from those of most records of toy-sentiment" in told
    assert "accuracy is recorded as" in told


def test_the_order_in_which_examples_were_answered_is_nothing(check, small_results, records):
    path = small_results / "predictions" / f"{records[PROBE].key}.safetensors"
    answers = Predictions.load(path)
    order = np.random.default_rng(0).permutation(len(answers))
    Predictions(answers.ids[order], answers.logits[order], answers.references[order]).save(path)
    assert [line for line in check().problems if "interval" not in line] == []  # the bootstrap draws by place


def test_missing_predictions_are_told_and_no_problem(check, small_results, records):
    (small_results / "predictions" / f"{records[PROBE].key}.safetensors").unlink()
    report = check()
    assert report.problems == []
    assert report.unchecked["scores: there are no predictions to recompute them from"] == [
        f"records/{records[PROBE].key}.json"
    ]


def test_a_copied_cell_is_found_under_its_file_s_and_under_another_s_key(check, small_results, records):
    record = records[PROBE]
    store = RecordStore(small_results)
    store.put(record.model_copy(update={"key": "0" * 20}))
    (small_results / "records" / "copy.json").write_text(record.model_dump_json())
    problems = check().problems
    assert any("with another key" in line for line in problems)
    assert any(line.startswith("records/copy.json: contains the record") for line in problems)


def test_a_key_that_stands_on_two_lines_is_found(small_results, registry, records):
    line = records[PROBE].model_dump_json() + "\n"
    folder = small_results / "published"
    folder.mkdir()
    (folder / "records.jsonl").write_text(line + line)
    (problem,) = verify(folder, registry).problems
    assert problem.startswith(
        f"records.jsonl, line 2: the key {records[PROBE].key} is also in records.jsonl, line 1"
    )


def test_equal_predictions_of_two_strategies_are_a_remark(check, small_results, records):
    mine, other = records[PROBE], records["finetune", "toy-sentiment"]
    content = (small_results / "predictions" / f"{other.key}.safetensors").read_bytes()
    (small_results / "predictions" / f"{mine.key}.safetensors").write_bytes(content)
    assert any("identical predictions: " in note for note in check().notes)


def test_what_fits_no_schema_is_told_with_file_and_field(check, small_results, records, change):
    record = records[PROBE]
    change(record, "quality", score="high")
    (small_results / "records" / "notes.json").write_text("{")
    told = "\n".join(check().problems)
    assert f"records/{record.key}.json: no record of schema 1 (quality.score: " in told
    assert "records/notes.json: no record of schema 1" in told


def test_links_out_of_the_folder_are_not_followed_and_special_files_are_not_opened(
    check, small_results, tmp_path, records
):
    secret = tmp_path / "secret.json"
    secret.write_text(records[PROBE].model_dump_json())
    (small_results / "records" / "linked.json").symlink_to(secret)
    os.mkfifo(small_results / "timings" / "pipe.json")
    (small_results / "records" / "ring.json").symlink_to(small_results / "records" / "ring.json")
    told = "\n".join(check().problems)
    assert "records/linked.json: is a link out of the folder and was not followed" in told
    assert "timings/pipe.json: is not a regular file" in told
    assert "records/ring.json: " in told


def test_a_folder_that_is_a_link_out_is_not_followed(small_results, registry, tmp_path):
    (small_results / "predictions").rename(tmp_path / "elsewhere")
    (small_results / "predictions").symlink_to(tmp_path / "elsewhere")
    assert any(
        line.startswith("predictions: is a link out") for line in verify(small_results, registry).problems
    )


def test_a_huge_file_is_not_read(check, small_results):
    with (small_results / "records" / "huge.json").open("wb") as file:
        file.truncate(1 << 33)  # a hole: it takes no room on the disk
    (problem,) = check().problems
    assert problem.startswith("records/huge.json: has 8,589,934,592 bytes, more than the limit of 4,194,304")


def test_a_pickle_under_a_prediction_s_name_is_no_prediction(check, small_results, records):
    path = small_results / "predictions" / f"{records[PROBE].key}.safetensors"
    path.write_bytes(b"\x80\x04cposix\nsystem\n(S'touch ran'\ntR.")
    assert any("damaged" in line for line in check().problems)


def test_a_folder_without_records_is_a_user_s_mistake(tmp_path, registry):
    with pytest.raises(UsageError, match=r"contains neither records/ nor records\.jsonl"):
        verify(tmp_path, registry)
    with pytest.raises(UsageError, match="is not a folder"):
        verify(tmp_path / "nowhere", registry)


def test_a_timing_out_of_order_is_found(check, small_results):
    path = next((small_results / "timings").iterdir())
    data = json.loads(path.read_text())
    point = data["models"][0]["back_ends"][0]["points"][0]
    point.update(p50_ms=5.0, p90_ms=1.0)
    path.write_text(json.dumps(data))
    assert any("p90_ms is 1, below p50_ms of 5" in line for line in check().problems)


def test_a_record_of_tomorrow_is_found(check, change, records):
    change(records[PROBE], finished_at="2150-01-01T00:00:00Z")
    assert any("which is in the future" in line for line in check().problems)

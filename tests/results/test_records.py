"""Records: what is written is read again, and what is no record is named and skipped."""

import json
import math
import re

import pytest
from helpers.support import make_record
from pydantic import ValidationError

from kdbench.results.records import Compute, Environment, Quality, Record, RecordStore, Status
from kdbench.utils.files import content_hash

KEY = "0" * 20


@pytest.fixture
def store(tmp_path):
    return RecordStore(tmp_path)


def records_of(*names, **settings):
    return [make_record(name, **settings) for name in names]


@pytest.mark.parametrize(
    "record",
    [
        make_record('lora[r=16,target=["query","key"]]', warnings=("answers 'fresh' to every example",)),
        make_record("vanilla-kd", status=Status.TIMEOUT, reason="took longer than 5 s", seed=3),
        make_record("ängstlich", status=Status.FAILED, reason="ValueError: “?” \u2028 =cmd|' /C calc'!A0"),
    ],
)
def test_a_record_comes_back_as_it_was_put(store, record):
    store.put(record)
    assert store.get(record.key) == record
    assert store.load() == ([record], [])


def test_what_answering_takes_comes_back_and_may_be_unknown(store):
    known = Compute(
        flops_per_example=1_234_567_890_123,
        flops_length=27,
        inference_peak_bytes=2**40,
        inference_libraries_bytes=300_000_000,
    )
    for compute in (known, Compute(flops_length=27), None):
        store.put(make_record(key=KEY).model_copy(update={"compute": compute}))
        assert store.get(KEY).compute == compute


def test_scores_come_back_to_the_last_digit(store):
    score = 0.1 + 0.2
    store.put(make_record(score=score, interval=(math.nextafter(score, 0), math.nextafter(score, 1))))
    quality = store.load()[0][0].quality
    assert (quality.score, quality.low, quality.high) == (
        score,
        math.nextafter(score, 0),
        math.nextafter(score, 1),
    )


def test_a_record_put_again_takes_the_place_of_the_first(store):
    store.put(make_record(score=0.5, key=KEY))
    store.put(make_record(score=0.6, key=KEY))
    assert [record.quality.score for record in store.load()[0]] == [0.6]


def test_records_come_in_the_order_of_their_keys(store):
    for number in (3, 1, 2):
        store.put(make_record(key=f"{number:020}"))
    assert [int(record.key) for record in store.load()[0]] == [1, 2, 3]


def test_a_folder_without_records_has_none(store):
    assert store.load() == ([], [])
    assert store.get(KEY) is None


def _without(text, *names):
    data = json.loads(text)
    for name in names:
        del data[name]
    return json.dumps(data)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda text: text[: len(text) // 2], "no record of schema 1"),
        (lambda text: "", "no record of schema 1"),
        (lambda text: "a note to myself", "no record of schema 1"),
        (lambda text: b"\xff\xfe\x00", "no record of schema 1"),
        (lambda text: "[1, 2]", "no record of schema 1"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 2'), "schema_version"),
        (lambda text: _without(text, "environment"), "environment"),
        (lambda text: text.replace('"ok"', '"okay"'), "status"),
        (lambda text: text.replace('"seed"', '"sead"'), "seed"),
        (lambda text: re.sub(r'"score": [\d.]+', '"score": NaN', text), "no record of schema 1"),
    ],
)
def test_a_file_that_is_no_record_is_named_and_skipped(store, spoil, told):
    good, bad = make_record("lora", key="1" * 20), make_record("finetune", key=KEY)
    store.put(good)
    store.put(bad)
    path = store.path(KEY)
    spoiled = spoil(path.read_text())
    assert spoiled != path.read_text()
    path.write_bytes(spoiled if isinstance(spoiled, bytes) else spoiled.encode())
    found, problems = store.load()
    assert found == [good]
    assert len(problems) == 1
    assert problems[0].startswith(f"skipped {path}: ")
    assert told in problems[0]
    assert "\n" not in problems[0]
    assert store.get(KEY) is None


def test_a_folder_among_the_records_is_named_and_skipped(store):
    store.put(make_record())
    store.path(KEY).mkdir()
    found, problems = store.load()
    assert len(found) == 1
    assert problems == [f"skipped {store.path(KEY)}: cannot be read (Is a directory)"]
    assert store.get(KEY) is None


def test_a_record_under_another_s_name_is_named_and_skipped(store):
    store.put(make_record("lora", key="1" * 20))
    store.path(KEY).write_text(store.path("1" * 20).read_text())
    found, problems = store.load()
    assert [record.key for record in found] == ["1" * 20]
    assert len(problems) == 1
    assert str(store.path(KEY)) in problems[0]
    assert store.get(KEY) is None


def test_the_rest_of_a_write_that_was_cut_off_is_passed_over(store):
    store.put(make_record())
    (store.folder / f"{KEY}.json.123.kdbench-partial").write_text("{")
    found, problems = store.load()
    assert (len(found), problems) == (1, [])


def test_what_a_record_cannot_say_is_not_written():
    with pytest.raises(ValidationError):
        Quality(score=math.nan, low=0, high=1, metrics={})
    with pytest.raises(ValidationError):
        Quality(score=0.5, low=0, high=math.inf, metrics={})
    with pytest.raises(ValidationError):
        Quality(score=0.5, low=0, high=1, metrics={"macro-f1": math.nan})
    with pytest.raises(ValidationError):
        Record.model_validate({**make_record().model_dump(), "further": 1})


def test_a_record_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        make_record().seed = 5


def test_two_rows_of_one_strategy_are_told_apart_by_what_was_set():
    plain, other = records_of("lora", "lora[alpha=32,r=16]")
    assert [plain.strategy.label, other.strategy.label] == ["lora", "lora[alpha=32,r=16]"]


# Names of things by what they follow from.


def test_a_key_is_the_same_in_every_process_and_release():
    # printf '{"a":[1,2.5,null,"é"]}' | sha256sum
    assert content_hash({"a": [1, 2.5, None, "é"]}) == "d10f86951f0443079a60"


def test_the_order_of_a_mapping_means_nothing_and_that_of_a_list_does():
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
    assert content_hash([1, 2]) != content_hash([2, 1])


@pytest.mark.parametrize(
    ("one", "other"), [(1, "1"), (1, True), (None, "null"), ({}, []), ({"a": None}, {}), (["ab"], ["a", "b"])]
)
def test_what_differs_has_another_key(one, other):
    assert content_hash(one) != content_hash(other)


def test_an_environment_outside_of_a_repository_is_read_again_where_nothing_is_written_of_it():
    outside = Environment(hardware={"cpu": "x"}, libraries={"torch": "1"}, git_revision=None, git_dirty=None)
    assert Environment.model_validate_json(outside.model_dump_json(exclude_none=True)) == outside

"""Timings: what is written is read again, in the place of an earlier one."""

import json

from helpers.support import make_timing

from kdbench.budgets import BackEnd
from kdbench.results.timings import BackEndTiming, ModelTiming, Point, load_timings, put_timing

KEY = "0" * 20


def test_a_timing_comes_back_and_takes_the_place_of_an_earlier_one_of_its_task_budget_and_model(tmp_path):
    first, second = make_timing({KEY: 5.0}), make_timing({KEY: 6.0}, minutes=61)
    put_timing(tmp_path, first)
    put_timing(tmp_path, second)
    put_timing(tmp_path, make_timing({KEY: 7.0}, task="twitter-ner"))
    found, problems = load_timings(tmp_path)
    assert problems == []
    assert found == [second, make_timing({KEY: 7.0}, task="twitter-ner")]


def test_a_folder_without_timings_has_none(tmp_path):
    assert load_timings(tmp_path) == ([], [])


def test_a_file_that_is_no_timing_is_named_and_skipped(tmp_path):
    put_timing(tmp_path, make_timing({KEY: 5.0}))
    (tmp_path / "timings" / "broken.json").write_text("{}")
    (found,), (problem,) = load_timings(tmp_path)
    assert found == make_timing({KEY: 5.0})
    assert problem.startswith(
        f"skipped {tmp_path / 'timings' / 'broken.json'}: no timing of schema 2 (task: "
    )


def test_a_timing_of_the_earlier_schema_is_named_and_skipped_with_the_remedy(tmp_path):
    put_timing(tmp_path, make_timing({KEY: 5.0}))
    (path,) = (tmp_path / "timings").iterdir()
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"schema_version": 1, "method": "hot"}))
    found, (problem,) = load_timings(tmp_path)
    assert found == []
    assert problem.startswith(f"skipped {path}: a timing of an earlier schema")
    assert problem.endswith("'kdbench run' times the models again")


def test_a_models_numbers_are_those_of_the_tasks_own_sentences_in_its_own_back_end():
    own = Point(
        batch_size=1,
        length=None,
        calls=40,
        p50_ms=4,
        p90_ms=5,
        speedup=2,
        speedup_low=1.9,
        speedup_high=2.2,
        reason="40 calls are too few for p95 (72), p99 (368)",
    )
    other = Point(batch_size=32, length=128, calls=7, p50_ms=700, speedup=3)
    timing = ModelTiming(
        key=KEY,
        back_ends=(
            BackEndTiming(back_end=BackEnd.TORCH, device="cpu", points=(own, other)),
            BackEndTiming(back_end=BackEnd.ONNXRUNTIME, device="cpu", points=(other,)),
        ),
    )
    assert (timing.main.p50_ms, timing.main.p90_ms, timing.main.p95_ms) == (4, 5, None)
    assert (timing.main.speedup, timing.main.speedup_low, timing.main.speedup_high) == (2, 1.9, 2.2)


def test_the_version_of_openvino_matters_to_what_is_timed_in_it_alone():
    timing = make_timing({KEY: 5.0})
    libraries = {"torch": "2.13.0", "onnxruntime": "1.32.0", "openvino": "2026.4.1"}
    environment = timing.environment.model_copy(update={"libraries": libraries})
    assert timing.runtimes(environment) == {"torch": "2.13.0", "onnxruntime": "1.32.0"}
    (model,) = timing.models
    absent = BackEndTiming(back_end=BackEnd.OPENVINO, device="cpu", reason="OpenVINO is not installed")
    in_both = model.model_copy(update={"back_ends": (*model.back_ends, absent)})
    # Also where it was absent: once it is installed, the models are timed again.
    assert timing.model_copy(update={"models": (in_both,)}).runtimes(environment) == libraries

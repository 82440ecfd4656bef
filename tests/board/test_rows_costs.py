"""What it takes to obtain a row, and when its speed has repaid that."""

import pytest
from helpers.boards import tables_in
from helpers.comparisons import right
from helpers.support import make_record, make_timing, save_predictions

from kdbench.budgets import BackEnd
from kdbench.results.records import RecordStore
from kdbench.results.timings import Speed, put_timing
from kdbench.results.tuning import Tuning

TUNING = Tuning(
    strategy="kd",
    params={},
    trials=3,
    tuning_s=900.0,
    tuning_cpu_s=300.0,
    score=0.8,
    default_score=0.8,
    validation_examples=100,
    repeats=1,
)


def put(results, name, cost, tuning=(), **record):
    made = make_record(name, **record)
    made = made.model_copy(update={"cost": made.cost.model_copy(update=cost), "tuning": tuning})
    RecordStore(results).put(made)
    save_predictions(results, made.key, right(800))
    return made.key


def put_board(results, *, has_cpu=True):
    def cost(train, total, teacher):
        wall = {"train_s": 3 * train, "total_s": 3 * total, "teacher_s": 3 * teacher}
        cpu = {"train_cpu_s": train, "total_cpu_s": total, "teacher_cpu_s": teacher}
        return wall | (cpu if has_cpu else {})

    tuning = TUNING if has_cpu else TUNING.model_copy(update={"tuning_cpu_s": None})
    teacher = put(results, "finetune", cost(100.0, 90.0, 0.0), is_teacher=True)
    student = put(results, "kd", cost(50.0, 60.0, 100.0), (tuning,))
    slow = put(results, "slow", cost(50.0, 60.0, 100.0))
    timing = make_timing({teacher: 10.0, student: 4.0, slow: 9.9}, teacher_ms=10.0)

    def with_interval(model):
        best = model.best_at(Speed.SINGLE)
        ends = {"speedup_low": 0.97 * best.speedup, "speedup_high": 1.03 * best.speedup}
        back_end = model.back_ends[0]
        if model.key == student:  # it is fastest as an export
            best = best.model_copy(update={"back_end": BackEnd.ONNXRUNTIME})
            export = back_end.model_copy(update={"back_end": BackEnd.ONNXRUNTIME, "export_s": 10.0})
            return model.model_copy(
                update={"best": (best.model_copy(update=ends),), "back_ends": (back_end, export)}
            )
        return model.model_copy(update={"best": (best.model_copy(update=ends),)})

    put_timing(results, timing.model_copy(update={"models": tuple(map(with_interval, timing.models))}))
    return tables_in(results).rows.set_index("strategy")


def test_the_cost_to_obtain_a_row_has_the_teacher_the_tuning_and_the_export_in_it(tmp_path):
    rows = put_board(tmp_path)
    assert rows["obtain_s"].to_dict() == {
        "finetune": 100.0,  # found trained by its own cell
        "kd": 60.0 + 100.0 + 300.0 + 10.0,
        "slow": 160.0,
    }


def test_without_processor_seconds_it_is_told_in_those_of_the_clock(tmp_path):
    rows = put_board(tmp_path, has_cpu=False)
    assert rows.loc["kd", "obtain_s"] == 3 * 160.0 + 900.0 + 10.0
    assert rows.loc["kd", "train_cpu_s"] is None or rows.loc[["kd"], "train_cpu_s"].isna().all()


def test_a_faster_row_breaks_even_when_its_calls_have_saved_what_it_cost_more(tmp_path):
    rows = put_board(tmp_path)
    assert rows.loc["kd", "break_even_calls"] == pytest.approx((470.0 - 100.0) / 0.006)
    # A row that is not significantly faster never does, and the teacher is what it is compared with.
    assert rows.loc[["slow", "finetune"], "break_even_calls"].isna().all()

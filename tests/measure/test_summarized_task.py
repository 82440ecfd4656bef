"""What several processes measured, put together: speed-ups within a runtime, over one reference, and in the best back end."""

import pytest
from helpers.timed import (
    EAGER,
    GRAPH,
    INT8,
    MS,
    QUANTIZED,
    STUDENT,
    TEACHER,
    candidate,
    put_together,
    timed_in_three_processes,
)

from kdbench.budgets import BackEnd
from kdbench.measure.energy import Drawn
from kdbench.measure.summarized_task import ProcessCalls, name_of
from kdbench.measure.timing import MAIN
from kdbench.results.timings import Speed, Timing
from kdbench.share.verify_timings import recomputed


@pytest.fixture
def timing():
    return timed_in_three_processes()


def model(timing, key):
    return next(model for model in timing.models if model.key == key)


def main(timing, key, back_end):
    return next(part for part in model(timing, key).back_ends if part.back_end is back_end).points[0]


def test_a_speedup_is_within_the_runtime_and_beside_it_over_one_reference(timing):
    found = {
        (key, back_end): (point.speedup, point.eager_speedup)
        for key, back_end in MS
        if key != "teacher-again" and (point := main(timing, key, back_end))
    }
    assert found == {
        (TEACHER, EAGER): pytest.approx((1, 1)),
        (STUDENT, EAGER): pytest.approx((2, 2)),
        (TEACHER, GRAPH): pytest.approx((1, 4 / 3)),
        (STUDENT, GRAPH): pytest.approx((2, 8 / 3)),
        # The quantized graph is compared with the float32 graph: 3 is what int8 gains, 4/3 what the runtime does.
        (INT8, QUANTIZED): pytest.approx((3, 4)),
        (TEACHER, QUANTIZED): pytest.approx((3, 4)),
    }


def test_the_interval_of_a_ratio_ignores_what_slows_a_whole_process_and_that_of_a_time_does_not(timing):
    point = main(timing, STUDENT, EAGER)
    assert (point.speedup_low, point.speedup_high) == pytest.approx((2, 2))
    assert point.p50_low_ms < 6 * 1.0
    assert point.p50_high_ms > 6 * 1.3
    assert point.p95_low_ms < point.p95_ms < point.p95_high_ms
    assert (point.calls, [len(calls) for calls in point.calls_ms]) == (180, [60, 60, 60])


def test_the_best_back_end_is_of_those_that_give_the_rows_own_answers(timing):
    student, teacher, int8 = (model(timing, key) for key in (STUDENT, TEACHER, INT8))
    for speed in Speed:
        best = student.best_at(speed)
        assert best.back_end is GRAPH
        assert best.speedup == pytest.approx(2)  # over the teacher in ONNX Runtime
        assert teacher.best_at(speed).back_end is GRAPH  # and not in int8, whose answers are others
        assert int8.best_at(speed).speedup == pytest.approx(3)
    assert student.best_at(Speed.SINGLE).eager_speedup == pytest.approx(8 / 3)


def test_throughput_is_that_of_the_best_batch(timing):
    of = {part.back_end: part.throughput for part in model(timing, TEACHER).back_ends if part.points}
    mean_slow = (1.0 * 1.1 * 1.3) ** (1 / 3)
    assert (of[EAGER].batch_size, of[GRAPH].batch_size) == (8, 32)
    assert of[EAGER].per_s == pytest.approx(1000 / 12 / mean_slow)
    assert of[GRAPH].per_s == pytest.approx(2 * 1000 / 9 / mean_slow)
    assert of[EAGER].low_per_s < of[EAGER].per_s < of[EAGER].high_per_s
    (batches,) = (part.throughput for part in model(timing, STUDENT).back_ends if part.back_end is EAGER)
    assert batches.speedup == pytest.approx(2)


def test_what_was_not_timed_has_its_reason(timing):
    (own, other) = model(timing, INT8).back_ends
    assert (other.back_end, other.points, other.reason) == (GRAPH, (), "the artifact is a graph")
    left_out = next(point for point in own.points if point.length == 128)
    assert (left_out.calls, left_out.reason) == (0, "the model reads 64 word pieces at most")


def test_a_teacher_that_is_no_row_is_kept_beside_the_rows(timing):
    assert timing.teacher == ()
    assert timing.repeatability.ratio == pytest.approx(1)
    assert (timing.processes, timing.inputs) == (3, 30)


def test_models_of_two_groups_are_each_compared_with_the_teacher_beside_them():
    def part(*keys, slow):
        names = [name for name in MS if name[0] in (*keys, TEACHER, "teacher-again")]
        return ProcessCalls(
            candidates={
                "teacher-again" if name[0] == "teacher-again" else name_of(*name): candidate(
                    name, MS[name], slow
                )
                for name in names
            },
            busy_s=(0.0, 1.0),
        )

    parts = [part(STUDENT, slow=1.0), part(INT8, slow=2.0), part(INT8, slow=1.5), part(STUDENT, slow=1.2)]
    found = put_together(parts)
    student, int8 = main(found, STUDENT, EAGER), main(found, INT8, QUANTIZED)
    assert (student.speedup, student.speedup_low) == pytest.approx((2, 2))
    assert (int8.speedup, int8.eager_speedup) == pytest.approx((3, 4))
    assert [len(calls) for calls in int8.calls_ms] == [0, 60, 60, 0]
    assert main(found, TEACHER, EAGER).calls == 240


def test_a_model_that_does_not_answer_says_why_and_has_no_best_back_end():
    def part(slow):
        found = {
            "teacher-again" if name[0] == "teacher-again" else name_of(*name): candidate(name, ms, slow)
            for name, ms in MS.items()
        }
        update = {"calls": [], "reasons": [(MAIN, "the model does not answer: IndexError")]}
        broken = found[name_of(INT8, QUANTIZED)].model_copy(update=update)
        return ProcessCalls(candidates={**found, name_of(INT8, QUANTIZED): broken}, busy_s=(0.0, 1.0))

    broken = model(put_together([part(1.0), part(1.1), part(1.2)]), INT8)
    assert (broken.main.calls, broken.main.p50_ms) == (0, None)
    assert broken.main.reason == broken.back_ends[0].reason == "the model does not answer: IndexError"
    assert broken.best == ()


COMPILED, OPENVINO = BackEnd.TORCH_COMPILE, BackEnd.OPENVINO
IN_MORE = {
    (TEACHER, COMPILED): 8.0,
    (STUDENT, COMPILED): 5.0,
    (TEACHER, OPENVINO): 7.5,
    (STUDENT, OPENVINO): 3.0,
}


def with_drawn(one, joules):
    drawn = Drawn(source="RAPL", joules=joules, seconds=1.25, examples=320, idle_w=joules)
    return one.model_copy(update={"drawn": drawn})


def in_more_back_ends():
    """Each of three processes draws 6, 7 or 8 J for 320 examples of the student in PyTorch."""
    processes = []
    for joules in (6.0, 7.0, 8.0):
        found = {
            "teacher-again" if name[0] == "teacher-again" else name_of(*name): candidate(name, ms, 1.0)
            for name, ms in (MS | IN_MORE).items()
        }
        found[name_of(STUDENT, EAGER)] = with_drawn(found[name_of(STUDENT, EAGER)], joules)
        processes.append(ProcessCalls(candidates=found, busy_s=(0.0, 1.0)))
    return put_together(processes)


def test_compiled_models_and_openvino_are_runtimes_of_their_own_and_may_be_the_best():
    timing = in_more_back_ends()
    student = model(timing, STUDENT)
    assert [part.back_end for part in student.back_ends] == [EAGER, COMPILED, GRAPH, OPENVINO]
    assert main(timing, STUDENT, COMPILED).speedup == pytest.approx(8 / 5)
    assert main(timing, STUDENT, OPENVINO).speedup == pytest.approx(7.5 / 3)
    assert main(timing, STUDENT, OPENVINO).eager_speedup == pytest.approx(12 / 3)
    best = student.best_at(Speed.SINGLE)
    assert best.back_end is OPENVINO
    assert best.speedup == pytest.approx(7.5 / 3)  # the teacher is fastest there, too
    assert list(recomputed(timing, [TEACHER])) == []


def test_energy_is_that_of_all_processes_and_its_absence_has_a_reason():
    timing = in_more_back_ends()
    energy = model(timing, STUDENT).back_ends[0].energy
    assert energy.joules_per_1000 == pytest.approx(1000 * 21 / 960)
    assert (energy.joules, energy.batch_size, energy.threads, energy.idle_w) == ((6, 7, 8), 32, 2, 7)
    assert model(timing, TEACHER).back_ends[0].energy is None
    again = Timing.model_validate_json(timing.model_dump_json(exclude_none=True))
    assert again == timing
    process = ProcessCalls(
        candidates={
            name: candidate((None, back_end), 1.0, 1.0)
            for name, back_end in ((name_of(TEACHER, EAGER), EAGER), ("teacher-again", EAGER))
        }
        | {
            name_of(key, back_end): candidate((None, back_end), 1.0, 1.0)
            for key, back_end in ((STUDENT, EAGER), (INT8, QUANTIZED))
        },
        busy_s=(0.0, 1.0),
        energy_reason="there is no counter",
    )
    assert put_together([process] * 3).energy_reason == "there is no counter"

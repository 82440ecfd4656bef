from helpers.support import make_record

from kdbench.board.curves import curve_points
from kdbench.board.frames import rows_of
from kdbench.results.records import LearningCurve


def points(record):
    return [
        (point["loop"], point["step"], point["examples"], point["train_flops"], point["score"])
        for point in rows_of(curve_points([record]))
    ]


def test_a_second_loop_continues_where_the_first_ended():
    curves = (
        LearningCurve(steps=(4,), losses=(1.0,), examples=32, train_flops=1000),
        LearningCurve(
            steps=(5, 10),
            losses=(1.0, 0.5),
            validated=(5, 10),
            scores=(0.5, 0.6),
            examples=80,
            train_flops=500,
        ),
    )
    expected = [(2, 9, 32 + 40, 1250.0, 0.5), (2, 14, 32 + 80, 1500.0, 0.6)]
    assert points(make_record(curves=curves)) == expected


def test_operations_that_were_not_counted_are_missing_from_there_on():
    curve = LearningCurve(
        steps=(2,), losses=(1.0,), validated=(2,), scores=(0.5,), examples=16, train_flops=10
    )
    unknown = curve.model_copy(update={"train_flops": None})
    found = points(make_record(curves=(curve, unknown, curve)))
    assert found == [(1, 2, 16, 10.0, 0.5), (2, 4, 32, None, 0.5), (3, 6, 48, None, 0.5)]


def test_older_records_divide_the_whole_training_by_the_steps():
    curves = tuple(
        LearningCurve(steps=(steps,), losses=(1.0,), validated=(steps,), scores=(0.5,)) for steps in (30, 10)
    )
    record = make_record(curves=curves)  # of 6,080 examples
    cost = record.cost.model_copy(update={"train_flops": 400})
    found = points(record.model_copy(update={"cost": cost}))
    assert found == [(1, 30, 4560, 300.0, 0.5), (2, 40, 6080, 400.0, 0.5)]

"""What three processes measured of a teacher, a student and a quantized model, made up, and put together."""

from __future__ import annotations

import numpy as np
from helpers.support import NOON, key_named, make_environment

from kdbench.budgets import BUDGETS, BackEnd
from kdbench.measure.summarized_task import CandidateCalls, Prepared, ProcessCalls, name_of, summarized
from kdbench.measure.timing import MAIN, Size
from kdbench.results.timings import Timing, Tokenization

TEACHER, STUDENT, INT8 = map(key_named, ("teacher", "student", "int8"))
EAGER, GRAPH, QUANTIZED = BackEnd.TORCH, BackEnd.ONNXRUNTIME, BackEnd.ONNXRUNTIME_INT8
MS = {
    (TEACHER, EAGER): 12.0,
    (STUDENT, EAGER): 6.0,
    (INT8, QUANTIZED): 3.0,
    ("teacher-again", EAGER): 12.0,
    (TEACHER, GRAPH): 9.0,
    (TEACHER, QUANTIZED): 3.0,
    (STUDENT, GRAPH): 4.5,
}
SMALL, LARGE, TOO_LONG = Size(8, None, 2), Size(32, None, 2), Size(1, 128, 1)


def candidate(name, ms, slow):
    inputs = np.tile(np.linspace(0.5, 1.5, 30), 2)
    return CandidateCalls(
        back_end=name[1],
        device="cpu",
        emulated=None,
        warm_up_calls=20,
        warm=True,
        calls=[
            (MAIN, (ms * slow * inputs).tolist()),
            # A graph gains from larger batches, the others do not.
            (SMALL, [8 * ms * slow]),
            (LARGE, [32 * ms * slow * (0.5 if name[1] is not EAGER else 1.2)]),
        ],
        reasons=[(TOO_LONG, "the model reads 64 word pieces at most")],
    )


def put_together(processes):
    prepared = Prepared(
        graphs={},
        compiled=[],
        reasons={name_of(INT8, GRAPH): "the artifact is a graph"},
        lost={name_of(TEACHER, QUANTIZED): 0.01},
        export_s={name_of(STUDENT, GRAPH): 2.5},
        tokenizations=dict.fromkeys((TEACHER, STUDENT, INT8), Tokenization(calls=1, p50_ms=1, mean_ms=1)),
    )
    budget = BUDGETS["standard"].model_copy(update={"latency_processes": 3})
    return summarized(
        processes,
        prepared,
        keys=[TEACHER, STUDENT, INT8],
        teacher=TEACHER,
        again="teacher-again",
        inputs=30,
        budget=budget,
        warning=None,
        task="toy",
        model="tiny",
        threads=1,
        environment=make_environment(),
        finished_at=NOON,
        busy_share=0.0,
    )


def timed_in_three_processes() -> Timing:
    return put_together(
        [
            ProcessCalls(
                candidates={
                    "teacher-again" if name[0] == "teacher-again" else name_of(*name): candidate(
                        name, ms, slow
                    )
                    for name, ms in MS.items()
                },
                busy_s=(0.0, 1.0),
            )
            for slow in (1.0, 1.1, 1.3)  # processes differ, and all of their models alike
        ]
    )

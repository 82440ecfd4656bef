"""What is timed: inputs of distinct examples, padded batches."""

import numpy as np

from kdbench.measure.timed_models import (
    TimedRow,
    drawn_rows,
    inputs_of_process,
)
from kdbench.models.build import load_base


def encoder(experiment):
    task = experiment.task.task
    return load_base(experiment.base.path, task.kind, task.labels, seed=0).eval()


def test_inputs_are_of_distinct_examples_and_half_as_many_as_rounds(make_experiment, tiny_budget):
    experiment = make_experiment("toy-tags", budget=tiny_budget.model_copy(update={"latency_rounds": 31}))
    drawn = drawn_rows(experiment)
    examples = [experiment.task.scored[int(place)]["example"] for place in drawn]
    assert len(set(examples)) == len(drawn) == 15
    row = TimedRow(lambda: encoder(experiment), experiment, drawn)
    assert [batch["input_ids"].shape[1] for batch in row.inputs] == [
        experiment.task.scored[int(place)]["length"] for place in drawn
    ]


def test_processes_have_inputs_of_their_own_and_a_batch_is_padded_to_its_longest(
    make_experiment, tiny_budget
):
    budget = tiny_budget.model_copy(update={"latency_rounds": 30, "latency_processes": 3})
    experiment = make_experiment(budget=budget)
    parts = [inputs_of_process(experiment, process) for process in range(3)]
    assert [len(part) for part in parts] == [5, 5, 5]
    assert set(np.concatenate(parts)) == set(drawn_rows(experiment))
    row = TimedRow(lambda: encoder(experiment), experiment, parts[1])
    lengths = [experiment.task.scored[int(place)]["length"] for place in parts[1]]
    batch = row.padded(8)  # more than there are: some come twice
    assert batch["input_ids"].shape == (8, max(lengths))
    assert batch["attention_mask"].sum(1).tolist() == [*lengths, *lengths[:3]]

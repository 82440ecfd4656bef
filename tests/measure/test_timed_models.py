"""Models as graphs: the same answers, or the reason why there is none."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from kdbench.api.predictions import Predictions
from kdbench.budgets import BackEnd
from kdbench.measure.timed_models import (
    TimedRow,
    drawn_rows,
    export_row,
    inputs_of_process,
    score_lost,
)
from kdbench.models.build import load_base
from kdbench.models.onnx import OnnxModel, example_inputs

BOTH = (BackEnd.ONNXRUNTIME, BackEnd.ONNXRUNTIME_INT8)


def encoder(experiment):
    task = experiment.task.task
    return load_base(experiment.base.path, task.kind, task.labels, seed=0).eval()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["toy-sentiment", "toy-tags"])
def test_onnx_runtime_answers_as_torch_does_within_a_ten_thousandth(make_experiment, task, tmp_path):
    experiment = make_experiment(task)
    row = TimedRow(lambda: encoder(experiment), experiment, drawn_rows(experiment))
    candidates = {}
    for back_end, made in export_row(row, BOTH).items():
        (tmp_path / back_end).write_bytes(made.graph)
        candidates[back_end] = row.graph(tmp_path / back_end, made.config)
    graph = candidates[BackEnd.ONNXRUNTIME]
    assert {back_end: made.back_end for back_end, made in candidates.items()} == {made: made for made in BOTH}
    for candidate in candidates.values():
        assert min(candidate.own(range(3, 5))) > 0
        assert min(candidate.turn([candidate.synthetic(8, 16)])) > 0
        assert min(candidate.with_current_threads().turn([candidate.padded(8)])) > 0
        assert (candidate.longest, candidate.device.type) == (64, "cpu")
    model = row.candidate().model
    with torch.inference_mode():
        for batch in row.inputs:
            expected, answered = model(**batch).logits, graph.model(**batch).logits
            torch.testing.assert_close(answered, expected, rtol=0, atol=1e-4)


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(200, 3)

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        return SimpleNamespace(logits=(self.table(input_ids) * attention_mask[..., None]).sum(1))


class LooksAtValues(Toy):
    def forward(self, input_ids, attention_mask, token_type_ids=None):
        return super().forward(input_ids, attention_mask + int(input_ids.sum()) % 2)


@pytest.mark.slow
def test_a_model_that_cannot_be_exported_has_the_reason_in_either_back_end(make_experiment):
    experiment = make_experiment()
    found = export_row(TimedRow(LooksAtValues, experiment, drawn_rows(experiment)), BOTH)
    assert set(found) == set(BOTH)
    assert len(set(found.values())) == 1
    assert found[BOTH[0]].startswith("LooksAtValues cannot be exported to ONNX: ")


@pytest.mark.slow
def test_a_graph_is_not_made_into_another(make_experiment):
    experiment = make_experiment()
    example = example_inputs(experiment.task.scored, experiment.collate)
    row = TimedRow(lambda: OnnxModel.of(Toy(), example), experiment, drawn_rows(experiment))
    assert row.candidate().back_end is BackEnd.ONNXRUNTIME
    assert export_row(row, BOTH) == {
        BackEnd.ONNXRUNTIME_INT8: "the artifact is a graph for onnxruntime; it is not converted to another"
    }


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


class AlwaysTheFirst(nn.Module):
    def forward(self, input_ids, attention_mask, token_type_ids=None):
        return SimpleNamespace(logits=torch.tensor([[1.0, 0.0]]).expand(len(input_ids), 2))


def test_the_loss_is_the_difference_of_the_scores_on_the_same_examples(make_experiment):
    experiment = make_experiment()
    rows = experiment.task.scored
    right = np.asarray(rows["labels"])
    ids = np.asarray(rows["example"])
    # Answers that are right but for the first example; in an order of their own.
    logits = np.eye(2, dtype=np.float32)[np.where(np.arange(len(right)) == 0, 1 - right, right)]
    answers = Predictions(ids[::-1].copy(), logits[::-1].copy(), right[::-1].copy())
    of_the_first = np.mean(right == 0)
    assert 0 < of_the_first < 1
    assert score_lost(AlwaysTheFirst(), answers, experiment) == pytest.approx(
        1 - 1 / len(right) - of_the_first
    )

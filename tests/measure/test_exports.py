"""Models in other back ends: the same answers, or the reason why there is none."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from kdbench.api.predictions import Predictions
from kdbench.budgets import BackEnd
from kdbench.measure.exports import export_row, score_lost
from kdbench.measure.timed_models import TimedRow, drawn_rows
from kdbench.models.build import load_base
from kdbench.models.onnx import OnnxModel, example_inputs

GRAPHS = (BackEnd.ONNXRUNTIME, BackEnd.ONNXRUNTIME_INT8, BackEnd.OPENVINO)


def encoder(experiment):
    task = experiment.task.task
    return load_base(experiment.base.path, task.kind, task.labels, seed=0).eval()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["toy-sentiment", "toy-tags"])
def test_graphs_answer_as_torch_does_within_a_ten_thousandth(make_experiment, task, tmp_path):
    experiment = make_experiment(task)
    row = TimedRow(lambda: encoder(experiment), experiment, drawn_rows(experiment))
    candidates = {}
    exported = export_row(row, GRAPHS)
    for back_end, (made, seconds) in exported.items():
        assert seconds > 0
        (tmp_path / back_end).write_bytes(made.graph)
        candidates[back_end] = row.graph(tmp_path / back_end, made.config, back_end)
    assert {back_end: one.back_end for back_end, one in candidates.items()} == {one: one for one in GRAPHS}
    assert exported[BackEnd.ONNXRUNTIME][1] < exported[BackEnd.ONNXRUNTIME_INT8][1]  # made from it
    for candidate in candidates.values():
        assert min(candidate.own(range(3, 5))) > 0
        assert min(candidate.turn([candidate.synthetic(8, 16)])) > 0
        assert min(candidate.with_current_threads().turn([candidate.padded(8)])) > 0
        assert (candidate.longest, candidate.device.type) == (64, "cpu")
    model = row.candidate().model
    with torch.inference_mode():
        for batch in row.inputs:
            for back_end in (BackEnd.ONNXRUNTIME, BackEnd.OPENVINO):
                answered = candidates[back_end].model(**batch).logits
                torch.testing.assert_close(answered, model(**batch).logits, rtol=0, atol=1e-4)


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
def test_a_model_that_cannot_be_exported_has_the_reason_in_every_back_end(make_experiment):
    experiment = make_experiment()
    found = export_row(TimedRow(LooksAtValues, experiment, drawn_rows(experiment)), GRAPHS)
    assert set(found) == set(GRAPHS)
    (reason,) = {reason for reason, _ in found.values()}
    assert reason.startswith("LooksAtValues cannot be exported to ONNX: ")


@pytest.mark.slow
def test_a_graph_is_not_made_into_another(make_experiment):
    experiment = make_experiment()
    example = example_inputs(experiment.task.scored, experiment.collate)
    row = TimedRow(lambda: OnnxModel.of(Toy(), example), experiment, drawn_rows(experiment))
    assert row.candidate().back_end is BackEnd.ONNXRUNTIME
    reason = "the artifact is a graph for onnxruntime; it is not converted to another"
    assert export_row(row, GRAPHS) == dict.fromkeys(
        (BackEnd.ONNXRUNTIME_INT8, BackEnd.OPENVINO), (reason, 0.0)
    )


@pytest.mark.slow
def test_what_is_not_installed_is_absent_with_the_remedy(make_experiment, monkeypatch):
    monkeypatch.setattr("kdbench.measure.back_ends.find_spec", lambda name: None)
    experiment = make_experiment()
    found = export_row(
        TimedRow(Toy, experiment, drawn_rows(experiment)), (BackEnd.ONNXRUNTIME, BackEnd.OPENVINO)
    )
    assert isinstance(found[BackEnd.ONNXRUNTIME][0], OnnxModel)
    assert found[BackEnd.OPENVINO][0] == "OpenVINO is not installed; run pip install 'kdbench[openvino]'"


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

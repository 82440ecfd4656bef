"""Compiled models: the same answers at every size from few compilations, or the reason why there is none."""

import functools

import pytest
import torch
from helpers.training import no_report
from torch import nn
from torch._dynamo.utils import counters
from transformers import BertConfig, BertForSequenceClassification
from transformers.modeling_outputs import SequenceClassifierOutput

from kdbench.errors import KdbenchError
from kdbench.measure.timed_models import TimedRow, drawn_rows
from kdbench.measure.timing import GRID, time_batches, time_together
from kdbench.models.compiled import check_compiled, compiled, compiled_in

SMALL = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 64}


def bert(layers=1):
    torch.manual_seed(layers)
    return BertForSequenceClassification(BertConfig(num_hidden_layers=layers, **SMALL)).eval()


def batch(size, length):
    ids = torch.randint(5, 500, (size, length))
    mask = torch.ones_like(ids)
    mask[1:, length // 2 :] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}


@pytest.fixture
def graphs():
    """Return how many graphs were compiled since the test began."""
    torch.compiler.reset()
    counters.clear()
    return lambda: counters["stats"]["unique_graphs"]


@pytest.mark.slow
def test_a_compiled_model_answers_every_length_as_torch_does_from_two_compilations(graphs, tmp_path):
    model = bert()
    with compiled_in(tmp_path), torch.inference_mode():
        whole = compiled(model)
        for length in range(2, 65):
            for size in (1, 3):
                inputs = batch(size, length)
                answered = whole(**inputs).logits
                torch.testing.assert_close(answered, model(**inputs).logits, rtol=0, atol=1e-5)
    assert graphs() == 2
    assert any(tmp_path.rglob("*.cpp"))


@pytest.fixture
def traced(monkeypatch):
    """Trace models as torch.compile does, but run the traced operations without writing C++, which takes long."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))


@pytest.mark.slow
def test_nothing_is_compiled_in_timed_calls_and_rows_of_one_architecture_share_their_code(
    traced, graphs, make_experiment, tiny_budget, monkeypatch
):
    rounds = {"latency_rounds": 30, "latency_grid_rounds": 2, "latency_grid_seconds": 1000}
    experiment = make_experiment(budget=tiny_budget.model_copy(update=rounds))
    rows = {
        name: TimedRow(lambda layers=layers: bert(layers), experiment, drawn_rows(experiment))
        for name, layers in (("one", 1), ("twin", 1), ("two", 2))
    }
    candidates = {"one": rows["one"].candidate()} | {
        f"{name}.compiled": row.compiled() for name, row in rows.items()
    }
    before_timing = []

    def report(phase, done, total, loss):
        before_timing.append((phase, done, graphs()))

    threads = torch.get_num_threads()
    timed = time_together(
        candidates, reference="one", budget=experiment.budget, gridded=list(candidates), report=report
    )
    # One by one: two architectures. On the grid: batches of each.
    warm = {count for phase, _, count in before_timing if phase == "timing"}
    assert warm == {2}
    assert graphs() == 4
    try:
        torch.set_num_threads(threads + 1)
        time_batches(candidates, threads=threads + 1, rounds=2, report=no_report, timed=timed)
    finally:
        torch.set_num_threads(threads)
    assert graphs() == 6
    sizes = {(size.batch_size, size.length) for size in timed["two.compiled"].calls_ms}
    assert {(8, None), (32, None), (1, None)} <= sizes
    assert {(size, length) for size, length in GRID if length <= 64} <= sizes


class LooksAtValues(nn.Module):
    def forward(self, input_ids, attention_mask, token_type_ids):
        return SequenceClassifierOutput(logits=input_ids.float() * (2 if input_ids.sum() > 9 else 3))


class AnswersOtherwise(nn.Module):
    def forward(self, input_ids, attention_mask, token_type_ids):
        return SequenceClassifierOutput(
            logits=input_ids.float() + (1.0 if torch.compiler.is_compiling() else 0.0)
        )


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (LooksAtValues(), r"^torch\.compile cannot compile LooksAtValues: Unsupported: [^\n]+$"),
        (
            AnswersOtherwise(),
            r"^the compiled AnswersOtherwise does not match the model: their logits differ by 1",
        ),
    ],
)
def test_what_is_not_compiled_as_a_whole_or_answers_otherwise_has_the_reason(traced, graphs, model, reason):
    with pytest.raises(KdbenchError, match=reason):
        check_compiled(model, batch(2, 9))


def test_a_compiler_that_fails_is_the_reason(graphs, monkeypatch):
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("false",))

    class Doubles(nn.Module):
        def forward(self, input_ids, attention_mask, token_type_ids):
            return SequenceClassifierOutput(logits=input_ids.float() * 2)

    with pytest.raises(KdbenchError, match=r"^torch\.compile cannot compile Doubles: InductorError: [^\n]+$"):
        check_compiled(Doubles(), batch(2, 9))

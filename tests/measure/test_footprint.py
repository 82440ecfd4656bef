import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import BertConfig, BertModel

from kdbench.measure import footprint
from kdbench.measure.footprint import load_and_answer, load_measured
from kdbench.models.artifacts import save_artifact

CPU = torch.device("cpu")


MIB = 2**20


linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells peaks anew")


class Weights(nn.Module):
    """So many MiB of weights, and as many more for a moment while it answers."""

    def __init__(self, mib, while_answering=0):
        super().__init__()
        self.weights = nn.Parameter(torch.ones(mib * MIB // 4))
        self.while_answering = while_answering

    def forward(self):
        return torch.ones(self.while_answering * MIB // 4).sum() + self.weights[0]


@linux
@pytest.mark.parametrize(("weights", "answering"), [(40, 0), (80, 0), (40, 60)])
def test_it_is_the_weights_and_what_answering_takes(weights, answering):
    model, measured = load_and_answer(lambda: Weights(weights, answering), lambda model: model(), CPU)
    assert measured.peak_bytes / MIB == pytest.approx(weights + answering, abs=4)
    assert measured.libraries_bytes > 50 * MIB
    assert measured.peak_gpu_bytes is None
    assert model.weights.numel() * 4 == weights * MIB


@linux
def test_all_of_an_embedding_table_counts_though_few_rows_were_read(tmp_path):
    config = BertConfig(
        vocab_size=200_000, hidden_size=64, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    BertModel(config).save_pretrained(tmp_path)
    ids = torch.ones(1, 4, dtype=torch.long)
    model, measured = load_and_answer(
        lambda: BertModel.from_pretrained(tmp_path), lambda model: model(ids), CPU
    )
    weights = sum(weight.numel() * 4 for weight in model.parameters())
    assert weights / MIB > 48
    assert 0 < measured.peak_bytes - weights + 2 * MIB < 12 * MIB


@linux
def test_what_stands_in_memory_already_is_not_the_model_s():
    before = torch.ones(100 * MIB // 4)
    _, measured = load_and_answer(lambda: Weights(30), lambda model: model(), CPU)
    assert measured.peak_bytes / MIB == pytest.approx(30, abs=4)
    assert measured.libraries_bytes > before.numel() * 4


@linux
def test_a_model_that_was_let_go_leaves_no_room_for_the_next_to_hide_in():
    def small_blocks():
        return nn.ParameterList([nn.Parameter(torch.ones(16 * 1024)) for _ in range(640)])

    _, measured = load_and_answer(small_blocks, len, CPU)
    assert measured.peak_bytes / MIB == pytest.approx(40, abs=6)


@pytest.mark.slow
@linux
def test_libraries_that_the_first_model_brings_are_not_the_model_s():
    code = """
import torch
from kdbench.measure.footprint import load_and_answer
def load():
    import sqlite3, scipy.spatial
    return torch.nn.Linear(2, 2)
print(load_and_answer(load, lambda model: model(torch.ones(2)), torch.device("cpu"))[1].peak_bytes)
"""
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert told == "None" or int(told) < 5 * MIB  # less than a page is nothing that can be told


@pytest.mark.parametrize("missing", ["PROC_STATUS", "PROC_CLEAR_REFS"])
def test_a_system_that_does_not_tell_gives_no_number(missing, monkeypatch):
    monkeypatch.setattr(footprint, missing, Path("/nowhere/to/be/found"))
    model, measured = load_and_answer(lambda: Weights(1), lambda model: model(), CPU)
    assert isinstance(model, Weights)
    assert (measured.peak_bytes, measured.libraries_bytes) == (None, None)


def test_an_artifact_is_loaded_and_measured(make_bench, tmp_path):
    _, bench = make_bench("finetune")
    artifact = tmp_path / "artifact"
    save_artifact(bench.base(), bench.experiment.tokenizer, artifact)
    measured = load_measured(artifact, bench.experiment)
    model, compute = measured.model, measured.compute
    assert measured.remarks == ()
    lengths = np.array(bench.task.scored["length"])
    assert abs(compute.flops_length - lengths.mean()) == np.abs(lengths - lengths.mean()).min()
    length = compute.flops_length
    layer = 2 * length * (4 * 32 * 32 + 2 * 32 * 64) + 4 * length**2 * 32
    assert compute.flops_per_example == 4 * layer + 2 * (32 * 32 + 32 * 2)
    assert compute.inference_peak_gpu_bytes is None
    assert {name for name, _ in model.named_parameters()} <= set(load_file(artifact / "model.safetensors"))
    assert not model.training


@pytest.mark.parametrize(
    ("measurement", "figure", "told"),
    [
        ("forward_flops", "flops_per_example", "its operations could not be counted: AssertionError: no"),
        ("load_and_answer", "inference_peak_bytes", "its memory could not be measured: AssertionError: no"),
    ],
)
def test_a_measurement_that_raises_costs_its_figure(
    make_bench, tmp_path, monkeypatch, measurement, figure, told
):
    def raising(*given):
        raise AssertionError("no")

    _, bench = make_bench("finetune")
    artifact = tmp_path / "artifact"
    save_artifact(bench.base(), bench.experiment.tokenizer, artifact)
    monkeypatch.setattr(footprint, measurement, raising)
    measured = load_measured(artifact, bench.experiment)
    assert measured.remarks == (told,)
    assert getattr(measured.compute, figure) is None
    assert not measured.model.training

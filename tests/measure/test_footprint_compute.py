import numpy as np
from safetensors.torch import load_file

from kdbench.measure.footprint import load_measured
from kdbench.models.artifacts import save_artifact


def test_an_artifact_is_loaded_and_measured(make_bench, tmp_path):
    _, bench = make_bench("finetune")
    artifact = tmp_path / "artifact"
    save_artifact(bench.base(), bench.experiment.tokenizer, artifact)
    model, compute = load_measured(artifact, bench.experiment)
    lengths = np.array(bench.task.scored["length"])
    assert abs(compute.flops_length - lengths.mean()) == np.abs(lengths - lengths.mean()).min()
    length = compute.flops_length
    layer = 2 * length * (4 * 32 * 32 + 2 * 32 * 64) + 4 * length**2 * 32
    assert compute.flops_per_example == 4 * layer + 2 * (32 * 32 + 32 * 2)
    assert compute.inference_peak_gpu_bytes is None
    assert {name for name, _ in model.named_parameters()} <= set(load_file(artifact / "model.safetensors"))
    assert not model.training

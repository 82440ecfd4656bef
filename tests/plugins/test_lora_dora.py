import torch
from kdbench_plugins.lora import DoRA

from kdbench.training.bench import TrainingBench


def test_what_is_merged_is_the_papers_formula(make_experiment):
    strategy = DoRA(DoRA.Params(r=2, alpha=6.0, learning_rate=0.05))
    bench = TrainingBench(make_experiment(), strategy, 0, lambda *progress: None)
    model = strategy.fit(bench)
    start = bench.base().bert.encoder.layer[3].attention.self.value.weight.detach()
    layer = model.base_model.model.bert.encoder.layer[3].attention.self.value
    down, up = (part["default"].weight.detach() for part in (layer.lora_A, layer.lora_B))
    magnitude = layer.lora_magnitude_vector["default"].weight.detach().clone()
    assert not torch.allclose(magnitude, start.norm(dim=1), atol=1e-4)  # it was trained
    moved = start + 6.0 / 2 * up @ down
    expected = magnitude[:, None] * moved / moved.norm(dim=1, keepdim=True)
    merged = strategy.finalize(model, bench).bert.encoder.layer[3].attention.self.value.weight
    torch.testing.assert_close(merged, expected, rtol=0, atol=1e-6)


def test_magnitudes_start_as_those_of_the_weights(make_experiment):
    strategy = DoRA(DoRA.Params())
    bench = TrainingBench(make_experiment(), strategy, 0, lambda *progress: None)
    model = strategy.adapt(bench.base(), bench)
    layer = model.base_model.model.bert.encoder.layer[0].attention.self.query
    magnitude = layer.lora_magnitude_vector["default"].weight
    torch.testing.assert_close(magnitude, layer.base_layer.weight.norm(dim=1))
    assert magnitude.requires_grad

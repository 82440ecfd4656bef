import torch
from kdbench_plugins.adapters import AdapterHoulsby

from kdbench.training.bench import TrainingBench


def test_by_default_every_layer_normalization_is_trained_too(make_experiment):
    strategy = AdapterHoulsby(AdapterHoulsby.Params(learning_rate=0.02))
    bench = TrainingBench(make_experiment(), strategy, 0, lambda *progress: None)
    model, plain = strategy.fit(bench).model.state_dict(), bench.base().state_dict()
    moved = {name for name in plain if not torch.equal(plain[name], model[name])}
    places = ["embeddings"] + [
        f"encoder.layer.{layer}.{part}" for layer in range(4) for part in ("attention.output", "output")
    ]
    norms = {f"bert.{place}.LayerNorm.{weight}" for place in places for weight in ("weight", "bias")}
    assert moved == norms | {"classifier.weight", "classifier.bias"}


def test_its_defaults_are_the_papers():
    params = AdapterHoulsby.Params()
    assert (params.bottleneck, params.activation, params.train_norms) == (64, "gelu", True)

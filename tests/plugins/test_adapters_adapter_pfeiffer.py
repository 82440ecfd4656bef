import torch
from kdbench_plugins._adapter_model import AdaptedNorm
from kdbench_plugins.adapters import AdapterPfeiffer

from kdbench.training.bench import TrainingBench


def test_it_adapts_the_feed_forward_half_of_each_layer_alone_and_no_normalization(make_experiment):
    strategy = AdapterPfeiffer(AdapterPfeiffer.Params(learning_rate=0.02))
    bench = TrainingBench(make_experiment(), strategy, 0, lambda *progress: None)
    model = strategy.fit(bench).model
    adapted = {name for name, module in model.named_modules() if isinstance(module, AdaptedNorm)}
    assert adapted == {f"bert.encoder.layer.{layer}.output.LayerNorm" for layer in range(4)}
    plain = bench.base().bert.encoder.layer
    for mine, other in zip(model.bert.encoder.layer, plain, strict=True):
        assert torch.equal(mine.output.LayerNorm.norm.weight, other.output.LayerNorm.weight)
        assert not any(weight.requires_grad for weight in mine.output.LayerNorm.norm.parameters())


def test_its_defaults_are_the_papers():
    params = AdapterPfeiffer.Params()
    assert (params.bottleneck, params.activation) == (48, "relu")

"""An adapter kept apart is the model that was trained."""

import torch
from peft import PeftModel
from safetensors.torch import load_file

from kdbench.models.artifacts import Adapter, stored_parameters
from kdbench.models.build import load_base
from kdbench.training.predict import predict


def test_a_plain_model_has_no_adapter(make_bench):
    _, bench = make_bench("finetune")
    assert Adapter.of(bench.base()) is None


def test_it_outlives_the_merge_and_answers_as_the_merged_model(make_bench, tmp_path, tiny_model):
    strategy, bench = make_bench("lora[r=2]")
    model = strategy.fit(bench)
    adapter = Adapter.of(model)
    merged = strategy.finalize(model, bench).eval()
    adapter.save(tmp_path / "adapter")
    experiment = bench.experiment
    base = load_base(tiny_model, experiment.kind, experiment.task.task.labels, seed=5)
    again = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    one, other = (
        predict(found, experiment.task.scored, experiment.collate, device=torch.device("cpu")).logits
        for found in (merged, again)
    )
    assert abs(one - other).max() < 1e-5
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert stored_parameters(tmp_path / "adapter") == sum(weight.numel() for weight in weights.values())
    assert str(tiny_model) not in (tmp_path / "adapter" / "adapter_config.json").read_text()

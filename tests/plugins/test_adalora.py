import math

import pytest
import torch
from kdbench_plugins.adalora import AdaLoRA, distance_from_orthogonal
from pydantic import ValidationError
from torch import nn

from kdbench.api.task import TaskKind
from kdbench.errors import UsageError
from kdbench.models.cost import count_trainable
from kdbench.training.bench import TrainingBench


@pytest.fixture
def bench_of(make_experiment, tiny_budget):
    def make(steps=4, told=None, **params):
        strategy = AdaLoRA(AdaLoRA.Params(**params))
        budget = tiny_budget.model_copy(update={"steps": dict.fromkeys(TaskKind, steps)})

        def report(phase, done, total, loss):
            if told is not None:
                told.append(loss)

        return strategy, TrainingBench(make_experiment(budget=budget), strategy, 0, report)

    return make


def test_of_all_ranks_as_many_are_kept_as_were_granted(bench_of):
    strategy, bench = bench_of(r=2, initial_r=3)
    model = strategy.fit(bench)
    ranks = {
        name.partition(".lora_E")[0]: weight
        for name, weight in model.named_parameters()
        if ".lora_E." in name
    }
    assert len(ranks) == 4 * 6
    assert sum(len(weight) for weight in ranks.values()) == 2 * 4 * 6
    widths = {"intermediate.dense": 32 + 64, "output.dense": 64 + 32, "attention": 32 + 32}
    kept = 0
    for name, weight in ranks.items():
        kind = next(kind for kind in reversed(widths) if kind in name)
        kept += len(weight) * (widths[kind] + 1)
    assert count_trainable(model) == kept + 33 * 2


def test_cutting_what_was_dropped_changes_no_answer(bench_of, monkeypatch):
    from peft import AdaLoraModel

    cut = AdaLoraModel.resize_modules_by_rank_pattern
    inputs = {"input_ids": torch.tensor([[2, 9, 8, 3]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    seen = []

    def observed(model, *arguments):
        seen.append(model.eval().model(**inputs).logits)
        cut(model, *arguments)
        seen.append(model.eval().model(**inputs).logits)

    monkeypatch.setattr(AdaLoraModel, "resize_modules_by_rank_pattern", observed)
    strategy, bench = bench_of(r=1, initial_r=4, learning_rate=0.05)
    strategy.fit(bench)
    torch.testing.assert_close(seen[1], seen[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("steps", "initial", "final", "expected"),
    [(100, 0.1, 0.5, (10, 50)), (4, 0.1, 0.5, (0, 2)), (2, 0.1, 0.5, (0, 0)), (10, 0.0, 0.95, (0, 8))],
)
def test_the_schedule_fits_the_budget(bench_of, steps, initial, final, expected):
    strategy, bench = bench_of(steps=steps, initial=initial, final=final)
    config = strategy.config(bench.base(), bench)
    assert config.total_step == steps
    assert (config.tinit, config.tfinal) == expected


def test_two_steps_are_enough_and_one_is_refused(bench_of):
    strategy, bench = bench_of(steps=2)
    strategy.finalize(strategy.fit(bench), bench)
    strategy, bench = bench_of(steps=1)
    with pytest.raises(UsageError, match="one optimizer step is too few"):
        strategy.fit(bench)


def test_the_distance_is_the_mean_norm_of_the_products_less_one():
    layer = nn.Module()
    layer.lora_A = nn.ParameterDict({"default": 2 * torch.eye(2)})  # |4 I - I| = 3 sqrt 2
    layer.lora_B = nn.ParameterDict({"default": torch.eye(3)[:, :2]})  # orthonormal columns: 0
    layer.lora_E = nn.ParameterDict({"default": torch.full((2, 1), 7.0)})  # no matter
    model = nn.ModuleDict({"layer": layer})
    assert distance_from_orthogonal(model).item() == pytest.approx(3 * math.sqrt(2) / 2)


def test_it_is_added_to_the_loss_with_its_weight(bench_of):
    told, plain = [], []
    strategy, bench = bench_of(told=told, orthogonality=3.0)
    start = distance_from_orthogonal(strategy.adapt(bench.base(), bench)).item()
    strategy.fit(bench)
    strategy, bench = bench_of(told=plain, orthogonality=0.0)
    strategy.fit(bench)
    # The vectors are drawn anew, of the same deviation.
    assert told[0] - plain[0] == pytest.approx(3 * start, rel=0.05)


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"r": 8, "initial_r": 8}, "initial_r must be more than r=8"),
        ({"initial": 0.5, "final": 0.5}, r"initial \+ final must be less than 1"),
        ({"patience": 3}, "patience has no effect"),
    ],
)
def test_what_the_schedule_cannot_use_is_refused(params, problem):
    with pytest.raises(ValidationError, match=problem):
        AdaLoRA.Params(**params)

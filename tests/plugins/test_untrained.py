"""What is asked of strategies that take no gradient step."""

import pytest
from kdbench_plugins import kdbench_strategies

from kdbench import Params, UntrainedParams, UsageError
from kdbench.api.spec import StrategySpec
from kdbench.cli.description import description

UNTRAINED = [
    strategy.name for strategy in kdbench_strategies() if issubclass(strategy.Params, UntrainedParams)
]
SET = {
    "learning_rate": 1.0,
    "weight_decay": 0.5,
    "warmup": 0.5,
    "dropout": 0.5,
    "max_grad_norm": 0.5,
    "patience": 3,
    "class_weights": "balanced",
    "focal_gamma": 2.0,
    "new_layers": "xavier",
}


def test_they_are_the_transforms_that_train_nothing_and_what_is_solved():
    assert UNTRAINED == ["tfidf", "model2vec", "linear-probe", "int8", "fp16", "bf16", "trim-vocab"]


@pytest.mark.parametrize("name", UNTRAINED)
def test_what_would_make_a_second_row_of_the_same_model_is_refused_and_not_told_of(registry, name):
    assert SET.keys() == Params.model_fields.keys()
    for field in SET:
        with pytest.raises(UsageError) as error:
            registry.strategy(StrategySpec(name=name, params={field: SET[field]}))
        assert str(error.value) == (
            f"strategy '{name}': {field} has no effect on this strategy; leave it out"
        )
    told = {parameter["name"] for parameter in description(registry, name)["parameters"]}
    assert not told & SET.keys()


@pytest.mark.parametrize("name", UNTRAINED)
def test_the_default_may_be_said_and_is_the_same_row(registry, name):
    said = registry.strategy(StrategySpec(name=name, params={"weight_decay": 0.01}))
    assert said.params == registry.strategy(StrategySpec(name=name)).params
    assert said.params.model_dump().keys() >= SET.keys()  # a cell's key is made of all

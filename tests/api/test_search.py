"""What a strategy declares for a search, and how a tuned one is written."""

import pytest

from kdbench.api.search import Choice, Range
from kdbench.api.spec import StrategySpec, parse_spec
from kdbench.api.strategy import spec_of
from kdbench.api.task import TaskKind
from kdbench.errors import UsageError


@pytest.mark.parametrize(("low", "high", "log"), [(1, 1, False), (2, 1, False), (0, 1, True), (-1, 1, True)])
def test_a_range_needs_an_order_and_a_logarithm(low, high, log):
    with pytest.raises(ValueError, match="must be"):
        Range(low, high, log=log)


def test_a_choice_needs_two_values():
    with pytest.raises(ValueError, match="two values"):
        Choice(("one",))


def test_true_is_not_the_number_one():
    assert True not in Choice((0, 1))
    assert None in Choice((None, 1))


def test_the_rates_searched_lie_around_the_kinds_own_default(registry):
    lora = registry.strategies["lora"].item
    assert lora.search_space(TaskKind.SEQUENCE_CLASSIFICATION) == {
        "learning_rate": Range(2e-3 / 8, 2e-3 * 8, log=True)
    }
    labels = registry.strategies["hard-labels"].item
    assert labels.search_space(TaskKind.TOKEN_CLASSIFICATION)["learning_rate"] == Range.around(2e-4)


def test_what_takes_no_gradient_steps_has_nothing_to_search(registry):
    empty = {
        name
        for name, one in registry.strategies.items()
        if not one.item.search_space(TaskKind.SEQUENCE_CLASSIFICATION)
    }
    assert empty == {"tfidf", "model2vec", "linear-probe", "int8", "fp16", "bf16", "trim-vocab"}


@pytest.mark.parametrize(
    "text", ["lora[tuned]", "vanilla-kd[layers=2,tuned]", "lora[tuned]+int8", "tinybert+prune-ffn[tuned]"]
)
def test_a_tuned_strategy_reads_back_before_and_after_it_was_looked_up(text, registry):
    spec = parse_spec(text)
    assert str(spec) == text
    assert str(spec_of(registry.strategy(spec))) == text
    stages = [
        stage if stage.tuned is None else stage.model_copy(update={"tuned": {"learning_rate": 0.004}})
        for stage in spec.stages
    ]
    strategy = registry.strategy(StrategySpec.of_stages(stages))
    assert spec_of(strategy) == StrategySpec.of_stages(stages)
    assert str(spec_of(strategy)) == text
    assert 0.004 in {stage.params.learning_rate for stage in strategy.stages}


def test_a_value_called_tuned_is_a_value():
    assert parse_spec("a[b=tuned]").tuned is None
    with pytest.raises(UsageError, match="cannot read"):
        parse_spec("a[tuned b=1]")


def test_the_control_of_a_tuned_strategy_is_tuned_and_takes_nothing_that_was_found(registry):
    found = {"learning_rate": 0.1, "alpha": 0.3}
    tuned = registry.strategy(StrategySpec(name="vanilla-kd", params={"layers": 2}, tuned=found))
    assert str(registry.control(tuned)) == "hard-labels[layers=2,tuned]"
    assert str(registry.base_control(tuned)) == "hard-labels[init=base,layers=2,tuned]"
    assert (
        str(registry.control(registry.strategy(parse_spec("lora[tuned]")))) == "finetune[steps=budget,tuned]"
    )


def test_a_glob_of_tuned_strategies_means_those_that_can_be(registry):
    names = {spec.name for spec in registry.match_strategies(["*[tuned]"])}
    assert "lora" in names
    assert "int8" not in names

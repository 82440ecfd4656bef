"""docs/strategies.md tells of every built-in strategy, its parameters and their defaults as they are."""

import re
from pathlib import Path

import pytest
from kdbench_plugins import kdbench_strategies

from kdbench.api.params import FINE_TUNING_RATES, Params
from kdbench.api.task import TaskKind

PAGE = (Path(__file__).parents[2] / "docs" / "strategies.md").read_text(encoding="utf-8")
STRATEGIES = {strategy.name: strategy for strategy in kdbench_strategies()}


def section(name):
    """Return what the page says under the heading of a strategy; some share one."""
    found = re.search(rf"^### (?:[\w-]+ and )?{name}(?: and [\w-]+)?$(.*?)(?=^##|\Z)", PAGE, re.M | re.S)
    assert found, f"docs/strategies.md has no section {name!r}"
    return found[1]


def own(name):
    """Return the fields that a strategy adds to those of all."""
    strategy = STRATEGIES[name]
    if "Params" not in vars(strategy):
        return set()  # it has those of the strategy that it is made of
    inherited = set(Params.model_fields)
    for base in strategy.Params.__mro__[1:]:
        if base is not Params and hasattr(base, "model_fields"):
            inherited |= set(base.model_fields) - {"recovery"}
    return set(strategy.Params.model_fields) - inherited


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_has_a_section_with_its_paper_and_its_parameters(name):
    text = section(name)
    identifier = re.search(r"arXiv:\d{4}\.\d{5}|doi:[\w./]+\w", STRATEGIES[name].citation)
    assert identifier[0] in text
    assert f"](#{name})" in PAGE or f"](#{name}-and" in PAGE or f"-{name})" in PAGE
    missing = {field for field in own(name) if f"`{field}`" not in text}
    assert missing == set()


def table_rows(name):
    """Yield parameter and default of each row of the section's tables that tells of one parameter."""
    for table in re.findall(r"^\|[-:| ]+\|\n((?:\|.*\n)+)", section(name), re.M):
        for row in table.splitlines():
            first, *rest = (cell.strip() for cell in row.strip("|").split(" | "))
            if rest and re.fullmatch(r"`\w+`", first):
                yield first.strip("`"), rest[0].strip("` ")


@pytest.mark.parametrize("name", STRATEGIES)
def test_defaults_in_tables_are_those_of_the_code(name):
    defaults = {field: info.default for field, info in STRATEGIES[name].Params.model_fields.items()}
    for field, told in table_rows(name):
        if field not in defaults:
            continue  # a measurement's table
        value = defaults[field]
        number = re.match(r"-?[\d.]+(?:e-?\d+)?(?![\w-])", told)
        if field == "learning_rate" and number:
            rates, tokens = STRATEGIES[name].learning_rates, re.search(r"tokens ([\d.]+)", told)
            assert float(number[0]) == rates[TaskKind.SEQUENCE_CLASSIFICATION]
            assert float((tokens or number)[tokens is not None]) == rates[TaskKind.TOKEN_CLASSIFICATION]
        elif isinstance(value, bool):
            assert told == str(value).lower()
        elif isinstance(value, int | float):
            assert number, f"{name}: {field}: {told}"
            assert float(number[0]) == value, f"{name}: {field}"
        elif isinstance(value, str):
            assert told.startswith(value), f"{name}: {field}"


def test_the_rates_of_what_trains_all_weights_are_those_of_the_code():
    texts, tokens = re.search(r"by default: (\S+), and (\S+) for tokens", PAGE).groups()
    assert float(texts) == FINE_TUNING_RATES[TaskKind.SEQUENCE_CLASSIFICATION]
    assert float(tokens) == FINE_TUNING_RATES[TaskKind.TOKEN_CLASSIFICATION]


def test_every_search_space_is_in_the_documentation_of_tuning():
    page = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `([\w-]+)` \| `(\w+)` \| (.+) \|$", page, re.M)
    declared = [
        (name, parameter, str(values))
        for name, strategy in STRATEGIES.items()
        for parameter, values in strategy.search.items()
    ]
    assert told == declared

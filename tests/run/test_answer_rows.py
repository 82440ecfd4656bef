"""With a file of answers as the teacher, rows start from the base model, and what needs a model is not applicable."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kdbench.config import RunConfig
from kdbench.errors import UsageError
from kdbench.registry import Registry
from kdbench.run.plan import Plan, State, make_plan
from kdbench.tune.studies import plan_searches

Settings = Callable[..., RunConfig]


@pytest.fixture
def plan(make_config: Settings, registry: Registry, tmp_path: Path) -> Callable[..., Plan]:
    def of(*strategies: str, label: str = "positive") -> Plan:
        path = tmp_path / "answers.jsonl"
        path.write_text("".join(json.dumps({"id": number, "label": label}) + "\n" for number in range(100)))
        config = make_config(strategy=list(strategies), teacher=str(path))
        return make_plan(config, registry, fetch=True)

    return of


def test_rows_and_controls_start_from_the_base_model(plan: Callable[..., Plan]) -> None:
    cells = plan("vanilla-kd", "bilstm-kd").cells
    assert {str(cell.row.spec) for cell in cells} == {
        "finetune",
        "vanilla-kd[init=base,transfer=answered]",
        "vanilla-kd[alpha=1.0,init=base,transfer=answered]",
        "hard-labels[init=base]",
        "bilstm-kd[augmentation=false]",
        "bilstm",
    }
    assert all(cell.state is State.PENDING for cell in cells)


def test_parameters_of_the_user_stay(plan: Callable[..., Plan]) -> None:
    names = {str(cell.row.spec) for cell in plan("vanilla-kd[transfer=none]+int8").cells}
    assert "vanilla-kd[init=base]+int8" in names


def test_a_student_of_another_width_starts_from_random_weights_as_under_any_teacher(
    plan: Callable[..., Plan],
) -> None:
    names = {str(cell.row.spec) for cell in plan("vanilla-kd[hidden_size=16]").cells}
    assert "vanilla-kd[hidden_size=16,transfer=answered]" in names
    assert "hard-labels[hidden_size=16]" in names


def test_hidden_states_are_not_in_a_file(plan: Callable[..., Plan]) -> None:
    cells = {cell.row.strategy.name: cell for cell in plan("tinybert", "lora").cells}
    assert cells["tinybert"].state is State.NOT_APPLICABLE
    assert cells["tinybert"].reason is not None
    assert "vanilla-kd" in cells["tinybert"].reason
    assert cells["lora"].state is State.PENDING


def test_keys_follow_the_contents(plan: Callable[..., Plan]) -> None:
    first, again, other = plan("lora"), plan("lora"), plan("lora", label="negative")
    assert [cell.key for cell in first.cells] == [cell.key for cell in again.cells]
    assert {cell.key for cell in first.cells}.isdisjoint(cell.key for cell in other.cells)


def test_a_wrong_file_ends_the_plan(
    plan: Callable[..., Plan], make_config: Settings, registry: Registry
) -> None:
    with pytest.raises(UsageError, match=r"answers\.jsonl, line 1: the label 'maybe' is none"):
        plan("vanilla-kd", label="maybe")
    config = make_config(strategy=["vanilla-kd"], teacher="missing.jsonl")
    with pytest.raises(UsageError, match=r"missing\.jsonl does not exist"):
        make_plan(config, registry, fetch=True)


def test_parameters_are_not_searched_with_answers(make_config: Settings, registry: Registry) -> None:
    config = make_config(strategy=["vanilla-kd"], teacher="answers.csv")
    with pytest.raises(UsageError, match=r"--teacher answers\.csv: parameters cannot be searched"):
        plan_searches(config, registry, None)

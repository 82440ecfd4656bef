"""The Strategy contract: a recipe that turns a base model and a task into a deployable model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from kdbench.kinds import TaskKind
from kdbench.spec import StrategySpec

if TYPE_CHECKING:
    from torch import nn

    from kdbench.task import Task
    from kdbench.training.bench import Bench

FINE_TUNING_RATES: Mapping[TaskKind, float] = {
    TaskKind.SEQUENCE_CLASSIFICATION: 2e-4,
    TaskKind.SEQUENCE_REGRESSION: 2e-4,
    TaskKind.TOKEN_CLASSIFICATION: 3e-4,
}
"""Peak learning rates for training all weights of a small encoder, chosen on a validation part."""


class Params(BaseModel):
    """What every strategy lets its user set; a strategy adds fields of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    learning_rate: float | None = Field(
        None, gt=0, description="peak learning rate; by default the strategy's own for the task's kind"
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW's decoupled weight decay")
    warmup: float = Field(
        0.1, ge=0, lt=1, description="share of the steps over which the rate rises linearly"
    )
    dropout: float | None = Field(
        None, ge=0, lt=1, description="hidden and attention dropout; by default the base model's own"
    )
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    patience: int | None = Field(
        None, ge=1, description="stop after this many validations without a better score; by default train on"
    )


class StudentParams(Params):
    """What every strategy that trains a smaller student lets its user set."""

    layers: int | tuple[int, ...] = Field(
        3, description="transformer layers kept: how many (evenly spaced), or which ones, counted from 0"
    )
    hidden_size: int | None = Field(
        None, gt=0, description="the student's width; another than the base's means random initialization"
    )
    init: str = Field(
        "teacher",
        pattern="^(teacher|base|random)$",
        description="where the student's layers come from: teacher, base or random",
    )


_Params = Params  # the contract below has an attribute of that name


class Strategy(ABC):
    """A recipe that turns a base model and a task into a deployable model.

    The model that `finalize` returns answers ``model(**batch).logits``, writes itself by
    ``save_pretrained(folder)`` and comes back by ``type(model).from_pretrained(folder)``.
    """

    name: ClassVar[str]
    """What the user types: lower case, digits and dashes."""
    title: ClassVar[str]
    """One line for tables."""
    reference: ClassVar[str]
    """The paper: authors, year, title, identifier."""
    family: ClassVar[str] = "other"
    """Groups rows on a board: ``fine-tuning``, ``distillation``, ``parameter-efficient`` …"""
    kinds: ClassVar[frozenset[TaskKind]] = frozenset(TaskKind)
    """The task kinds that it serves."""
    is_reference: ClassVar[bool] = False
    """Whether its row is the teacher's own: it then runs for every task of a matrix, and first."""
    uses_teacher: ClassVar[bool] = False
    """Whether `fit` reads ``bench.teacher`` or its outputs; such a cell waits for its teacher."""
    learning_rates: ClassVar[Mapping[TaskKind, float]] = FINE_TUNING_RATES
    """The default peak learning rate by kind of task."""

    Params: ClassVar[type[_Params]] = _Params
    """The parameters that the user may set; every one has a default."""

    def __init__(self, params: _Params) -> None:
        self.params = params

    def applies(self, task: Task) -> str | None:
        """Return why the strategy cannot run on `task`, or None where it can; `kinds` is checked before."""
        return None

    def control(self) -> StrategySpec | None:
        """Return the strategy that differs from this one in nothing but the idea under test, if there is one."""
        return None

    @abstractmethod
    def fit(self, bench: Bench) -> nn.Module:
        """Train and return a model."""

    def finalize(self, model: nn.Module, bench: Bench) -> nn.Module:
        """Return `model` in the form that would be deployed (merged, cut, quantized)."""
        return model


def student_params(params: StudentParams) -> dict[str, object]:
    """Return those fields of `params` that describe a student and were set away from the defaults."""
    return {
        name: value
        for name in StudentParams.model_fields
        if (value := getattr(params, name)) != StudentParams.model_fields[name].default
    }

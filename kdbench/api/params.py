"""The parameters that strategies let their users set, and the default learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kdbench.api.task import TaskKind

FINE_TUNING_RATES: Mapping[str, float] = {kind: kind.learning_rate for kind in TaskKind}
"""Peak learning rates for training all weights of a small encoder, chosen on a validation part."""


def default_rate(rates: Mapping[str, float], kind: TaskKind) -> float:
    """Return the learning rate of a strategy whose own by kind of task are `rates`.

    A plugin's kind that `rates` does not name has its own fine-tuning rate, times what the strategy takes in sequence
    classification over what fine-tuning takes there.
    """
    if kind in rates:
        return rates[kind]
    known = TaskKind.SEQUENCE_CLASSIFICATION
    return kind.learning_rate * rates.get(known, known.learning_rate) / known.learning_rate


class Params(BaseModel):
    """What every strategy lets its user set; a strategy adds fields of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    without_effect: ClassVar[frozenset[str]] = frozenset()
    """Fields that do nothing here, and may not be set: another row of the same model would show nothing."""

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
    new_layers: Literal["normal", "xavier"] = Field(
        "normal",
        description="how new layers start: normal, as the base model's own were drawn, or xavier (Glorot uniform)",
    )

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> Params:
        for name, field in type(self).model_fields.items():
            if name in self.without_effect and getattr(self, name) != field.default:
                raise ValueError(f"{name} has no effect on this strategy; leave it out")
        return self


class UntrainedParams(Params):
    """What a strategy that takes no gradient step lets its user set: fields of its own, and nothing of `Params`."""

    without_effect = frozenset(Params.model_fields)


class StudentParams(Params):
    """What every strategy that trains a smaller student lets its user set."""

    layers: int | tuple[int, ...] = Field(
        3, description="transformer layers kept: how many (evenly spaced), or which ones, counted from 0"
    )
    hidden_size: int | None = Field(
        None, gt=0, description="the student's width; another than the base's means random initialization"
    )
    intermediate_size: int | None = Field(
        None,
        gt=0,
        description="the width within a layer's feed-forward part, by default in proportion to hidden_size; another than "
        "the base's means random initialization",
    )
    init: Literal["teacher", "base", "random"] = Field(
        "teacher",
        description="where the student's layers come from: teacher, base or random",
    )


def params_of(params: Params, kind: type[Params]) -> dict[str, object]:
    """Return those fields of `params` that `kind` has, too, and that were set away from the defaults of `kind`."""
    return {
        name: value
        for name, field in kind.model_fields.items()
        if name in type(params).model_fields
        and (value := getattr(params, name)) != field.get_default(call_default_factory=True)
    }

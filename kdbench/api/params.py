"""Define the parameters that users may set on strategies, and the default learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kdbench.api.task import TaskKind

FINE_TUNING_RATES: Mapping[str, float] = {kind: kind.learning_rate for kind in TaskKind}
"""Peak learning rates for fine-tuning all weights of a small encoder, chosen on a validation split."""


def default_rate(rates: Mapping[str, float], kind: TaskKind) -> float:
    """Return a strategy's default learning rate for tasks of `kind`, given its `rates` by kind.

    For a kind that `rates` does not name, it is the kind's own fine-tuning rate times the ratio of the strategy's rate
    to the fine-tuning rate in sequence classification.
    """
    if kind in rates:
        return rates[kind]
    known = TaskKind.SEQUENCE_CLASSIFICATION
    return kind.learning_rate * rates.get(known, known.learning_rate) / known.learning_rate


class Params(BaseModel):
    """Parameters of every strategy; a strategy adds its own by subclassing."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    without_effect: ClassVar[frozenset[str]] = frozenset()
    """Fields that have no effect on this strategy and may not be set, since rows that differ in them would be equal."""

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
        None,
        ge=1,
        description="stop after this many validations without a better score; by default the budget's",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none",
        description="weights of the labels in the loss against labels: none, or balanced, inverse to their frequency in train",
    )
    focal_gamma: float = Field(
        0.0,
        ge=0,
        description="that loss is multiplied by (1 - p)^gamma, p being the probability of the right answer (focal loss)",
    )
    new_layers: Literal["normal", "xavier"] = Field(
        "normal",
        description="how new layers start: normal, as the base model's own were drawn, or xavier (Glorot uniform)",
    )

    def identity(self) -> dict[str, object]:
        """Return the fields that a model's quality depends on, as keys hash them: see `identity_of_params`."""
        return identity_of_params(self.model_dump(mode="json"))

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> Params:
        for name, field in type(self).model_fields.items():
            if name in self.without_effect and getattr(self, name) != field.default:
                raise ValueError(f"{name} has no effect on this strategy; leave it out")
        return self


def identity_of_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return `params` without those that came later and are not set, so that keys made before stay."""
    fields = StudentParams.model_fields
    return {
        name: value
        for name, value in params.items()
        if name not in _LATER_FIELDS or value != fields[name].default
    }


_LATER_FIELDS = frozenset({"class_weights", "focal_gamma", "student"})
"""Fields that the first versions' keys and records lack."""


class UntrainedParams(Params):
    """Parameters of a strategy that takes no gradient steps: its own fields; those of `Params` may not be set."""

    without_effect = frozenset(Params.model_fields)


class StudentParams(Params):
    """Parameters of every strategy that trains a smaller student."""

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
    student: str | None = Field(
        None,
        min_length=1,
        description="the student's own pretrained checkpoint, used whole instead of layers of another model: a folder, an "
        "embedded model or a hub id; it may have a tokenizer of its own",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> StudentParams:
        if self.student is None:
            return self
        for name in ("layers", "hidden_size", "intermediate_size", "init"):
            if getattr(self, name) != StudentParams.model_fields[name].default:
                raise ValueError(
                    f"{name} has no effect on a student of its own checkpoint, which is used whole; leave it out"
                )
        return self


def params_of(params: Params, kind: type[Params]) -> dict[str, object]:
    """Return the fields of `params` that also exist in `kind` and differ from the defaults of `kind`."""
    return {
        name: value
        for name, field in kind.model_fields.items()
        if name in type(params).model_fields
        and (value := getattr(params, name)) != field.get_default(call_default_factory=True)
    }

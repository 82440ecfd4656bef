"""Define the budgets: the examples, steps, batch size and seeds that are the same for every strategy."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import Enum
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from kdbench.api.kinds import TaskKind
from kdbench.errors import nearest, shown


class BackEnd(str, Enum):
    """An inference back end: PyTorch in eager mode or compiled, ONNX Runtime in float32 or 8-bit integers, or OpenVINO."""

    TORCH = "torch"
    TORCH_COMPILE = "torch-compile"
    ONNXRUNTIME = "onnxruntime"
    ONNXRUNTIME_INT8 = "onnxruntime-int8"
    OPENVINO = "openvino"

    __str__ = str.__str__

    @property
    def runtime(self) -> BackEnd:
        """The back end of the same program with float32 weights: speed-ups are stated within a runtime."""
        return BackEnd.ONNXRUNTIME if self is BackEnd.ONNXRUNTIME_INT8 else self

    @property
    def prepares_sizes(self) -> bool:
        """Whether the first call of a size also prepares code for it, which later calls use."""
        return self in (BackEnd.TORCH_COMPILE, BackEnd.OPENVINO)


ALWAYS_INSTALLED = (BackEnd.TORCH, BackEnd.ONNXRUNTIME, BackEnd.ONNXRUNTIME_INT8)
"""The back ends that every installation has."""

_CLASSIFICATION = TaskKind.SEQUENCE_CLASSIFICATION
_REGRESSION = TaskKind.SEQUENCE_REGRESSION
_TOKENS = TaskKind.TOKEN_CLASSIFICATION


class Budget(BaseModel):
    """The training examples, steps, batch size and seeds that are the same for every strategy."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    train_examples: int | None = Field(None, ge=8, description="labelled training examples; all if absent")
    validation_examples: int = Field(ge=4, description="examples held out of train, at most a fifth of it")
    scored_examples: int | None = Field(
        None, ge=8, description="examples of the evaluation split; all if absent"
    )
    noisy_examples: int = Field(
        1000, ge=1, description="scored examples that are predicted again with typing errors, at most"
    )
    steps: dict[str, PositiveInt] = Field(
        {}, description="optimizer steps per kind of task; if absent, max_epochs sets them"
    )
    batch_size: dict[str, PositiveInt] = Field(description="examples per step for each kind of task")
    teacher_factor: float = Field(
        1, ge=1, description="training steps of the teacher as a multiple of every other row's"
    )
    max_epochs: int | None = Field(None, ge=1, description="maximum number of epochs")
    max_length: int = Field(128, ge=8, description="tokens kept per text")
    window_stride: int | None = Field(
        None,
        ge=0,
        description="tokens that consecutive windows of a long text share: texts of more than max_length tokens are then read in"
        " windows instead of being cut; if absent, they are cut (long sentences of tagged words are split without overlap)",
    )
    window_pooling: Literal["mean", "max"] = Field(
        "mean", description="how a text's logits are made from those of its windows"
    )
    evaluations: int = Field(
        4, ge=1, description="validations during training; the best weights are restored"
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="training stops after this many validations without a better score; if absent, it never does",
    )
    seeds: int = Field(1, ge=1, description="number of seeds, unless the user sets it")
    latency_processes: int = Field(1, ge=1, description="fresh processes among which timed calls are divided")
    latency_rounds: int = Field(
        100, ge=20, description="timed calls per model and back end, at least, over all processes"
    )
    latency_seconds: float = Field(
        0,
        ge=0,
        description="seconds of timed calls per model and back end, at least; at most ten times the rounds",
    )
    latency_back_ends: tuple[BackEnd, ...] = Field(
        (BackEnd.TORCH,), description="back ends in which models are timed"
    )
    latency_grid: tuple[BackEnd, ...] = Field(
        (), description="back ends in which models are also timed at several batch sizes and lengths"
    )
    latency_grid_rounds: int = Field(7, ge=1, description="timed calls per model, size and length")
    latency_grid_seconds: float = Field(
        15,
        gt=0,
        description="seconds per model and back end for all sizes and lengths; slower combinations are left out",
    )
    latency_batch_rounds: int = Field(
        0, ge=0, description="timed batches per model and size, on all cores, for the throughput; 0: none"
    )

    serving_processes: int = Field(
        0,
        ge=0,
        exclude_if=lambda processes: processes == 0,  # records without it stay as they are
        description="fresh processes in which each model also serves requests, under load; 0: none",
    )

    @field_validator("steps", "batch_size")
    @classmethod
    def _names_kinds(cls, by_kind: dict[str, int]) -> dict[str, int]:
        if by_kind and _CLASSIFICATION not in by_kind:
            raise ValueError(
                f"must name {_CLASSIFICATION}, whose number applies to every kind that is not named"
            )
        for kind in by_kind:
            similar = get_close_matches(kind, list(TaskKind), n=1, cutoff=0.9)
            if similar and kind not in similar:
                raise ValueError(f"unknown kind of task {kind!r} (did you mean {str(similar[0])!r}?)")
        return {str(kind): number for kind, number in by_kind.items()}

    @model_validator(mode="after")
    def _limits_steps(self) -> Budget:
        if not self.steps and self.max_epochs is None:
            raise ValueError("must set steps or max_epochs")
        if self.window_stride is not None and self.window_stride > self.max_length // 2:
            raise ValueError(
                f"must have a window_stride of at most half its max_length, {self.max_length // 2}"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """Return the fields that a model's quality depends on: all but the number of seeds and the timing settings."""
        # Keys made before there were windows stay.
        of_windows = set() if self.window_stride is not None else {"window_stride", "window_pooling"}
        return self.model_dump(mode="json", exclude={"seeds", "serving_processes", *_LATENCY, *of_windows})

    @property
    def labels(self) -> int | None:
        """The label count that `at_labels` limited it to; None for a whole budget."""
        return split_label_count(self.name)[1]

    def at_labels(self, count: int) -> Budget:
        """Return this budget with only `count` labelled training examples, and at most as many for validation.

        The steps of a kind stay, whatever `max_epochs` says: what differs is the labels, not the compute.
        """
        name = f"{self.name}{_AT}{count}"
        return self.model_copy(update={"name": name, "train_examples": count, "max_epochs": None})

    def timed_in(self, back_ends: Iterable[BackEnd]) -> Budget:
        """Return this budget with models timed in `back_ends`, too."""
        wanted = {*self.latency_back_ends, *back_ends}
        return self.model_copy(update={"latency_back_ends": tuple(one for one in BackEnd if one in wanted)})

    def latency_settings(self) -> dict[str, Any]:
        """Return the fields that control how models are timed."""
        return self.model_dump(mode="json", include=_LATENCY)

    def steps_for(self, kind: str, train_examples: int) -> int:
        """Return the optimizer steps for a task, at most: those of its kind, but no more than `max_epochs` allows.

        A kind that the budget does not name (a plugin's) gets the steps of sequence classification.
        """
        limits = [_by_kind(self.steps, kind)] if self.steps else []
        if self.max_epochs is not None:
            limits.append(math.ceil(self.max_epochs * train_examples / self.batch_size_for(kind)))
        return min(limits)

    def batch_size_for(self, kind: str) -> int:
        """Return the examples per step for tasks of `kind`; for a kind not named, those of sequence classification."""
        return _by_kind(self.batch_size, kind)


LabelCount = int | Literal["all"]
"""A number of labelled training examples; ``all`` is the budget's own."""
_AT = "@"
"""Joins name and label count; no user's budget has it in its name."""
LEAST_LABELS = 8


def split_label_count(name: str) -> tuple[str, int | None]:
    """Return the name of the whole budget and the label count in `name`: ``quick`` and 16 for ``quick@16``."""
    match = re.fullmatch(rf"(.+){_AT}([1-9][0-9]{{0,8}})", name)
    return (match[1], int(match[2])) if match else (name, None)


def with_label_count(name: str, budgets: Mapping[str, Budget]) -> Budget:
    """Return the budget called `name`, which may end in a label count as ``quick@16`` does, out of `budgets`.

    Raises:
        ValueError: there is no such budget, it has no steps, or no more labelled examples than the count.
    """
    whole, count = split_label_count(name)
    if whole not in budgets:
        raise ValueError(f"unknown budget {shown(name)}{nearest(whole, list(budgets))}")
    budget = budgets[whole]
    if count is None:
        return budget
    if count < LEAST_LABELS:
        raise ValueError(f"{count} labels are too few; name a count of at least {LEAST_LABELS}")
    if not budget.steps:
        raise ValueError(
            f"budget {whole!r} limits training by max_epochs alone, which would leave {count} labels with a few steps; name"
            f" a budget that sets steps: standard, or one of your own based on {whole}"
        )
    if budget.train_examples is not None and count >= budget.train_examples:
        raise ValueError(
            f"budget {whole!r} has {budget.train_examples:,} labelled training examples; name a smaller count than"
            f" {count:,}, or all"
        )
    return budget.at_labels(count)


def _by_kind(numbers: Mapping[str, int], kind: str) -> int:
    return numbers[kind] if kind in numbers else numbers[_CLASSIFICATION]


_LATENCY = {name for name in Budget.model_fields if name.startswith("latency_")}

SERVING_PROCESSES = 3
"""The fewest whose differences give an interval; the `serving` of settings uses as many where a budget has none."""

_BATCH = dict.fromkeys((_CLASSIFICATION, _REGRESSION, _TOKENS), 32)

BUDGETS: dict[str, Budget] = {
    budget.name: budget
    for budget in (
        Budget(
            name="smoke",
            train_examples=64,
            validation_examples=16,
            scored_examples=64,
            steps={_CLASSIFICATION: 6, _REGRESSION: 6, _TOKENS: 6},
            batch_size={_CLASSIFICATION: 8, _REGRESSION: 8, _TOKENS: 8},
            max_length=64,
            evaluations=1,
            latency_rounds=20,
            latency_batch_rounds=2,
        ),
        Budget(
            name="quick",
            train_examples=2000,
            validation_examples=200,
            scored_examples=1000,
            noisy_examples=400,
            steps={_CLASSIFICATION: 200, _REGRESSION: 200, _TOKENS: 320},
            batch_size={_CLASSIFICATION: 8, _REGRESSION: 8, _TOKENS: 8},
            teacher_factor=2.5,
            max_epochs=6,
            max_length=48,
            evaluations=4,
            latency_rounds=75,  # an interval of the p95 needs 72
            latency_seconds=0.3,
            latency_batch_rounds=2,
        ),
        Budget(
            name="standard",
            train_examples=10_000,
            validation_examples=1000,
            steps=dict.fromkeys(_BATCH, 1563),  # five passes over 10,000 examples
            batch_size=_BATCH,
            max_epochs=20,
            evaluations=10,
            patience=3,
            seeds=3,
            latency_processes=5,
            latency_rounds=300,
            latency_seconds=1,
            latency_back_ends=ALWAYS_INSTALLED,
            latency_grid=(BackEnd.TORCH,),
            latency_grid_rounds=5,
            latency_grid_seconds=20,  # a process makes a call of each size that does not count
            latency_batch_rounds=5,
            serving_processes=SERVING_PROCESSES,
        ),
        Budget(
            name="full",
            validation_examples=1000,
            batch_size=_BATCH,
            max_epochs=5,
            evaluations=20,
            patience=6,
            seeds=5,
            latency_processes=10,
            latency_rounds=1000,
            latency_seconds=3,
            latency_back_ends=tuple(BackEnd),  # those that are not installed are absent, with the reason
            latency_grid=tuple(BackEnd),
            latency_grid_rounds=30,
            latency_grid_seconds=90,
            latency_batch_rounds=30,
            serving_processes=5,
        ),
    )
}
"""The budgets that come with kdbench, by name."""


def custom_budget(name: str, table: Mapping[str, Any]) -> Budget:
    """Return a user-defined budget: the one named by ``base`` (``standard`` by default) with the overrides in `table`.

    Steps and batch sizes of the kinds that `table` does not name are those of the base.

    Raises:
        ValueError: the name is not allowed, or the table has an unknown key or an invalid value; names the key.
    """
    if name in BUDGETS:
        raise ValueError(f"budgets.{name}: {name!r} is a built-in budget; choose another name")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ValueError(
            f"budgets.{name}: a budget's name may contain only lower-case letters, digits and hyphens"
        )
    overrides = {"base": "standard", **table}
    base = overrides.pop("base")
    if not isinstance(base, str) or base not in BUDGETS:
        raise ValueError(
            f"budgets.{name}.base: unknown budget {shown(base)}{nearest(str(base), list(BUDGETS))}"
        )
    fields = BUDGETS[base].model_dump()
    for key, value in overrides.items():
        by_kind = isinstance(value, Mapping) and isinstance(fields.get(key), Mapping)
        fields[key] = {**fields[key], **value} if by_kind else value
    try:
        return Budget.model_validate({**fields, "name": name})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["budgets", name, *map(str, first["loc"])])
        if first["type"] == "extra_forbidden":
            known = list(Budget.model_fields)
            raise ValueError(f"unknown setting {place!r}{nearest(str(first['loc'][0]), known)}") from None
        message = first["msg"][0].lower() + first["msg"][1:]
        raise ValueError(f"{place}: {message}, got {shown(first['input'])}") from None

"""Define the Strategy contract: a recipe that turns a base model and a task into a deployable model."""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kdbench.api.kind import EveryKind
from kdbench.api.params import FINE_TUNING_RATES, default_rate, params_of
from kdbench.api.params import Params as _Params
from kdbench.api.search import Range, Space
from kdbench.api.spec import StrategySpec
from kdbench.api.task import TaskKind

if TYPE_CHECKING:
    from torch import nn

    from kdbench.api.bench import Bench, TeacherOutput
    from kdbench.api.task import Task


class Strategy(ABC):
    """A recipe that turns a base model and a task into a deployable model.

    The model that `finalize` returns must return ``.logits`` from ``model(**batch)``, be saved by
    ``save_pretrained(folder)`` and be loaded by ``type(model).from_pretrained(folder)``.
    """

    name: ClassVar[str]
    """The name that users type: lower-case letters, digits and dashes."""
    title: ClassVar[str]
    """One line for tables; by default the first line of the class's docstring."""
    citation: ClassVar[str]
    """The paper: authors, year, title, identifier; by default the docstring's paragraph that starts with ``Citation:``."""
    family: ClassVar[str] = "other"
    """The group of rows on a board: ``fine-tuning``, ``distillation``, ``parameter-efficient`` …"""
    kinds: ClassVar[frozenset[TaskKind]] = EveryKind(TaskKind)
    """The task kinds that the strategy supports; by default all, including those of plugins."""
    freezes_base: ClassVar[bool] = False
    """Whether the base model's weights stay unchanged, so that a further task only adds the trained weights."""
    note: ClassVar[str] = ""
    """One sentence that readers of the board must know about the deployed model, such as that it cannot be merged."""
    on_request: ClassVar[bool] = False
    """Whether it runs only where it is named: globs, and so a run without names, leave it out. For variants of another
    strategy, and those that say nothing without a parameter."""
    is_teacher_row: ClassVar[bool] = False
    """Whether the strategy's row is the teacher itself; it then runs first, and for every task of a run."""
    teacher_outputs: ClassVar[TeacherOutput | None] = None
    """Which teacher outputs the losses read (with several stages, the most that any stage reads); None if none."""
    control: type[Strategy] | str | None = None
    """The control: a strategy that differs only in the idea under test. It is run, too, and the board compares the two.

    A class or a name without parameters inherits the parameters that both have; a name with parameters, such as
    ``finetune[steps=budget]``, is used as it is. Each has its own default learning rate, the best of those tried,
    because a common rate would handicap one of the two.
    """
    with_answers: ClassVar[Mapping[str, object]] = {}
    """The parameters that it takes, unless the user sets them, where the teacher is a file of answers and not a model."""
    answers_alone: ClassVar[Mapping[str, object]] = {}
    """The parameters with which it learns from answers without labels: where the teacher is a file of answers, a row of them
    is run, too. Empty for a strategy without such a row."""
    revision: ClassVar[int] = 1
    """Raised whenever the strategy does something else with the same parameters, so that its cells run again."""
    learning_rates: ClassVar[Mapping[str, float]] = FINE_TUNING_RATES
    """The default peak learning rate by kind of task; `default_rate` covers kinds that are not named."""

    search: ClassVar[Space] = {}
    """The values that ``kdbench tune`` tries, by parameter, besides the learning rate; see `search_space`."""

    Params: ClassVar[type[_Params]] = _Params
    """The parameters that users may set; all have defaults."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__doc__ is None:
            return
        text = inspect.cleandoc(cls.__doc__)
        if "title" not in vars(cls):
            cls.title = text.partition("\n")[0].removesuffix(".")
        match = re.search(r"^Citation:(.*?)(?:\n\s*\n|\Z)", text, re.DOTALL | re.MULTILINE)
        if "citation" not in vars(cls) and match:
            cls.citation = " ".join(match[1].split()).removesuffix(".")

    def __init__(self, params: _Params) -> None:
        self.params = params
        self.after: Strategy | None = None
        """The previous stage of the stack, whose model this one changes; only for transforms."""
        self.tuned: Mapping[str, object] | None = None
        """Those of `params` that ``kdbench tune`` found; None for a strategy that is not tuned."""

    @classmethod
    def uses_teacher(cls) -> bool:
        """Return whether the strategy learns from the teacher, so that its cells must wait for the teacher."""
        return cls.teacher_outputs is not None

    @property
    def stages(self) -> tuple[Strategy, ...]:
        """The strategies of the stack that ends with this one, first to last; only itself if there is no stack."""
        return (*(self.after.stages if self.after else ()), self)

    @classmethod
    def search_space(cls, kind: TaskKind) -> Space:
        """Return the values that ``kdbench tune`` tries on tasks of `kind`: `search`, and learning rates.

        The rates are those around the default rate for `kind`, unless `search` names others or the strategy, taking no
        gradient steps, has no rate.
        """
        if "learning_rate" in cls.search or "learning_rate" in cls.Params.without_effect:
            return cls.search
        return {"learning_rate": Range.around(default_rate(cls.learning_rates, kind)), **cls.search}

    def applies(self, task: Task) -> str | None:
        """Return why the strategy cannot run on `task`, or None if it can; `kinds` is checked before."""
        return None

    def input_files(self) -> tuple[Path, ...]:
        """Return the user's files that `fit` reads besides the task's; the cell runs again when their bytes change."""
        return ()

    @abstractmethod
    def fit(self, bench: Bench) -> nn.Module:
        """Train and return a model."""

    def finalize(self, model: nn.Module, bench: Bench) -> nn.Module:
        """Return `model` in its deployed form (adapters merged, pruned parts removed, weights quantized)."""
        return model


class Transform(Strategy):
    """A strategy that changes a model fitted before, by quantization or pruning, say.

    In a stack such as ``tinybert+int8`` it gets the model of the stages before it, saved and reloaded; alone, it gets
    the fine-tuned base model.
    """

    terminal: ClassVar[bool] = False
    """Whether no other transform can follow, because it returns a compiled graph, say."""

    @abstractmethod
    def transform(self, model: nn.Module, bench: Bench) -> nn.Module:
        """Return the changed model; `model` may be changed in place.

        Raises:
            UsageError: models of this class are not supported.
        """

    def fit(self, bench: Bench) -> nn.Module:
        """Transform the model that the stages before produced."""
        return self.transform(bench.fitted(), bench)


class JointStrategy(Strategy):
    """A strategy that trains on all tasks of a run jointly and returns one model per task."""

    @abstractmethod
    def fit_jointly(self, benches: Mapping[str, Bench]) -> Mapping[str, nn.Module]:
        """Train and return a model for each task in `benches`: the two or more tasks that the strategy supports."""

    def fit(self, bench: Bench) -> nn.Module:
        """Raise a TypeError, since joint training needs several tasks."""
        raise TypeError(f"{self.name} is fitted on all tasks at once")


def spec_of(strategy: Strategy) -> StrategySpec:
    """Return the spec of `strategy`: for each stage the name and the parameters that differ from the defaults.

    Parameters that a search found are in `StrategySpec.tuned` instead.
    """
    stages = [_spec_of_stage(stage) for stage in strategy.stages]
    if (
        len(stages) > 1
        and strategy.stages[0].is_teacher_row
        and stages[0] == StrategySpec(name=stages[0].name)
    ):
        stages = stages[1:]  # a transform without earlier stages changes the fine-tuned teacher
    return StrategySpec.of_stages(stages)


def _spec_of_stage(stage: Strategy) -> StrategySpec:
    found = stage.tuned
    chosen = {
        name: value
        for name, value in params_of(stage.params, type(stage.params)).items()
        if found is None or name not in found
    }
    return StrategySpec(name=stage.name, params=chosen, tuned=None if found is None else dict(found))

"""The Strategy contract: a recipe that turns a base model and a task into a deployable model."""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kdbench.api.kinds.base import EveryKind
from kdbench.api.params import FINE_TUNING_RATES, params_of
from kdbench.api.params import Params as _Params
from kdbench.api.spec import StrategySpec
from kdbench.api.task import TaskKind

if TYPE_CHECKING:
    from torch import nn

    from kdbench.api.bench import Bench, TeacherOutput
    from kdbench.api.task import Task


def _describe_by_docstring(cls: Any) -> None:
    """Take title and citation of a class from its docstring, where it states none of its own."""
    text = inspect.cleandoc(cls.__doc__ or "")
    if "title" not in vars(cls):
        cls.title = text.partition("\n")[0].removesuffix(".")
    named = re.search(r"^Citation:(.*?)(?:\n\s*\n|\Z)", text, re.DOTALL | re.MULTILINE)
    if "citation" not in vars(cls) and named:
        cls.citation = " ".join(named[1].split()).removesuffix(".")


class Strategy(ABC):
    """A recipe that turns a base model and a task into a deployable model.

    The model that `finalize` returns answers ``model(**batch).logits``, writes itself by
    ``save_pretrained(folder)`` and comes back by ``type(model).from_pretrained(folder)``.
    """

    name: ClassVar[str]
    """What the user types: lower case, digits and dashes."""
    title: ClassVar[str]
    """One line for tables; by default the first line of the class's docstring."""
    citation: ClassVar[str]
    """The paper: authors, year, title, identifier; by default the docstring's paragraph that begins with ``Citation:``."""
    family: ClassVar[str] = "other"
    """Groups rows on a board: ``fine-tuning``, ``distillation``, ``parameter-efficient`` …"""
    kinds: ClassVar[frozenset[TaskKind]] = EveryKind(TaskKind)
    """The task kinds that it serves; by default all, those of plugins included."""
    freezes_base: ClassVar[bool] = False
    """Whether the base model's weights stay as they are, so that one more task costs no more than what is trained."""
    note: ClassVar[str] = ""
    """What a reader of the board must know of the deployed model, in one sentence: that it cannot be merged, say."""
    is_teacher_row: ClassVar[bool] = False
    """Whether its row is the teacher's own: it then runs for every task of a matrix, and first."""
    teacher_outputs: ClassVar[TeacherOutput | None] = None
    """What the strategy's losses read of the teacher, the most of it where it trains in stages; None where it reads none."""
    control: type[Strategy] | str | None = None
    """The strategy that differs in nothing but the idea under test: it is run, too, and the board compares the two.

    A class or a bare name takes over those parameters that both have; a name with parameters, such as
    ``finetune[steps=budget]``, stands as it is. The default learning rate is either's own, the best of those tried: one
    rate for both would handicap one.
    """
    learning_rates: ClassVar[Mapping[str, float]] = FINE_TUNING_RATES
    """The default peak learning rate by kind of task; see `default_rate` for a kind that it does not name."""

    Params: ClassVar[type[_Params]] = _Params
    """The parameters that the user may set; every one has a default."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__doc__ is not None:
            _describe_by_docstring(cls)

    def __init__(self, params: _Params) -> None:
        self.params = params
        self.after: Strategy | None = None
        """The strategy whose model this one changes; only a transform has one."""

    @classmethod
    def uses_teacher(cls) -> bool:
        """Return whether the strategy learns from the teacher, so that its cells wait for one."""
        return cls.teacher_outputs is not None

    @property
    def stages(self) -> tuple[Strategy, ...]:
        """The strategies of the stack that ends with this one, first to last; itself alone where there is none."""
        return (*(self.after.stages if self.after else ()), self)

    def applies(self, task: Task) -> str | None:
        """Return why the strategy cannot run on `task`, or None where it can; `kinds` is checked before."""
        return None

    def input_files(self) -> tuple[Path, ...]:
        """Return the user's files, beside the task's, that `fit` reads; when their bytes change, the cell runs anew."""
        return ()

    @abstractmethod
    def fit(self, bench: Bench) -> nn.Module:
        """Train and return a model."""

    def finalize(self, model: nn.Module, bench: Bench) -> nn.Module:
        """Return `model` in the form that would be deployed (merged, cut, quantized)."""
        return model


class Transform(Strategy):
    """Changes a model that was fitted before: quantized, pruned, cut.

    In a stack such as ``tinybert+int8`` it gets what the stages before it made, saved and loaded again; named alone it
    gets the fine-tuned base model.
    """

    terminal: ClassVar[bool] = False
    """Whether no other transform can take what it returns (a compiled graph, say)."""

    @abstractmethod
    def transform(self, model: nn.Module, bench: Bench) -> nn.Module:
        """Return the changed model; `model` may be changed in place.

        Raises:
            UsageError: it cannot change a model of this class.
        """

    def fit(self, bench: Bench) -> nn.Module:
        """Transform the model that the stages before made."""
        return self.transform(bench.fitted(), bench)


class JointStrategy(Strategy):
    """Trains on every task of a run at once and returns a model for each."""

    @abstractmethod
    def fit_jointly(self, benches: Mapping[str, Bench]) -> Mapping[str, nn.Module]:
        """Return a model for each task; `benches` has the run's tasks that the strategy serves, two or more."""

    def fit(self, bench: Bench) -> nn.Module:
        """Refuse: one task alone is no joint training."""
        raise TypeError(f"{self.name} is fitted on all tasks at once")


def spec_of(strategy: Strategy) -> StrategySpec:
    """Return the name of `strategy` with those parameters that differ from the defaults, stage by stage."""
    stages = [_spec_of_stage(stage) for stage in strategy.stages]
    if len(stages) > 1 and strategy.stages[0].is_teacher_row and not stages[0].params:
        stages = stages[1:]  # a transform named alone changes the reference
    return StrategySpec.of_stages(stages)


def _spec_of_stage(strategy: Strategy) -> StrategySpec:
    return StrategySpec(name=strategy.name, params=params_of(strategy.params, type(strategy.params)))

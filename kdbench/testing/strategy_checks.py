"""Check that a strategy is what its contract says, on tiny data: every kind that it supports, three architectures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, wraps

import numpy as np
from torch import nn

from kdbench.api.search import Choice
from kdbench.api.strategy import JointStrategy, Strategy
from kdbench.api.task import TaskKind
from kdbench.errors import one_line, shown
from kdbench.models.cost import count_non_embedding, count_parameters
from kdbench.plugin_checks import checked_strategy
from kdbench.testing.laboratory import BUDGET, Laboratory
from kdbench.testing.parameter_checks import PARAMETER_CHECKS, rejection
from kdbench.testing.plain_import import import_without_torch
from kdbench.testing.report import Check, CheckError, NotApplicableError, ensure
from kdbench.testing.tiny_models import ARCHITECTURES
from kdbench.testing.trial import Case, Deployed, Rows, Trial, answers_of, try_strategy

_DRIFT = 1e-4
"""How far logits of float32 may differ where they should be equal: what a cell tolerates after loading."""
_HALF_DRIFT = 0.05
"""The same where weights have 16 bits: products of other shapes round otherwise."""
_ALONE = 4
"""How many texts, the shortest, are answered alone."""


class StrategySubject:
    """A strategy under check, and its trials, each made when a check first asks for it.

    Args:
        cases: what to try it on; by default every kind that it supports on every architecture.
    """

    def __init__(
        self,
        strategy: type[Strategy] | Strategy,
        laboratory: Laboratory,
        cases: Sequence[Case] | None = None,
    ) -> None:
        self.strategy_class = checked_strategy(strategy)
        self.params = strategy.params if isinstance(strategy, Strategy) else self.strategy_class.Params()
        self.laboratory = laboratory
        self._cases = cases

    def strategy(self) -> Strategy:
        """Return the strategy, made anew as in each cell."""
        return self.strategy_class(self.params)

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """What the strategy is tried on."""
        return tuple(self._cases or cases_of(self.strategy_class))

    @cached_property
    def trials(self) -> tuple[Trial, ...]:
        """The trial of each case."""
        return tuple(try_strategy(self.strategy(), case, self.laboratory) for case in self.cases)


def cases_of(strategy: type[Strategy], architectures: Sequence[str] = tuple(ARCHITECTURES)) -> Iterator[Case]:
    """Yield the cases of `strategy` on `architectures`; a joint strategy gets all its kinds at once."""
    kinds: list[TaskKind] = sorted(strategy.kinds)
    groups = [tuple(kinds)] if issubclass(strategy, JointStrategy) else [(kind,) for kind in kinds]
    for architecture in architectures:
        yield from (Case(architecture, group) for group in groups)


def _on_each_trial(check: Callable[[Trial], None]) -> Callable[[StrategySubject], None]:
    """Make a check of trials one of strategies: it holds where it holds for every case that the strategy supports."""

    @wraps(check)
    def on_all(subject: StrategySubject) -> None:
        reasons: list[str] = []
        for trial in subject.trials:
            try:
                if trial.refusal is not None:
                    raise NotApplicableError("not supported")  # `fits` says why
                check(trial)
            except CheckError as failure:
                raise CheckError(f"{trial.case}: {failure}") from None
            except NotApplicableError as reason:
                reasons.append(f"{trial.case}: {reason}")
        if len(reasons) == len(subject.trials):
            raise NotApplicableError(reasons[0])

    return on_all


def _on_each_model(check: Callable[[Deployed], None]) -> Callable[[StrategySubject], None]:
    """Make a check of deployed models one of strategies."""

    @wraps(check)
    def on_models(trial: Trial) -> None:
        if trial.error is not None:
            raise NotApplicableError(f"its {trial.stage} failed")
        for deployed in trial.deployed.values():
            check(deployed)

    return _on_each_trial(on_models)


def _need_fit(trial: Trial) -> None:
    if not trial.fitted:
        raise NotApplicableError("its fit failed")


def contract(subject: StrategySubject) -> None:
    """Its methods return what the contract says, its control exists, and its parameters can be searched."""
    strategy, registry = subject.strategy(), subject.laboratory.registry
    task = subject.laboratory.experiment(subject.cases[0].architecture, subject.cases[0].kinds[0]).task.task
    reason = strategy.applies(task)
    ensure(
        reason is None or (isinstance(reason, str) and reason.strip()),
        f"applies returned {shown(reason)}; return None, or a sentence that says why not",
    )
    for path in strategy.input_files():
        ensure(path.is_file(), f"input_files names {path}, which is no file; name files that exist")
    registry.base_control(strategy)
    for kind in sorted(strategy.kinds):
        for name, values in strategy.search_space(kind).items():
            bounds = values.values if isinstance(values, Choice) else (values.low, values.high)
            for value in bounds:
                problem = rejection(type(subject.params), {name: value})
                ensure(problem is None, f"search tries {name}={value}, which Params rejects: {problem}")


def import_is_light(subject: StrategySubject) -> None:
    """Importing its module does not import torch."""
    import_without_torch(subject.strategy_class)


def fits(subject: StrategySubject) -> str:
    """It returns a model for every kind of task that it supports, on one architecture at least."""
    refusals = []
    for trial in subject.trials:
        if trial.refusal is not None:
            refusals.append(f"{trial.case}: not supported: {trial.refusal}")
        elif trial.error is not None and trial.stage == "fit":
            raise CheckError(
                f"{trial.case}: fit raised {one_line(trial.error)}; correct it, or raise UsageError where it cannot work"
            )
    ensure(len(refusals) < len(subject.trials), f"it supports nothing that it was tried on: {refusals[:1]}")
    return "; ".join(refusals)


@_on_each_trial
def trains_within_the_budget(trial: Trial) -> None:
    """It takes no more optimizer steps, and reads no more examples, than the budget gives."""
    _need_fit(trial)
    steps = sum(BUDGET.steps_for(kind, 0) for kind in trial.case.kinds)
    runs = [run for bench in trial.benches.values() for run in bench.runs]
    taken = max(trial.seen.optimizer_steps, sum(run.steps for run in runs))
    ensure(
        taken <= steps,
        f"it took {taken} optimizer steps of {steps}; divide bench.train's `share` among stages",
    )
    examples = sum(run.examples for run in runs if run.steps)
    most = steps * BUDGET.batch_size_for(trial.case.kinds[0])
    ensure(examples <= most, f"it trained on {examples} examples of {most}; train by bench.train alone")


@_on_each_trial
def reports_its_training(trial: Trial) -> None:
    """Every optimizer step is one of bench.train, so that the record has its cost."""
    _need_fit(trial)
    runs = [run for bench in trial.benches.values() for run in bench.runs]
    reported = sum(run.steps for run in runs)
    if any(run.steps == 0 for run in runs):
        raise NotApplicableError("its fit without steps was counted by bench.count_fit")
    ensure(
        trial.seen.optimizer_steps <= reported,
        f"{trial.seen.optimizer_steps - reported} optimizer steps are in no training loop of the bench; use bench.train, or "
        "report them by bench.count_fit",
    )


@_on_each_trial
def stays_finite(trial: Trial) -> None:
    """Losses, trained weights and their gradients are finite."""
    _need_fit(trial)
    losses = [loss for loss in trial.seen.losses if not np.isfinite(loss)]
    ensure(not losses, f"a loss is {losses[:1]}; find the term that is not finite")
    for fitted in trial.fitted.values():
        ensure(
            not fitted.not_finite,
            f"{', '.join(fitted.not_finite[:3])}: not finite; lower the learning rate, or find the division by zero",
        )


def repeats_itself(subject: StrategySubject) -> None:
    """The same seed gives the same answers."""
    first = next((trial for trial in subject.trials if trial.error is None), None)
    if first is None:
        raise NotApplicableError("no trial came to its end")
    again = try_strategy(subject.strategy(), first.case, subject.laboratory)
    if again.error is not None:
        raise CheckError(f"{first.case}: the second time, {again.stage} raised {one_line(again.error)}")
    drift = max(
        largest_difference(deployed.answers, again.deployed[task].answers)
        for task, deployed in first.deployed.items()
    )
    ensure(
        drift <= _drift(next(iter(first.deployed.values())).model),
        f"{first.case}: a second fit with the same seed differs by {drift:.1e} in its logits; draw from "
        "bench.axis_seed('strategy')",
    )


@_on_each_trial
def leaves_scored_examples_alone(trial: Trial) -> None:
    """It does not read the scored examples."""
    readers = [place for bench in trial.benches.values() for place in bench.readers]
    ensure(
        not readers, f"{', '.join(readers[:1])} reads bench.task.scored; use task.train or task.validation"
    )


@_on_each_trial
def saves_and_loads(trial: Trial) -> None:
    """What finalize returns can be saved and loaded, and then answers alike."""
    _need_fit(trial)
    if trial.error is not None:
        raise CheckError(f"{trial.stage} raised {one_line(trial.error)}")
    for deployed in trial.deployed.values():
        drift = largest_difference(deployed.answers, deployed.loaded_answers)
        ensure(
            drift <= _DRIFT,
            f"after loading, logits differ by {drift:.1e}; save_pretrained must write everything that forward reads",
        )


@_on_each_model
def answers_every_input(deployed: Deployed) -> None:
    """It answers batches, single texts and the longest input with one row of finite logits per unit."""
    task = deployed.bench.experiment.task
    outputs = task.task.kind.outputs(task.task.labels)
    lengths = np.asarray(task.scored["length"])
    rows = [int(lengths.argmin()), int(lengths.argmax())]
    alone = [answers_of(deployed.loaded, deployed.bench, [row])[0] for row in rows]
    for logits in (*deployed.loaded_answers, *alone):
        ensure(
            logits.ndim == 2 and logits.shape[1] == outputs,
            f"a row's logits have the shape {logits.shape}, not (units, {outputs}); end with the head of bench.base()",
        )
        ensure(np.isfinite(logits).all(), "a logit is not finite")


@_on_each_model
def ignores_padding(deployed: Deployed) -> None:
    """A text has the same answer alone and in a padded batch."""
    model = deployed.loaded
    if getattr(model, "is_quantized", bool)():
        raise NotApplicableError("quantization at run time scales a batch as a whole")
    lengths = np.asarray(deployed.bench.experiment.task.scored["length"])
    shortest = np.argsort(lengths, kind="stable")[:_ALONE].tolist()
    alone = [answers_of(model, deployed.bench, [row])[0] for row in shortest]
    drift = largest_difference([deployed.loaded_answers[row] for row in shortest], alone)
    ensure(
        drift <= _drift(model),
        f"logits differ by {drift:.1e} when a text is answered alone; pass attention_mask on, and pool with it",
    )


@_on_each_trial
def counts_its_weights(trial: Trial) -> None:
    """The deployed model has the weights of its files and no others, and only trained ones are trainable."""
    _need_fit(trial)
    steps = sum(run.steps for bench in trial.benches.values() for run in bench.runs)
    for task, fitted in trial.fitted.items():
        ensure(
            not steps or fitted.trainable,
            "fit trained, and returned a model without trainable weights; leave requires_grad as it was in training",
        )
        if task not in trial.deployed:
            raise NotApplicableError(f"its {trial.stage} failed")
        deployed = trial.deployed[task]
        total, loaded = count_parameters(deployed.model), count_parameters(deployed.loaded)
        ensure(
            total == loaded,
            f"it has {total:,} weights after finalize, and {loaded:,} when it is loaded; return from finalize what is "
            "deployed, and nothing else",
        )
        ensure(
            count_non_embedding(deployed.model) <= total, "it has fewer weights than those outside embeddings"
        )


@_on_each_trial
def freezes_the_base(trial: Trial) -> None:
    """With `freezes_base`, what is not trained is the base model's, bit for bit."""
    _need_fit(trial)
    strategy = next(iter(trial.benches.values())).strategy
    if not strategy.freezes_base:
        raise NotApplicableError("freezes_base is not set")
    for fitted in trial.fitted.values():
        ensure(fitted.trainable < fitted.parameters, "all weights are trained; leave out freezes_base")
        ensure(
            not fitted.unlike_base,
            f"{', '.join(fitted.unlike_base[:3])}: not trained, and not of the base model; leave out freezes_base",
        )


@_on_each_trial
def stays_offline(trial: Trial) -> None:
    """It opens no connection."""
    tried = ", ".join(dict.fromkeys(trial.seen.connections))
    ensure(not tried, f"it tried to reach {tried}; read files that the user names, by input_files")


@_on_each_trial
def leaves_nothing_behind(trial: Trial) -> None:
    """It leaves no thread, process or file."""
    for what, left in (
        ("thread", trial.seen.threads),
        ("process", trial.seen.processes),
        ("file", trial.seen.files),
    ):
        ensure(
            not left, f"it leaves a {what} behind: {', '.join(left[:3])}; end or delete it before returning"
        )


@_on_each_trial
def leaves_global_state_alone(trial: Trial) -> None:
    """It changes no setting of the process and seeds no global random generator."""
    ensure(not trial.seen.changed, f"it changes {', '.join(trial.seen.changed[:3])}; restore it, or leave it")
    ensure(
        not trial.seen.seeded,
        f"{', '.join(trial.seen.seeded[:1])} seeds a global random generator by a number of its own; "
        "take bench.axis_seed('strategy')",
    )


def largest_difference(one: Rows, other: Rows) -> float:
    """Return the largest difference between two lists of logits; infinite where shapes differ or a value is no number."""
    if [logits.shape for logits in one] != [logits.shape for logits in other]:
        return float("inf")
    worst = max((float(np.abs(mine - its).max(initial=0)) for mine, its in zip(one, other, strict=True)))
    return worst if np.isfinite(worst) else float("inf")


def _drift(model: nn.Module) -> float:
    """Return how far the logits of `model` may differ between batches of other shapes."""
    halves = any(weight.dtype.itemsize < 4 for weight in model.parameters() if weight.is_floating_point())
    return _HALF_DRIFT if halves else _DRIFT


STRATEGY_CHECKS: tuple[Check[StrategySubject], ...] = (
    Check(contract),
    *PARAMETER_CHECKS,
    *map(
        Check,
        (
            import_is_light,
            fits,
            trains_within_the_budget,
            reports_its_training,
            stays_finite,
            repeats_itself,
            leaves_scored_examples_alone,
            saves_and_loads,
            answers_every_input,
            ignores_padding,
            counts_its_weights,
            freezes_the_base,
            stays_offline,
            leaves_nothing_behind,
            leaves_global_state_alone,
        ),
    ),
)
"""What is checked of every strategy, in this order."""

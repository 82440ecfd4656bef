"""Choose the parameters of a study's next trial, by Optuna's samplers.

The first trial is the defaults. The next ones are a scrambled Sobol sequence, which covers a small space more evenly than
random draws do, of which a few may leave the best eighth of the rates untried. From then on, the tree-structured Parzen
estimator learns from the earlier trials (Bergstra et al. 2011, section 4). A choice depends on nothing but the trials with
smaller numbers: an interrupted search goes on as if nothing had happened, with any number of workers.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kdbench.api.search import Range, Space
from kdbench.errors import UsageError
from kdbench.results.tuning import Trial
from kdbench.tune.space import SPREAD_TRIALS, StudySpace

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

_SEED = 20
_DIGITS = 3
"""Significant digits of a number that is tried."""


def check_optuna() -> None:
    """Raise a UsageError if Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise UsageError("kdbench tune needs Optuna, which is not installed; run pip install 'kdbench[tune]'")


def needed_trials(number: int) -> int:
    """Return how many earlier trials the choice of trial `number` depends on: none, or all."""
    return 0 if number <= 1 + SPREAD_TRIALS else number - 1


def suggest(searched: StudySpace, earlier: Sequence[Trial], number: int) -> dict[str, Any]:
    """Return the parameters of trial `number`, given the `needed_trials` before it in their order."""
    if number == 1:
        return {}
    if number <= 1 + SPREAD_TRIALS:
        space = searched.declared
        return _rounded(_spread_point(space, number - 2), space)
    space = searched.after(earlier)
    return _rounded(_learned_point(searched, space, earlier, number), space)


def _spread_point(space: Space, index: int) -> dict[str, Any]:
    """Return the point `index`, from 0, of the Sobol sequence in `space`."""
    from optuna.samplers import QMCSampler
    from optuna.trial import TrialState

    distributions = _distributions(space)
    # The sampler takes its space from an earlier trial.
    any_values = {
        name: values.low if isinstance(values, Range) else values.values[0] for name, values in space.items()
    }
    known = [_frozen(any_values, distributions, TrialState.PRUNED)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has been "experimental" since 2022
        sampler = QMCSampler(scramble=True, seed=_SEED)
    return _points(sampler, known, distributions, 1 + index)[index]


def _learned_point(
    searched: StudySpace, space: Space, earlier: Sequence[Trial], number: int
) -> dict[str, Any]:
    """Return the next point of `space` by the Parzen estimator; failed trials count as worse than any score."""
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    distributions = _distributions(space)
    known = []
    for trial in earlier:
        values = searched.values(trial)
        if values is not None:
            state = TrialState.PRUNED if trial.score is None else TrialState.COMPLETE
            known.append(_frozen(values, distributions, state, trial.score))
    sampler = TPESampler(seed=_SEED + number, n_startup_trials=0, multivariate=True)
    return _points(sampler, known, distributions, 1)[0]


def _points(
    sampler: BaseSampler, known: Sequence[FrozenTrial], distributions: dict[str, BaseDistribution], count: int
) -> list[dict[str, Any]]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(known)
    return [study.ask(distributions).params for _ in range(count)]


def _frozen(
    values: Any, distributions: dict[str, BaseDistribution], state: Any, score: float | None = None
) -> FrozenTrial:
    from optuna.trial import create_trial

    return create_trial(params=dict(values), distributions=distributions, state=state, value=score)


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    distributions: dict[str, BaseDistribution] = {}
    for name, values in space.items():
        if not isinstance(values, Range):
            distributions[name] = CategoricalDistribution(values.values)
        elif values.is_whole:
            distributions[name] = IntDistribution(int(values.low), int(values.high), log=values.log)
        else:
            distributions[name] = FloatDistribution(values.low, values.high, log=values.log)
    return distributions


def _rounded(point: dict[str, Any], space: Space) -> dict[str, Any]:
    """Return `point` with floats of few digits, which still lie within their ranges."""
    return {
        name: min(max(float(f"{value:.{_DIGITS}g}"), values.low), values.high)
        if isinstance(values := space[name], Range) and not values.is_whole
        else value
        for name, value in point.items()
    }

"""Ask what a strategy is compared with."""

from kdbench import Strategy, StrategySpec
from kdbench.plugins import load_plugins


def control_of(strategy: Strategy) -> StrategySpec | None:
    """Return the control of `strategy` among the installed strategies."""
    return load_plugins().control(strategy)

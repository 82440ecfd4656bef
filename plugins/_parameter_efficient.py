"""What the strategies that train few weights beside frozen ones share."""

from __future__ import annotations

from pydantic import Field

from kdbench import Params, Strategy, StrategySpec


class LongWarmUp(Params):
    """For what reaches every layer through new weights of its own beside a head that starts at random.

    With a tenth of the steps to warm up, they take the shortest way to the most frequent label before the head can tell
    labels apart, and do not come back: in tagging LoRA and adapters ended with no entity found at rates that text
    classification needs.
    """

    warmup: float = Field(
        0.5, ge=0, lt=1, description="share of the steps over which the rate rises linearly"
    )


class ParameterEfficient(Strategy):
    """Train few weights, and leave those of the base model as they are."""

    family = "parameter-efficient"
    leaves_base = True

    def control(self) -> StrategySpec:
        """Return the training of all weights in as many steps."""
        return StrategySpec(name="finetune", params={"steps": "budget"})

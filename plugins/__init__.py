"""The strategies that come with kdbench; they register as anyone's plugin does."""

from kdbench_plugins.finetune import FineTune
from kdbench_plugins.hard_labels import HardLabels
from kdbench_plugins.lora import LoRA
from kdbench_plugins.vanilla_kd import VanillaKD

from kdbench import Strategy, hookimpl


@hookimpl
def kdbench_strategies() -> list[type[Strategy]]:
    """Return the built-in strategies."""
    return [FineTune, HardLabels, VanillaKD, LoRA]

"""A plugin that returns things that are no strategies."""

from kdbench import hookimpl


class Recipe:
    name = "recipe"


@hookimpl
def kdbench_strategies():
    return [Recipe, "lora"]

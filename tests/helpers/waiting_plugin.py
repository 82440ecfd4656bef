"""A strategy that stays in the middle of its training until it is let go."""

import os
import time
from pathlib import Path

from kdbench import Strategy, hookimpl


class Waits(Strategy):
    """Goes on as soon as the file that LET_GO names is there."""

    name = "waits"
    title = "One that waits"
    citation = "Nobody 2026"

    def fit(self, bench):
        for step, loss in enumerate((2.0, 1.0, 0.5), start=1):
            bench.report("training", step, 8, loss)
            time.sleep(0.15)  # reports nearer to each other are not passed on
        while not Path(os.environ["LET_GO"]).exists():
            time.sleep(0.05)
        return bench.train(bench.base())


@hookimpl
def kdbench_strategies():
    return [Waits]

"""A plugin that brings a strategy whose name another distribution has."""

from kdbench import Strategy, hookimpl


class OtherMeanPool(Strategy):
    name = "mean-pool"
    title = "Another mean of word embeddings"
    citation = "Iyyer et al. 2015, Deep Averaging Networks"

    def fit(self, bench):
        return bench.train(bench.base())


@hookimpl
def kdbench_strategies():
    return [OtherMeanPool]

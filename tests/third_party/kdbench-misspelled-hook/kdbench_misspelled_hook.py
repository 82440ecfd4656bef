"""A plugin with one hook that kdbench knows and one that it does not."""

from kdbench import Strategy, hookimpl


class LongFineTuning(Strategy):
    name = "long-finetune"
    title = "Fine-tuning without weight decay"
    citation = "Devlin et al. 2019, BERT, arXiv:1810.04805"

    def fit(self, bench):
        return bench.train(bench.base())


@hookimpl
def kdbench_strategies():
    return [LongFineTuning]


@hookimpl
def kdbench_cell_finish(record):
    print(record.key)

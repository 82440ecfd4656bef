"""A strategy that keeps nothing of the encoder but its word embeddings, a task, and a column for the board."""

from pydantic import Field

from kdbench import Params, Strategy, TaskKind, hookimpl

from .tickets import SupportTickets


class MeanPoolParams(Params):
    frozen: bool = Field(
        False, description="keep the word embeddings as they are and train the classifier alone"
    )


class MeanPool(Strategy):
    name = "mean-pool"
    title = "Mean of the word embeddings, linear classifier"
    citation = "Iyyer et al. 2015, Deep Unordered Composition Rivals Syntactic Methods, ACL P15-1162"
    family = "baseline"
    kinds = frozenset({TaskKind.SEQUENCE_CLASSIFICATION})
    learning_rates = {TaskKind.SEQUENCE_CLASSIFICATION: 1e-3}
    Params = MeanPoolParams

    def fit(self, bench):
        from .model import MeanPoolModel

        model = MeanPoolModel.from_base(bench.base())
        model.embeddings.requires_grad_(not self.params.frozen)
        return bench.train(model)


@hookimpl
def kdbench_strategies():
    return [MeanPool]


@hookimpl
def kdbench_model_classes():
    return {"mean-pool": "kdbench_mean_pool.model:MeanPoolModel"}


@hookimpl
def kdbench_tasks():
    return [SupportTickets()]


@hookimpl
def kdbench_board_columns(table):
    return table[["artifact_bytes"]].div(1e6).rename(columns={"artifact_bytes": "artifact_mb"})

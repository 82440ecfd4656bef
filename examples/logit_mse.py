"""Distillation by the squared difference of logits."""

from pydantic import Field

from kdbench import Strategy, StudentParams, TaskKind, hookimpl


class LogitMSE(Strategy):
    """Squared difference of logits.

    Citation: Kim et al. 2021, Comparing Kullback-Leibler Divergence and Mean Squared Error Loss, arXiv:2105.08919.
    """

    class Params(StudentParams):
        alpha: float = Field(0.5, ge=0, le=1, description="weight of the teacher; 1 - alpha is the labels'")

    name = "logit-mse"
    family = "distillation"
    kinds = frozenset({TaskKind.SEQUENCE_CLASSIFICATION})
    teacher_outputs = "logits"
    control = "hard-labels"

    def fit(self, bench):
        from torch.nn.functional import mse_loss

        from kdbench import losses

        def loss(student, batch, teacher):
            hard = losses.task_loss(student.logits, batch["labels"])
            soft = mse_loss(student.logits.float(), teacher.logits.float())
            return self.params.alpha * soft + (1 - self.params.alpha) * hard

        return bench.train(bench.student(self.params), loss=loss)


@hookimpl
def kdbench_strategies():
    return [LogitMSE]

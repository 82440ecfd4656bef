"""Train a BiLSTM on labels alone (the control) or by distillation of logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from kdbench import IGNORED, Bench, Choice, Params, Range, Strategy, TaskKind

if TYPE_CHECKING:
    from torch import nn


class BiLSTMParams(Params):
    """Shape of the network, and the source of its embeddings."""

    init: Literal["teacher", "base", "random"] = Field(
        "base", description="source of the word-piece embeddings: base, the fine-tuned teacher, or random"
    )
    reduction: Literal["svd", "projection"] = Field(
        "svd",
        description="how embeddings are reduced: svd, before training, or projection, a trained linear layer",
    )
    embedding_size: int = Field(
        300, ge=1, description="width of the embeddings; at most that of the base model"
    )
    hidden_size: int = Field(
        300, ge=1, description="width of each direction's state; the paper tried 150 and 300"
    )
    dense_size: int = Field(200, ge=1, description="width of the ReLU layer; the paper tried 200 and 400")
    dropout: float = Field(
        0.1, ge=0, lt=1, description="dropout on the embeddings and before the output layer"
    )
    new_layers: Literal["normal", "xavier"] = Field(
        "normal",
        description="initialization of new layers: normal, PyTorch's default, or xavier (Glorot uniform)",
    )


class BiLSTM(Strategy):
    """Train a BiLSTM on the labels alone, the baseline for its distillation."""

    Params = BiLSTMParams
    name = "bilstm"
    title = "BiLSTM, labels alone (control)"
    citation = "Tang et al. 2019, Distilling Task-Specific Knowledge from BERT into Simple Neural Networks, arXiv:1903.12136"
    family = "control"
    learning_rates = {**dict.fromkeys(TaskKind, 1e-3), TaskKind.TOKEN_CLASSIFICATION: 3e-3}
    params: BiLSTMParams

    def fit(self, bench: Bench) -> nn.Module:
        """Return the network, trained on the labels."""
        from kdbench_plugins._bilstm_model import build_bilstm

        return bench.train(build_bilstm(bench, self.params))

    def finalize(self, model: nn.Module, bench: Bench) -> nn.Module:
        """Return the network with its learned projection merged into the embedding table."""
        return model.merge_projection()


class BiLSTMKD(BiLSTM):
    """Train a BiLSTM on the teacher's logits, for the training rows and variations of them."""

    class Params(BiLSTMParams):
        """The network, the weights of its losses, and data augmentation."""

        alpha: float | None = Field(
            None,
            ge=0,
            le=1,
            description="weight of the hard loss; 1 - alpha is that of the soft loss; by default 0, as in the paper, "
            "and 0.5 for tags",
        )
        augmentation: bool = Field(
            True, description="also train on variations of the training rows, labelled by the teacher"
        )
        copies: int = Field(
            1,
            ge=1,
            le=100,
            description="variations per training row; the paper makes 20, or 10 for larger sets, and trains far longer",
        )
        mask_rate: float = Field(
            0.1, ge=0, le=1, description="probability that a word of a variation is masked"
        )
        replace_rate: float = Field(
            0.1,
            ge=0,
            le=1,
            description="probability that a word of a variation is replaced instead of masked",
        )
        ngram_rate: float = Field(
            0.25,
            ge=0,
            le=1,
            description="probability that a variation is cut to an n-gram of one to five words",
        )

    name = "bilstm-kd"
    title = "Logit distillation into a BiLSTM"
    family = "distillation"
    teacher_outputs = "logits"
    control = BiLSTM
    learning_rates = dict.fromkeys(TaskKind, 1e-2)
    with_answers = {"augmentation": False}
    search = {"alpha": Range(0.0, 1.0), "augmentation": Choice((True, False))}
    params: Params

    def fit(self, bench: Bench) -> nn.Module:
        """Return the network, trained on alpha hard loss + (1 - alpha) mean squared difference of logits."""
        from kdbench_plugins._augmentation import augmented_rows
        from kdbench_plugins._bilstm_model import build_bilstm
        from torch.nn.functional import mse_loss

        p = self.params
        alpha = p.alpha if p.alpha is not None else 0.5 if bench.kind.per_word else 0.0
        rows = bench.task.train
        if p.augmentation:
            rows = augmented_rows(
                bench,
                copies=p.copies,
                seed=bench.seed,
                mask_rate=p.mask_rate,
                replace_rate=p.replace_rate,
                ngram_rate=p.ngram_rate,
            )

        def loss(student, batch, teacher):  # type: ignore[no-untyped-def]
            labels = batch["labels"]
            mask = labels != IGNORED if bench.kind.per_word else slice(None)
            soft = mse_loss(student.logits[mask].float(), teacher.logits[mask].float())
            return alpha * bench.kind.label_loss(student.logits, labels) + (1 - alpha) * soft

        return bench.train(build_bilstm(bench, p), loss=loss, rows=rows)

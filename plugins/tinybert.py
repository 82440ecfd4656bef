"""Distil embeddings, hidden states, attention and predictions (TinyBERT)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from kdbench import Bench, Range, Strategy, StudentParams, TaskKind, UsageError

if TYPE_CHECKING:
    import datasets
    from torch import nn
    from transformers import PretrainedConfig


class TinyBERT(Strategy):
    """Match the teacher's layers, then its predictions: task-specific distillation of Jiao et al. 2020, section 3.2."""

    class Params(StudentParams):
        """The student, the teacher layers it is matched to, and how the steps are split."""

        layer_map: tuple[int, ...] | None = Field(
            None,
            description="per student layer the teacher layer, counted from 1 (0: the embeddings); by default evenly "
            "spaced, the last matched to the last",
        )
        layer_share: float = Field(
            0.5, gt=0, lt=1, description="share of the steps that match layers; the rest match predictions"
        )
        layer_learning_rate: float = Field(5e-4, gt=0, description="peak learning rate of the layer stage")
        terms: Literal["relative", "absolute"] = Field(
            "relative",
            description="relative: divide the losses of states and of attention scores each by the teacher's mean square, "
            "so that both count; absolute: the paper's",
        )
        attention_weight: float = Field(
            1.0, ge=0, description="weight of the attention loss in the layer stage"
        )
        temperature: float = Field(
            1.0, gt=0, description="T, which divides the logits of both models in the prediction stage"
        )
        augmentation: bool = Field(
            False, description="also train on variations of the training rows, labelled by the teacher"
        )
        copies: int = Field(
            2,
            ge=1,
            le=100,
            description="variations per training row with augmentation; the paper makes 20",
        )

    name = "tinybert"
    title = "TinyBERT (task-specific stages)"
    citation = (
        "Jiao et al. 2020, TinyBERT: Distilling BERT for Natural Language Understanding, arXiv:1909.10351"
    )
    family = "distillation"
    teacher_outputs = "hidden_states"
    control = "hard-labels"
    learning_rates = dict.fromkeys(TaskKind, 2e-4)
    search = {
        "layer_learning_rate": Range.around(5e-4),
        "attention_weight": Range(0.1, 10.0, log=True),
    }
    params: Params

    def fit(self, bench: Bench) -> nn.Module:
        """Return the student, trained on the teacher's layers and then on its predictions."""
        from kdbench_plugins._layer_matching import stage_shares

        student = bench.student(self.params)
        rows = self._rows(bench)
        layers, predictions = stage_shares(bench, self.params.layer_share)
        self._match_layers(student, bench, rows, layers)

        def loss(student, batch, teacher):  # type: ignore[no-untyped-def]
            return bench.kind.soft_target_loss(
                student.logits, teacher.logits, batch["labels"], temperature=self.params.temperature
            )

        return bench.train(student, loss=loss, teacher_outputs="logits", rows=rows, share=predictions)

    def _match_layers(self, student: nn.Module, bench: Bench, rows: datasets.Dataset, share: float) -> None:
        """Train `student` on the sum of equations 7 to 9 over its layers and embeddings (equation 11, lambda 1)."""
        from kdbench_plugins._attention_vectors import TeacherAttention, attention_windows, read_attention
        from kdbench_plugins._layer_matching import attention_score_loss, hidden_state_loss

        config, teacher_config = student.config, bench.teacher.config
        self._check_heads(config, teacher_config)
        teacher_layers = self._teacher_layers(config.num_hidden_layers, teacher_config.num_hidden_layers)
        pairs = tuple(enumerate(teacher_layers, start=1))
        # Teacher layer 0, the embeddings, has no attention.
        attention_pairs = tuple((own, target) for own, target in pairs if target > 0)
        relative, weight = self.params.terms == "relative", self.params.attention_weight
        projections = _projections(config.hidden_size, teacher_config.hidden_size)
        teacher_attention = TeacherAttention(
            bench.teacher, {target for _, target in attention_pairs}, self.name, rotated=True
        )
        windows = attention_windows(student, bench.teacher, attention_pairs, self.name)

        def loss(student, batch, teacher):  # type: ignore[no-untyped-def]
            mask = batch["attention_mask"]
            states, targets = student.hidden_states, teacher.hidden_states
            total = hidden_state_loss(
                projections["embeddings"](states[0]), targets[0], mask, relative=relative
            )
            for own, target in pairs:
                total += hidden_state_loss(
                    projections["hidden"](states[own]), targets[target], mask, relative=relative
                )
            for own, target in attention_pairs:
                vectors = student_attention[own]
                total += weight * attention_score_loss(
                    vectors,
                    teacher_attention(target, targets, ("query", "key"), dtype=vectors.query.dtype),
                    mask,
                    heads=config.num_attention_heads,
                    relative=relative,
                    window=windows[own],
                )
            return total

        read_layers = [own for own, _ in attention_pairs]
        with read_attention(student, read_layers, self.name, rotated=True) as student_attention:
            bench.train(
                student,
                loss=loss,
                rows=rows,
                share=share,
                learning_rate=self.params.layer_learning_rate,
                keep="last",
                extra=projections,
            )

    def _rows(self, bench: Bench) -> datasets.Dataset:
        if not self.params.augmentation:
            return bench.task.train
        from kdbench_plugins._augmentation import augmented_rows

        return augmented_rows(bench, copies=self.params.copies, seed=bench.seed)

    def _teacher_layers(self, depth: int, teacher_depth: int) -> tuple[int, ...]:
        """Return per student layer the number of its teacher layer: ``layer_map``, or evenly spaced ones.

        Raises:
            UsageError: the length of ``layer_map`` is not `depth`, or a layer is beyond `teacher_depth`.
        """
        layers = self.params.layer_map
        if layers is None:
            return evenly_spaced_layers(depth, teacher_depth)
        if len(layers) != depth or not all(0 <= layer <= teacher_depth for layer in layers):
            raise UsageError(
                f"strategy 'tinybert': layer_map={list(layers)}: give a teacher layer from 1 to {teacher_depth}, "
                f"or 0 for its embeddings, for each of the student's {depth} layers"
            )
        return layers

    def _check_heads(self, student: PretrainedConfig, teacher: PretrainedConfig) -> None:
        heads, teacher_heads = student.num_attention_heads, teacher.num_attention_heads
        if heads != teacher_heads:
            raise UsageError(
                f"strategy 'tinybert': the student has {heads} attention heads and the teacher {teacher_heads}, but they "
                "are matched one to one; use minilm, or a teacher of the base model's shape"
            )


def evenly_spaced_layers(depth: int, teacher_depth: int) -> tuple[int, ...]:
    """Return per student layer the number of its teacher layer, the last matched to the last (section 3.2)."""
    return tuple(layer * teacher_depth // depth for layer in range(1, depth + 1))


def _projections(width: int, teacher_width: int) -> nn.ModuleDict:
    """Return W_e for the embeddings and W_h for the hidden states of all layers; the identity where widths agree."""
    from torch import nn

    def projection() -> nn.Module:
        return nn.Identity() if width == teacher_width else nn.Linear(width, teacher_width, bias=False)

    return nn.ModuleDict({"embeddings": projection(), "hidden": projection()})

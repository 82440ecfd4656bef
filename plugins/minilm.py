"""Distil self-attention relations between word pieces (MiniLM)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from kdbench import Bench, Range, Strategy, StudentParams, TaskKind, UsageError

if TYPE_CHECKING:
    from torch import nn


class MiniLM(Strategy):
    """Match the relations of queries, keys and values in one layer, then train on soft targets and labels.

    The papers distil a language model on unlabelled text and fine-tune the student afterwards (Wang et al. 2021,
    sections 3 and 4). Here a fine-tuned teacher is distilled on the task's texts, and training on soft targets and
    labels replaces fine-tuning.
    """

    class Params(StudentParams):
        teacher_layer: int | None = Field(
            None,
            ge=1,
            description="the teacher layer whose relations are matched, counted from 1; by default the last",
        )
        relation_heads: int | None = Field(
            None,
            ge=1,
            description="number of relation heads; by default that of the teacher's attention heads, of its keys where these are fewer",
        )
        relation_share: float = Field(
            0.5,
            gt=0,
            lt=1,
            description="share of the steps that match relations; the rest train on predictions",
        )
        relation_learning_rate: float | None = Field(
            None, gt=0, description="peak learning rate of the relation stage; by default learning_rate"
        )
        temperature: float = Field(
            2.0, gt=0, description="T, which divides the logits of both models in the prediction stage"
        )
        alpha: float = Field(
            0.7, ge=0, le=1, description="weight of the soft loss; 1 - alpha is that of the hard loss"
        )

    name = "minilm"
    title = "MiniLMv2 self-attention relations (task-specific)"
    citation = (
        "Wang et al. 2021, MiniLMv2: Multi-Head Self-Attention Relation Distillation for Compressing Pretrained "
        "Transformers, arXiv:2012.15828; Wang et al. 2020, MiniLM, arXiv:2002.10957"
    )
    family = "distillation"
    teacher_outputs = "hidden_states"
    control = "hard-labels"
    learning_rates = dict.fromkeys(TaskKind, 2e-4)
    search = {"relation_share": Range(0.1, 0.9), "relation_learning_rate": Range.around(2e-4)}
    params: Params

    def fit(self, bench: Bench) -> nn.Module:
        """Return the student, trained on its last layer's relations and then on predictions."""
        from kdbench_plugins._layer_matching import stage_shares

        alpha, temperature = self.params.alpha, self.params.temperature
        student = bench.student(self.params)
        relations, predictions = stage_shares(bench, self.params.relation_share)
        self._match_relations(student, bench, relations)

        def loss(student, batch, teacher):  # type: ignore[no-untyped-def]
            return bench.kind.distillation_loss(
                student.logits, teacher.logits, batch["labels"], temperature=temperature, alpha=alpha
            )

        return bench.train(student, loss=loss, teacher_outputs="logits", share=predictions)

    def _match_relations(self, student: nn.Module, bench: Bench, share: float) -> None:
        """Train `student` on the sum of the three relation losses (MiniLMv2, section 3.1)."""
        from kdbench_plugins._attention_vectors import TeacherAttention, read_attention
        from kdbench_plugins._layer_matching import relation_loss

        student_layer, teacher_layer = student.config.num_hidden_layers, self._teacher_layer(bench.teacher)
        teacher_attention = TeacherAttention(bench.teacher, [teacher_layer], self.name)
        heads = self._relation_heads(student, bench.teacher)  # only a model with attention has heads

        def loss(student, batch, teacher):  # type: ignore[no-untyped-def]
            own = student_attention[student_layer]
            target = teacher_attention(teacher_layer, teacher.hidden_states, dtype=own.query.dtype)
            return sum(
                relation_loss(getattr(own, name), getattr(target, name), batch["attention_mask"], heads=heads)
                for name in ("query", "key", "value")
            )

        with read_attention(student, [student_layer], self.name) as student_attention:
            bench.train(
                student,
                loss=loss,
                share=share,
                learning_rate=self.params.relation_learning_rate,
                keep="last",
            )

    def _teacher_layer(self, teacher: nn.Module) -> int:
        depth = teacher.config.num_hidden_layers
        layer = self.params.teacher_layer or depth
        if layer > depth:
            raise UsageError(
                f"strategy 'minilm': teacher_layer={layer}: the teacher has {depth} layers; set it to one from 1 to {depth}"
            )
        return layer

    def _relation_heads(self, student: nn.Module, teacher: nn.Module) -> int:
        from kdbench import structure

        own, target = (structure.attentions_of(model, self.name)[-1] for model in (student, teacher))
        heads = self.params.relation_heads or target.key_heads
        widths = own.key.size, target.key.size  # queries are as wide, or a multiple of it
        if any(width % heads for width in widths):
            raise UsageError(
                f"strategy 'minilm': {heads} relation heads do not divide both the student's width {widths[0]} and the "
                f"teacher's {widths[1]}; set relation_heads to a number that does"
            )
        return heads

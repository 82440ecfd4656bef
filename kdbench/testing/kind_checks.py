"""Check that a kind of task is what its contract says: labels, their encoding, losses, answers, and a training."""

from __future__ import annotations

import pickle
from dataclasses import is_dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from kdbench.api.metric import check_suits
from kdbench.api.task import TaskKind
from kdbench.errors import UsageError, one_line, shown
from kdbench.plugin_checks import checked_kind
from kdbench.testing.laboratory import Laboratory
from kdbench.testing.plain_import import import_without_torch
from kdbench.testing.report import Check, CheckError, ensure
from kdbench.testing.tiny_tasks import Labelling, labelling_of
from kdbench.testing.trial import Case, try_strategy

_LENGTH = 5
"""The word pieces of a row."""
_PIECES = 4
"""The labels of a row of a kind per word, whose rows have one label per piece."""


class KindSubject:
    """A kind under check, with labels that it accepts.

    Args:
        labelling: labels of a task and of its examples; by default they are found by asking the kind.
    """

    def __init__(self, kind: object, laboratory: Laboratory, labelling: Labelling | None = None) -> None:
        self.kind: TaskKind = checked_kind(kind)
        self.laboratory = laboratory
        self._labelling = labelling

    @cached_property
    def labelling(self) -> Labelling:
        """Labels that the kind accepts."""
        return self._labelling or labelling_of(self.kind)

    def encoded(self) -> list[Any]:
        """Return the encoded label of a row for each example's label."""
        ids = {label: index for index, label in enumerate(self.labelling.labels)}
        labels = [self.kind.encode_label(label, ids) for label in self.labelling.examples]
        return [[label] * _PIECES for label in labels] if self.kind.per_word else labels

    def batch(self, labels: list[Any]) -> Tensor:
        """Return the collated `labels`."""
        return self.kind.collate_labels(labels, _PIECES)

    def logits(self, rows: int) -> Tensor:
        """Return random logits for `rows` rows, with gradients."""
        outputs = self.kind.outputs(self.labelling.labels)
        shape = (rows, _PIECES, outputs) if self.kind.per_word else (rows, outputs)
        return torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()


def import_is_light(subject: KindSubject) -> None:
    """Importing its module does not import torch."""
    import_without_torch(type(subject.kind))


def survives_pickling(subject: KindSubject) -> None:
    """It equals its name, and its pickle is the same kind."""
    kind = subject.kind
    ensure(kind == kind.name, f"it does not equal its name {kind.name!r}; leave __eq__ and __new__ alone")
    ensure(
        type(pickle.loads(pickle.dumps(kind))) is type(kind),
        "its pickle is another class; define it at the top of a module",
    )


def judges_labels(subject: KindSubject) -> None:
    """A wrong label has a problem in one line, a right one has none, and both are told without an error."""
    kind, labelling = subject.kind, subject.labelling
    for label in labelling.examples:
        problem = kind.label_problem(label, labelling.labels)
        ensure(problem is None, f"the label {shown(label)} has the problem {problem!r}")
        names = list(kind.names([label] if kind.per_word else label))
        ensure(
            set(names) <= set(labelling.labels),
            f"names({shown(label)}) has {names}, not all labels of the task",
        )
    for label in (object(), None, "no such label", {"a": 1}):
        try:
            problem = kind.label_problem(label, labelling.labels)
        except Exception as error:
            raise CheckError(
                f"label_problem raised for {shown(label)}: {one_line(error)}; return what is wrong"
            ) from None
        ensure(
            isinstance(problem, str) and problem and "\n" not in problem,
            f"label_problem({shown(label)}) returned {shown(problem)}; return one line that says what is wrong",
        )
    placeholder = kind.placeholder(labelling.labels or ("",))
    ensure(
        kind.label_problem(placeholder, labelling.labels) is None,
        f"placeholder returned {shown(placeholder)}, which label_problem rejects; return a valid label",
    )


def stores_labels(subject: KindSubject) -> None:
    """Labels come back from their Arrow types as they were, before and after encoding."""
    for what, values, type_ in (
        ("stored_type", list(subject.labelling.examples), _stored_type(subject.kind)),
        ("encoded_type", subject.encoded(), subject.kind.encoded_type()),
    ):
        try:
            back = pa.array(values, type_).to_pylist()
        except pa.ArrowException as error:
            raise CheckError(f"{what} is {type_}, which does not fit {shown(values)}: {error}") from None
        ensure(back == values, f"{what} is {type_}, which makes {shown(back)} of {shown(values)}")


def _stored_type(kind: TaskKind) -> pa.DataType:
    stored = kind.stored_type()
    return stored.value_type if kind.per_word else stored


def collates_labels(subject: KindSubject) -> None:
    """A batch has one row of labels per example."""
    labels = subject.encoded()
    batch = subject.batch(labels)
    ensure(len(batch) == len(labels), f"collate_labels made {len(batch)} rows of {len(labels)} labels")


def learns_from_labels(subject: KindSubject) -> None:
    """The loss against labels is a finite scalar with a gradient; hidden labels add nothing to it."""
    labels = subject.encoded()
    logits = subject.logits(len(labels))
    loss = subject.kind.label_loss(logits, subject.batch(labels))
    ensure(_gradient(loss, logits, "label_loss").any(), "label_loss has no gradient")
    hidden = [subject.kind.hide_label(label) for label in labels]
    alone = float(subject.kind.label_loss(logits, subject.batch(hidden)).detach())
    ensure(alone == 0, f"label_loss of hidden labels alone is {alone}, not 0")
    twice = torch.cat([logits, logits]).detach()
    both = float(subject.kind.label_loss(twice, subject.batch(labels + hidden)))
    ensure(
        abs(both - loss.item()) < 1e-5,
        f"hidden labels change label_loss from {loss.item():.5f} to {both:.5f}; average over known labels",
    )


def learns_from_a_teacher(subject: KindSubject) -> None:
    """The loss against a teacher is a finite scalar, least where student and teacher agree, also without labels."""
    for labels in (subject.encoded(), [subject.kind.hide_label(label) for label in subject.encoded()]):
        student, batch = subject.logits(len(labels)), subject.batch(labels)
        teacher = -student.detach()

        def loss_of(student: Tensor, teacher: Tensor, batch: Tensor = batch) -> Tensor:
            return subject.kind.soft_target_loss(student, teacher, batch, temperature=2.0)

        apart = loss_of(student, teacher)
        ensure(
            _gradient(apart, student, "soft_target_loss").any(),
            "soft_target_loss has no gradient; hidden labels must count in it",
        )
        agreed = loss_of(student, student.detach()).item()
        ensure(agreed < apart.item(), "soft_target_loss is not least where student and teacher agree")


def _gradient(loss: Tensor, logits: Tensor, name: str) -> Tensor:
    ensure(
        loss.ndim == 0 and loss.isfinite(), f"{name} returned {shown(loss)}; return a finite scalar tensor"
    )
    (gradient,) = torch.autograd.grad(loss, logits)
    ensure(gradient.isfinite().all(), f"the gradient of {name} is not finite")
    return gradient


def decodes_answers(subject: KindSubject) -> None:
    """Decoded logits have the form of encoded labels, and an answer for users is a dataclass."""
    kind, labels = subject.kind, subject.labelling.labels
    units = [label[0] for label in subject.encoded()] if kind.per_word else subject.encoded()
    logits = subject.logits(len(units)).detach().numpy().astype(np.float32)
    logits = logits.reshape(-1, logits.shape[-1])[: len(units)]
    decoded = kind.decode(logits)
    ensure(
        decoded.shape == np.array(units).shape,
        f"decode made the shape {decoded.shape} of logits {logits.shape}; encoded labels have {np.array(units).shape}",
    )
    answer = kind.answer(logits[0], labels)
    ensure(
        is_dataclass(answer) and not isinstance(answer, type),
        f"answer returned {shown(answer)}; return a dataclass",
    )
    constant = kind.constant_logits(dict.fromkeys(labels, 1), labels) if labels else None
    ensure(
        constant is None or constant.shape == logits[0].shape,
        f"constant_logits has not the shape {logits[0].shape}",
    )


def has_a_metric(subject: KindSubject) -> None:
    """Its headline metric is registered and suits it."""
    try:
        check_suits(subject.kind.metric, subject.kind, subject.laboratory.registry.metrics)
    except UsageError as error:
        raise CheckError(f"{error}; register it in kdbench_metrics") from None


def can_be_trained(subject: KindSubject) -> None:
    """The base model is fine-tuned on a task of this kind, saved, loaded and scored."""
    registry = subject.laboratory.registry
    (row,) = [one.item for one in registry.strategies.values() if one.item.is_teacher_row]
    subject.laboratory.experiment("bert", subject.kind, subject.labelling)
    trial = try_strategy(row(row.Params()), Case("bert", (subject.kind,)), subject.laboratory)
    if trial.error is not None:
        raise CheckError(f"{trial.stage} raised {one_line(trial.error)}")


KIND_CHECKS: tuple[Check[KindSubject], ...] = tuple(
    map(
        Check,
        (
            import_is_light,
            survives_pickling,
            judges_labels,
            stores_labels,
            collates_labels,
            learns_from_labels,
            learns_from_a_teacher,
            decodes_answers,
            has_a_metric,
            can_be_trained,
        ),
    )
)
"""What is checked of every kind, in this order."""

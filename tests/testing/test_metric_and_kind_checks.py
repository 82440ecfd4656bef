"""Each check of metrics and kinds finds one that breaks its promise."""

import math

import numpy as np
import pytest

from kdbench import Metric, TaskKind
from kdbench.api.sequence_classification import SequenceClassification
from kdbench.testing.kind_checks import KIND_CHECKS
from kdbench.testing.metric_checks import METRIC_CHECKS
from kdbench.testing.report import Verdict
from kdbench.testing.subjects import of_kind, of_metric


class Share(Metric):
    """The share of right answers."""

    kinds = frozenset({TaskKind.SEQUENCE_CLASSIFICATION})

    def unit_statistics(self, answers):
        right = answers.predicted == answers.references
        return np.column_stack([right, np.ones(len(right))]).astype(float)


class InPercent(Share):
    name = "stays-in-its-range"

    def score(self, totals):
        return 100 * super().score(totals)


class CountsErrors(Share):
    name = "prefers-right-answers"

    def score(self, totals):
        return 1 - super().score(totals)


class Centred(Share):
    name = "sums-by-example"

    def unit_statistics(self, answers):
        rows = super().unit_statistics(answers)
        rows[:, 0] /= max(1, rows[:, 0].sum())
        return rows


class OfTheFirst(Share):
    name = "ignores-the-order"

    def unit_statistics(self, answers):
        rows = super().unit_statistics(answers)
        rows[:, 0] *= np.arange(len(rows)) / len(rows)
        return rows


class NeedsTwo(Share):
    name = "scores-one-example"

    def score(self, totals):
        return np.where(totals[..., 1] < 2, math.nan, super().score(totals))


class Sorts(Share):
    name = "changes-no-answer"

    def unit_statistics(self, answers):
        rows = super().unit_statistics(answers)
        answers.references.sort()
        return rows


@pytest.mark.parametrize("metric", Share.__subclasses__(), ids=lambda metric: metric.name)
def test_a_metric_that_breaks_a_promise_is_found(metric):
    (check,) = [check for check in METRIC_CHECKS if check.name == metric.name]
    assert check(of_metric(metric).subject).verdict is Verdict.FAILED


def test_every_check_of_metrics_is_broken_by_one_and_a_sound_one_passes():
    class Sound(Share):
        name = "sound"

    broken = {metric.name for metric in Share.__subclasses__()} - {"sound"}
    assert broken == {check.name for check in METRIC_CHECKS} - {"import-is-light"}
    assert of_metric(Sound).run().failures == ()


class Odd(SequenceClassification):
    """A kind that is fine by itself."""


class Renamed(Odd):
    name = "survives-pickling"

    def __reduce__(self):
        return str, ("survives-pickling",)


class Crashes(Odd):
    name = "judges-labels"

    def label_problem(self, label, labels):
        return None if label.strip() in labels else "it is unknown"


class Truncates(Odd):
    name = "stores-labels"

    def encode_label(self, label, ids):
        return ids[label] + 0.5


class DropsOne(Odd):
    name = "collates-labels"

    def collate_labels(self, labels, length):
        return super().collate_labels(labels[:-1], length)


class LearnsFromHidden(Odd):
    name = "learns-from-labels"

    def label_loss(self, logits, labels):
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits, labels.clamp(min=0))


class Repels(Odd):
    name = "learns-from-a-teacher"

    def soft_target_loss(self, student, teacher, labels, *, temperature):
        return -((student - teacher) ** 2).mean()


class AnswersText(Odd):
    name = "decodes-answers"

    def answer(self, logits, labels):
        return labels[logits.argmax()]


class Unmeasured(Odd):
    name = "has-a-metric"
    metric = "no-such-metric"


class Unheaded(Odd):
    name = "can-be-trained"
    auto_class = "AutoModelForMaskedLM"


@pytest.mark.parametrize("kind", Odd.__subclasses__(), ids=lambda kind: kind.name)
def test_a_kind_that_breaks_a_promise_is_found(kind):
    (check,) = [check for check in KIND_CHECKS if check.name == kind.name]
    assert check(of_kind(kind).subject).verdict is Verdict.FAILED


def test_every_check_of_kinds_is_broken_by_one():
    broken = {kind.name for kind in Odd.__subclasses__()}
    assert broken == {check.name for check in KIND_CHECKS} - {"import-is-light"}

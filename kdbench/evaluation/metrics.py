"""Define the metrics: each is a formula on sums over examples, so that a resample costs one matrix product.

Every score is a fraction, higher is better, and never NaN: where a formula would divide by zero (no entity anywhere,
constant answers), the score is 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from kdbench.api.kinds import TaskKind
from kdbench.api.metric import Answers, Floats, Metric, quotient
from kdbench.api.predictions import Predictions
from kdbench.errors import UsageError

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def check_iob2(labels: tuple[str, ...]) -> None:
    """Raise a UsageError unless every label is ``O``, ``B-type`` or ``I-type``."""
    for label in labels:
        if label != "O" and not label.startswith(("B-", "I-")):
            raise UsageError(
                f"entities are scored on IOB2 tags (O, B-type, I-type), but one label is {label!r}"
            )


def entity_ends(
    tags: Integers, labels: tuple[str, ...], offsets: Integers | None
) -> tuple[Integers, Integers]:
    """Return for each word the end of the entity that begins with it, and the word's entity type; both are (words,).

    An entity begins with B- only: an I- that continues no entity of its type belongs to none. The end is the index of
    the first word after the entity, and 0 for a word that begins none.

    Args:
        tags: (words,), indices of `labels`.
        labels: IOB2 tags.
        offsets: (sentences + 1,), the start of each sentence, then the number of words; None for a single sentence.
    """
    type_names = sorted({label[2:] for label in labels})
    types = np.array([type_names.index(label[2:]) for label in labels], dtype=np.int64)[tags]
    prefixes = np.array([label[:1] for label in labels], dtype=np.str_)[tags]
    # A run is a word and the I- words of its type that follow; it is an entity if that word is a B-.
    starts_run = (prefixes != "I") | (types != np.roll(types, 1))
    first_words = np.zeros(1, dtype=np.int64) if offsets is None else offsets
    starts_run[first_words[first_words < len(tags)]] = True
    next_run = np.append(np.flatnonzero(starts_run), len(tags))
    return np.where(prefixes == "B", next_run[np.cumsum(starts_run)], 0), types


class _ClassMetric(Metric):
    kinds = frozenset({TaskKind.SEQUENCE_CLASSIFICATION, TaskKind.TOKEN_CLASSIFICATION})


class Accuracy(_ClassMetric):
    """The share of units whose predicted class is correct; in token classification a unit is a word."""

    name = "accuracy"

    def unit_statistics(self, answers: Answers) -> Floats:
        """Return (units, 2): 1 for a correct answer else 0, and 1."""
        return _columns(answers.predicted == answers.references, np.ones(len(answers.references)))


class F1(_ClassMetric):
    """F1 of the positive class, which is the second of two labels."""

    name = "f1"
    kinds = frozenset({TaskKind.SEQUENCE_CLASSIFICATION})

    def check_labels(self, labels: tuple[str, ...]) -> None:
        """Raise a UsageError unless there are two labels."""
        if len(labels) != 2:
            raise UsageError(f"metric 'f1' needs two labels, but there are {len(labels)}; use 'macro-f1'")

    def unit_statistics(self, answers: Answers) -> Floats:
        """Return (units, 2): the terms of F1."""
        predicted, actual = answers.predicted == 1, answers.references == 1
        return _f1_terms(predicted & actual, predicted, actual)


class MacroF1(_ClassMetric):
    """The mean F1 over the classes that occur among predictions or labels."""

    name = "macro-f1"
    kinds = _ClassMetric.kinds | {TaskKind.MULTI_LABEL_CLASSIFICATION}

    def unit_statistics(self, answers: Answers) -> Floats:
        """Return (units, 2 * classes): the first F1 term of each class, then the second of each."""
        if answers.references.ndim == 2:
            predicted, actual = answers.predicted == 1, answers.references == 1
        else:
            classes = np.arange(len(answers.labels))
            predicted, actual = answers.predicted[:, None] == classes, answers.references[:, None] == classes
        return _f1_terms(predicted & actual, predicted, actual)

    def score(self, totals: Floats) -> Floats:
        """Return the mean F1."""
        numerators, denominators = np.split(totals, 2, axis=-1)
        f1 = quotient(numerators, denominators)
        return quotient(f1.sum(axis=-1), (denominators > 0).sum(axis=-1))


class MicroF1(Metric):
    """F1 over all labels of all texts together, in multi-label classification."""

    name = "micro-f1"
    kinds = frozenset({TaskKind.MULTI_LABEL_CLASSIFICATION})

    def unit_statistics(self, answers: Answers) -> Floats:
        """Return (texts, 2): the terms of F1, summed over a text's labels."""
        predicted, actual = answers.predicted == 1, answers.references == 1
        return _columns(2.0 * (predicted & actual).sum(axis=1), predicted.sum(axis=1) + actual.sum(axis=1))


class MeanAveragePrecision(Metric):
    """The mean over labels of average precision: how well each label's logits rank the texts, whatever the thresholds.

    Average precision is the sum over recall steps of precision at the step, without interpolation, equal logits being
    one step, as in scikit-learn. Labels that no text has do not count. A resample is ranked again.
    """

    name = "map"
    title = "Mean average precision over labels"
    kinds = frozenset({TaskKind.MULTI_LABEL_CLASSIFICATION})

    def statistics(self, predictions: Predictions, labels: tuple[str, ...]) -> Floats:
        """Return (texts, 1 + 2 * labels): each text's part of the score, then the logits, then 1 for each label it has."""
        ranked = _columns(predictions.logits, predictions.references == 1)
        once = np.ones((1, len(ranked)))
        parts = [_average_precision_parts(once, *columns)[0] for columns in _by_label(ranked)]
        counted = [part for part in parts if part.any()]
        return np.column_stack([np.mean(counted or [np.zeros(len(ranked))], axis=0), ranked])

    def unit_statistics(self, answers: Answers) -> Floats:
        """Raise: the score ranks logits, which answers lack; `statistics` reads them."""
        raise NotImplementedError

    def score(self, totals: Floats) -> Floats:
        """Return the score of all texts, the sum of their parts."""
        return np.asarray(totals[..., 0])

    def rescore(self, counts: Floats, statistics: Floats) -> Floats:
        """Return (resamples,): the mean over the labels that a resample has."""
        of_labels = [
            _average_precision_parts(counts, *columns).sum(axis=1) for columns in _by_label(statistics[:, 1:])
        ]
        return quotient(np.sum(of_labels, axis=0), np.sum([values > 0 for values in of_labels], axis=0))


def _by_label(ranked: Floats) -> Iterator[tuple[Floats, Floats]]:
    """Yield each label's logits and whether each text has it, from `ranked` (texts, 2 * labels)."""
    logits, actual = np.split(ranked, 2, axis=1)
    yield from zip(logits.T, actual.T, strict=True)


def _average_precision_parts(counts: Floats, logits: Floats, actual: Floats) -> Floats:
    """Return (resamples, texts): what each text adds to a label's average precision, drawn `counts` (resamples, texts) times."""
    order = np.argsort(-logits, kind="stable")
    hits = counts[:, order] * actual[order]
    # A text's precision is that of all texts down to the last one with the same logit.
    last = np.append(np.flatnonzero(np.diff(logits[order])), len(order) - 1)
    last = last[np.searchsorted(last, np.arange(len(order)))]
    precision = quotient(hits.cumsum(axis=1)[:, last], counts[:, order].cumsum(axis=1)[:, last])
    parts = np.empty_like(hits)
    parts[:, order] = quotient(hits * precision, hits.sum(axis=1, keepdims=True) * np.ones_like(hits))
    return parts


class Matthews(_ClassMetric):
    """Matthews' correlation of two or more classes (Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006)."""

    name = "matthews"
    score_range = (-1.0, 1.0)

    def unit_statistics(self, answers: Answers) -> Floats:
        """Return (units, 1 + 2 * classes): correct or not, then the predicted and the actual class, one-hot."""
        one_hot = np.eye(len(answers.labels))
        correct = answers.predicted == answers.references
        return _columns(correct, one_hot[answers.predicted], one_hot[answers.references])

    def score(self, totals: Floats) -> Floats:
        """Return the correlation, 0 where predictions or labels are all of one class."""
        correct = totals[..., 0]
        predicted, actual = np.split(totals[..., 1:], 2, axis=-1)
        count = actual.sum(axis=-1)
        covariance = correct * count - (predicted * actual).sum(axis=-1)
        variances = (count**2 - (predicted**2).sum(axis=-1)) * (count**2 - (actual**2).sum(axis=-1))
        return quotient(covariance, np.sqrt(variances))


class Pearson(Metric):
    """Pearson's correlation of predicted and actual values."""

    name = "pearson"
    score_range = (-1.0, 1.0)
    kinds = frozenset({TaskKind.SEQUENCE_REGRESSION})

    def unit_statistics(self, answers: Answers) -> Floats:
        """Return (units, 6): 1, x, y, x², y² and xy of the centred values."""
        x, y = answers.predicted.astype(np.float64), answers.references.astype(np.float64)
        # The median is close to the mean, so that sums keep their digits, and centres constants at exactly 0.
        x, y = x - np.median(x), y - np.median(y)
        return _columns(np.ones(len(x)), x, y, x * x, y * y, x * y)

    def score(self, totals: Floats) -> Floats:
        """Return the correlation, 0 where either side is constant."""
        count, x, y, xx, yy, xy = np.moveaxis(totals, -1, 0)
        variance_x, variance_y = count * xx - x * x, count * yy - y * y
        # In a resample of one repeated value, rounding leaves noise instead of a variance of zero.
        varies = (variance_x > 1e-12 * count * xx) & (variance_y > 1e-12 * count * yy)
        scale = np.sqrt(np.where(varies, variance_x * variance_y, 0.0))
        return np.clip(quotient(count * xy - x * y, scale), -1.0, 1.0)


class Spearman(Pearson):
    """Spearman's rank correlation, ties averaged; a resample is ranked again."""

    name = "spearman"

    def unit_statistics(self, answers: Answers) -> Floats:
        """Return (units, 6): the moments of the ranks."""
        from scipy.stats import rankdata  # takes half a second, which listing plugins must not

        ranks = Answers(rankdata(answers.predicted), rankdata(answers.references), answers.labels)
        return super().unit_statistics(ranks)

    def rescore(self, counts: Floats, statistics: Floats) -> Floats:
        """Return (resamples,): the correlation of the ranks that the drawn examples have among themselves."""
        x, y = (_ranked_again(counts, statistics[:, column]) for column in (1, 2))
        total = counts.sum(axis=1)
        moments = [total, *((counts * part).sum(axis=1) for part in (x, y, x * x, y * y, x * y))]
        return self.score(np.stack(moments, axis=-1))


class EntityF1(Metric):
    """Micro F1 of entities in strict IOB2: an entity is correct if its type and all of its words are."""

    name = "entity-f1"
    kinds = frozenset({TaskKind.TOKEN_CLASSIFICATION})

    def check_labels(self, labels: tuple[str, ...]) -> None:
        """Raise a UsageError unless every label is an IOB2 tag."""
        check_iob2(labels)

    def unit_statistics(self, answers: Answers) -> Floats:
        """Return (words, 2): the terms of F1, each entity counted at its first word."""
        ends, types = entity_ends(answers.predicted, answers.labels, answers.offsets)
        actual_ends, actual_types = entity_ends(answers.references, answers.labels, answers.offsets)
        correct = (ends > 0) & (ends == actual_ends) & (types == actual_types)
        return _f1_terms(correct, ends > 0, actual_ends > 0)


def _ranked_again(counts: Floats, values: Floats) -> Floats:
    """Return (resamples, examples): each example's centred rank among the drawn ones, by its `values` (examples,)."""
    _, places = np.unique(values, return_inverse=True)
    order = np.argsort(places, kind="stable")
    starts = np.searchsorted(places[order], np.arange(places.max() + 1))
    tied = np.add.reduceat(counts[:, order], starts, axis=1)
    # The mean rank of those tied: the ranks before, and half of their own.
    ranks: Floats = (tied.cumsum(axis=1) - (tied - 1) / 2)[:, places] - (
        counts.sum(axis=1, keepdims=True) + 1
    ) / 2
    return ranks


def _f1_terms(true_positives: Flags, predicted: Flags, actual: Flags) -> Floats:
    """Return (units, 2 * classes): what each unit adds to 2 * true positives and to predicted + actual positives.

    F1 is the quotient of the two sums.
    """
    return _columns(2.0 * true_positives, 1.0 * predicted + actual)


def _columns(*parts: npt.NDArray[Any]) -> Floats:
    return np.column_stack([part.astype(np.float64) for part in parts])


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Accuracy(),
        F1(),
        MacroF1(),
        MicroF1(),
        MeanAveragePrecision(),
        Matthews(),
        Pearson(),
        Spearman(),
        EntityF1(),
    )
}
"""kdbench's own metrics by name; they are registered like those of any plugin."""

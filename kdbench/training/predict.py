"""Compute a model's predictions on an encoded split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import datasets
import numpy as np
import torch
from torch import Tensor, nn

from kdbench.api.bench import model_inputs
from kdbench.api.kinds import IGNORED, TaskKind
from kdbench.api.predictions import Predictions
from kdbench.data.batches import Collator, Pooling
from kdbench.data.encoding import EncodedRows

BATCH_SIZE = 64


def predict(
    model: nn.Module,
    rows: datasets.Dataset | EncodedRows,
    collate: Collator,
    *,
    device: torch.device,
    precision: AbstractContextManager[object] | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
    thresholds: Sequence[float] | None = None,
) -> Predictions:
    """Return the predictions of `model` on `rows`, one per example, in the order of the rows.

    Consecutive rows that one long sentence was split into are joined.

    Args:
        precision: the autocast context; by default the precision of the weights.
        report: called after each batch with the number of rows done and the total.
        thresholds: those of the model's decisions, if any were chosen, see `Predictions`.
    """
    logits, labels = row_logits(model, rows, collate, device=device, precision=precision, report=report)
    return join_rows(rows, logits, labels, collate.kind, thresholds, collate.pooling)


def join_rows(
    rows: datasets.Dataset | EncodedRows,
    logits: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    kind: TaskKind,
    thresholds: Sequence[float] | None = None,
    pooling: Pooling = "mean",
) -> Predictions:
    """Join the result of `row_logits` on `rows` into predictions, one per example, for a task of `kind`.

    Of a text that is read in several windows, the logits are the mean or the largest over these.
    """
    examples = np.asarray(rows["example"], dtype=np.int64)
    starts = np.flatnonzero(np.diff(examples, prepend=-1))
    offsets = None
    if kind.per_word:
        units = np.add.reduceat([len(row) for row in labels], starts)
        offsets = np.concatenate([[0], np.cumsum(units)]).astype(np.int64)
    joined, references = np.concatenate(logits), np.concatenate(labels)
    if not kind.per_word and len(starts) < len(rows):
        joined, references = _pooled(joined, starts, pooling), references[starts]
    return predictions_of(
        kind,
        ids=examples[starts],
        logits=joined,
        references=references,
        offsets=offsets,
        thresholds=thresholds,
    )


def _pooled(logits: np.ndarray, starts: np.ndarray, pooling: Pooling) -> np.ndarray:
    """Return (examples, classes): the pooled `logits` (rows, classes) of each example, whose rows begin at `starts`."""
    if pooling == "max":
        return np.asarray(np.maximum.reduceat(logits, starts))
    windows = np.diff(starts, append=len(logits))
    return np.asarray(np.add.reduceat(logits, starts) / windows[:, None], dtype=np.float32)


def predictions_of(
    kind: TaskKind,
    *,
    ids: np.ndarray,
    logits: np.ndarray,
    references: np.ndarray,
    offsets: np.ndarray | None = None,
    thresholds: Sequence[float] | None = None,
) -> Predictions:
    """Return predictions for a task of `kind`; for a plugin's kind they contain the decoded answers besides logits.

    Where `kind` decides by thresholds and none were chosen, they are 0.
    """
    if thresholds is None and kind.decides_by_thresholds:
        thresholds = [0.0] * logits.shape[1]
    return Predictions(
        ids=ids,
        logits=logits,
        references=references,
        offsets=offsets,
        decoded=None if kind in list(TaskKind) or kind.decides_by_thresholds else kind.decode(logits),
        thresholds=None if thresholds is None else np.asarray(thresholds, dtype=np.float32),
    )


@torch.inference_mode()
def row_logits(
    model: nn.Module,
    rows: datasets.Dataset | EncodedRows,
    collate: Collator,
    *,
    device: torch.device,
    precision: AbstractContextManager[object] | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return for each row its float32 logits ``(units, classes)`` and its labels ``(units,)``.

    A unit is a text or, in token classification, a word, whose logits are those of its first word piece. Batches are
    made of rows sorted by length, to minimize padding.
    """
    model.eval()
    order = np.argsort(np.asarray(rows["length"]), kind="stable")
    logits: list[np.ndarray] = [np.empty(0)] * len(order)
    labels: list[np.ndarray] = [np.empty(0)] * len(order)
    with precision or nullcontext():
        for start in range(0, len(order), BATCH_SIZE):
            chosen = order[start : start + BATCH_SIZE]
            batch = collate([rows[int(i)] for i in chosen])
            inputs = {name: value.to(device) for name, value in model_inputs(batch).items()}
            output = model(**inputs).logits.float().cpu()
            for row, row_output, row_labels in zip(chosen, output, batch["labels"], strict=True):
                logits[row], labels[row] = _units(row_output, row_labels, per_word=collate.kind.per_word)
            report(min(start + BATCH_SIZE, len(order)), len(order))
    return logits, labels


def _units(logits: Tensor, labels: Tensor, *, per_word: bool) -> tuple[np.ndarray, np.ndarray]:
    if not per_word:
        return logits.numpy()[None], labels.numpy()[None]
    counted = labels != IGNORED
    return logits[counted].numpy(), labels[counted].numpy()

"""A model's answers on an encoded split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import datasets
import numpy as np
import torch
from torch import Tensor, nn

from kdbench.api.bench import model_inputs
from kdbench.api.kinds import IGNORED, TaskKind
from kdbench.data.batches import Collator
from kdbench.evaluation.predictions import Predictions

BATCH_SIZE = 64


def predict(
    model: nn.Module,
    rows: datasets.Dataset,
    collate: Collator,
    *,
    device: torch.device,
    precision: AbstractContextManager[object] | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Predictions:
    """Return the answers of `model` on `rows`, example by example in the order of the rows.

    The rows that one long sentence was split into are joined again; they follow each other.

    Args:
        precision: the autocast context; by default the weights' own precision.
        report: told the rows done and their number after each batch.
    """
    logits, labels = row_logits(model, rows, collate, device=device, precision=precision, report=report)
    return join_rows(rows, logits, labels, collate.kind)


def join_rows(
    rows: datasets.Dataset, logits: Sequence[np.ndarray], labels: Sequence[np.ndarray], kind: TaskKind
) -> Predictions:
    """Return what `row_logits` gave for each of `rows`, of a task of `kind`, example by example in their order."""
    examples = np.asarray(rows["example"], dtype=np.int64)
    starts = np.flatnonzero(np.diff(examples, prepend=-1))
    offsets = None
    if kind.per_word:
        units = np.add.reduceat([len(row) for row in labels], starts)
        offsets = np.concatenate([[0], np.cumsum(units)]).astype(np.int64)
    return predictions_of(
        kind,
        ids=examples[starts],
        logits=np.concatenate(logits),
        references=np.concatenate(labels),
        offsets=offsets,
    )


def predictions_of(
    kind: TaskKind,
    *,
    ids: np.ndarray,
    logits: np.ndarray,
    references: np.ndarray,
    offsets: np.ndarray | None = None,
) -> Predictions:
    """Return predictions of a task of `kind`; those of a plugin's kind carry its answers beside the logits."""
    decoded = None if kind in list(TaskKind) else kind.decode(logits)
    return Predictions(ids=ids, logits=logits, references=references, offsets=offsets, decoded=decoded)


@torch.inference_mode()
def row_logits(
    model: nn.Module,
    rows: datasets.Dataset,
    collate: Collator,
    *,
    device: torch.device,
    precision: AbstractContextManager[object] | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return for each row its float32 logits ``(units, classes)`` and its labels ``(units,)``.

    A unit is a text or, for tokens, a word, whose logits are those of its first word piece. Rows are taken by length,
    so that little is padded.
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
            for row, one_logits, one_labels in zip(chosen, output, batch["labels"], strict=True):
                logits[row], labels[row] = _units(one_logits, one_labels, per_word=collate.kind.per_word)
            report(min(start + BATCH_SIZE, len(order)), len(order))
    return logits, labels


def _units(logits: Tensor, labels: Tensor, *, per_word: bool) -> tuple[np.ndarray, np.ndarray]:
    if not per_word:
        return logits.numpy()[None], labels.numpy()[None]
    counted = labels != IGNORED
    return logits[counted].numpy(), labels[counted].numpy()

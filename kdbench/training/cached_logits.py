"""The teacher's logits over the training rows, computed once and found again by a row's id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from kdbench.api.task import IGNORED
from kdbench.data.batches import Batch
from kdbench.files import folder_atomically


class CachedLogits:
    """Logits by row id, memory-mapped from the folder that `write` made.

    ``ids.npy`` ``(rows,)`` sorted; ``offsets.npy`` ``(rows + 1,)``; ``logits.npy`` ``(units, classes)`` float32.
    """

    wanted: Mapping[str, bool] = {}

    def __init__(self, folder: Path) -> None:
        self._ids = np.load(folder / "ids.npy")
        self._offsets = np.load(folder / "offsets.npy")
        self._logits = np.load(folder / "logits.npy", mmap_mode="r")

    @staticmethod
    def write(folder: Path, ids: Sequence[int], logits: Sequence[np.ndarray]) -> None:
        """Keep the logits ``(units, classes)`` of each row under its id."""
        order = np.argsort(ids)
        rows = [logits[i] for i in order]
        with folder_atomically(folder) as partial:
            np.save(partial / "ids.npy", np.asarray(ids)[order])
            np.save(partial / "offsets.npy", np.cumsum([0, *(len(row) for row in rows)]))
            np.save(partial / "logits.npy", np.concatenate(rows).astype(np.float32))

    def __call__(self, batch: Batch) -> SimpleNamespace:
        """Return ``.logits`` for `batch`: ``(batch, classes)``, or ``(batch, sequence, classes)`` for tokens.

        Positions that do not count hold zeros.

        Raises:
            KeyError: a row of the batch was never given to `write`, or had another number of units then.
        """
        ids = batch["id"].cpu().numpy()
        places = np.searchsorted(self._ids, ids)
        found = places < len(self._ids)
        found[found] = self._ids[places[found]] == ids[found]
        if not found.all():
            raise KeyError(f"the teacher has no logits for the rows {ids[~found].tolist()}")
        flat = np.concatenate([self._logits[self._offsets[p] : self._offsets[p + 1]] for p in places])
        labels = batch["labels"]
        if labels.ndim == 1:
            return SimpleNamespace(logits=torch.from_numpy(flat).to(labels.device))
        counted = labels != IGNORED
        if int(counted.sum()) != len(flat):
            raise KeyError("the teacher's logits were computed over other words than the batch has")
        logits = torch.zeros(*labels.shape, flat.shape[-1], device=labels.device)
        logits[counted] = torch.from_numpy(flat).to(labels.device)
        return SimpleNamespace(logits=logits)

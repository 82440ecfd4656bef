"""Store a teacher's logits and hidden states on disk, and read them batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from kdbench.api.bench import Batch, TeacherOutputs, model_inputs
from kdbench.api.kinds import IGNORED
from kdbench.data.batches import Collator
from kdbench.training.predict import BATCH_SIZE

STATES_LIMIT_BYTES = 2 * 10**9
"""The largest size of one set of hidden states on disk; a teacher with more to say runs in every step."""
_BYTES = 2
"""Of a number in bfloat16."""


def _places(known: np.ndarray, batch: Batch) -> np.ndarray:
    """Return where the rows of `batch` stand among the sorted ids `known`.

    Raises:
        KeyError: a row is not among them.
    """
    ids = batch["id"].cpu().numpy()
    places: np.ndarray = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    if (known[places] != ids).any():
        raise KeyError(f"the teacher has no outputs for the rows {ids[known[places] != ids].tolist()}")
    return places


class LogitsByRow:
    """Logits by row id.

    Args:
        ids: ``(rows,)``, sorted.
        offsets: ``(rows + 1,)``: row i has the units offsets[i] to offsets[i + 1].
        logits: ``(units, classes)`` float32.
        per_word: whether a unit is a word.
    """

    requested: Mapping[str, bool] = {}

    def __init__(self, ids: np.ndarray, offsets: np.ndarray, logits: np.ndarray, *, per_word: bool) -> None:
        self._per_word = per_word
        self._ids, self._offsets, self._logits = ids, offsets, logits

    def __call__(self, batch: Batch) -> SimpleNamespace:
        """Return ``.logits`` for `batch`: ``(batch, classes)``, or ``(batch, sequence, classes)`` for tokens.

        Positions that do not count are zero.

        Raises:
            KeyError: a row of the batch is not among them, or had a different number of units.
        """
        places = _places(self._ids, batch)
        flat = np.concatenate([self._logits[self._offsets[p] : self._offsets[p + 1]] for p in places])
        labels = batch["labels"]
        if not self._per_word:
            return SimpleNamespace(logits=torch.from_numpy(flat).to(labels.device))
        counted = labels != IGNORED
        if int(counted.sum()) != len(flat):
            raise KeyError("the teacher's logits were computed on other words than the batch has")
        logits = torch.zeros(*labels.shape, flat.shape[-1], device=labels.device)
        logits[counted] = torch.from_numpy(flat).to(labels.device)
        return SimpleNamespace(logits=logits)


class CachedLogits(LogitsByRow):
    """Logits by row id, memory-mapped from a folder that `write` created.

    ``ids.npy``, ``offsets.npy`` and ``logits.npy`` as in `LogitsByRow`.
    """

    def __init__(self, folder: Path, *, per_word: bool) -> None:
        super().__init__(
            np.load(folder / "ids.npy"),
            np.load(folder / "offsets.npy"),
            np.load(folder / "logits.npy", mmap_mode="r"),
            per_word=per_word,
        )

    @staticmethod
    def write(folder: Path, ids: Sequence[int], logits: Sequence[np.ndarray]) -> None:
        """Write the logits ``(units, classes)`` of each row, with the rows' ids, to `folder`."""
        order = np.argsort(ids)
        rows = [logits[i] for i in order]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "ids.npy", np.asarray(ids)[order])
        np.save(folder / "offsets.npy", np.cumsum([0, *(len(row) for row in rows)]))
        np.save(folder / "logits.npy", np.concatenate(rows).astype(np.float32))


def states_bytes(rows: datasets.Dataset, teacher: PretrainedConfig) -> int:
    """Return the size on disk of the hidden states of `teacher` on `rows`, embeddings and all layers."""
    return int(sum(rows["length"]) * (teacher.num_hidden_layers + 1) * teacher.hidden_size * _BYTES)


class CachedStates:
    """Hidden states in bfloat16, memory-mapped from a folder that `write` created, and logits.

    ``ids.npy`` ``(rows,)`` sorted; ``starts.npy`` and ``lengths.npy`` ``(rows,)``: each row's first word piece and
    number of word pieces in ``layer-<number>.bin`` ``(pieces, hidden)``, where layer 0 is the embeddings.
    """

    requested: Mapping[str, bool] = {"output_hidden_states": True}

    def __init__(self, folder: Path, logits: TeacherOutputs) -> None:
        self._logits = logits
        self._ids, self._starts, self._lengths = (
            np.load(folder / f"{name}.npy") for name in ("ids", "starts", "lengths")
        )
        pieces = int(self._lengths.sum())
        self._layers = [
            torch.from_file(
                str(path), shared=False, size=path.stat().st_size // _BYTES, dtype=torch.bfloat16
            ).view(pieces, -1)
            for path in (_layer_file(folder, layer) for layer in range(len(list(folder.glob("*.bin")))))
        ]

    @staticmethod
    @torch.no_grad()
    def write(
        folder: Path,
        model: PreTrainedModel,
        rows: datasets.Dataset,
        collate: Collator,
        precision: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """Run `model`, in evaluation mode, on all `rows`, in batches of similar lengths, and write its states to `folder`.

        Raises:
            OSError: the disk is full.
        """
        model.train(False)
        ids, lengths = (np.asarray(rows[name], dtype=np.int64) for name in ("id", "length"))
        order = np.argsort(lengths, kind="stable")
        starts = np.empty_like(lengths)
        starts[order] = np.cumsum(lengths[order]) - lengths[order]
        by_id = np.argsort(ids)
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as files:
            for name, values in (("ids", ids), ("starts", starts), ("lengths", lengths)):
                np.save(folder / f"{name}.npy", values[by_id])
            layers = [
                files.enter_context(_layer_file(folder, layer).open("wb"))
                for layer in range(model.config.num_hidden_layers + 1)
            ]
            for start in range(0, len(order), BATCH_SIZE):
                batch = collate([rows[int(row)] for row in order[start : start + BATCH_SIZE]])
                inputs = {name: value.to(model.device) for name, value in model_inputs(batch).items()}
                with precision():
                    states = model(**inputs, output_hidden_states=True).hidden_states
                for file, layer_states in zip(layers, states, strict=True):
                    pieces = layer_states[inputs["attention_mask"].bool()].bfloat16().cpu()
                    file.write(pieces.view(torch.int16).numpy().data)

    def __call__(self, batch: Batch) -> SimpleNamespace:
        """Return ``.logits`` and ``.hidden_states`` for `batch`, each layer ``(batch, sequence, hidden)`` float32.

        A layer is read when it is asked for. Padding is zero.

        Raises:
            KeyError: a row of the batch was not passed to `write`, or had another number of word pieces.
        """
        mask = batch["attention_mask"]
        places = _places(self._ids, batch)
        if (mask.sum(dim=1).cpu().numpy() != self._lengths[places]).any():
            raise KeyError(
                "the teacher's hidden states were computed on other word pieces than the batch has"
            )
        pieces = torch.from_numpy(self._starts[places])[:, None] + torch.arange(mask.shape[1])
        states = _StoredLayers(self._layers, pieces * mask.cpu(), mask)
        return SimpleNamespace(logits=self._logits(batch).logits, hidden_states=states)


class _StoredLayers(Sequence[Tensor]):
    """The hidden states of a batch, each layer read at its first use."""

    def __init__(self, layers: Sequence[Tensor], pieces: Tensor, mask: Tensor) -> None:
        self._layers, self._pieces, self._mask = layers, pieces, mask
        self._read: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, layer: Any) -> Any:
        if isinstance(layer, slice):
            return tuple(self[number] for number in range(*layer.indices(len(self))))
        number = range(len(self))[layer]
        if number not in self._read:
            states = self._layers[number][self._pieces].to(self._mask.device)
            self._read[number] = states.float() * self._mask[..., None]
        return self._read[number]


def _layer_file(folder: Path, layer: int) -> Path:
    return folder / f"layer-{layer}.bin"

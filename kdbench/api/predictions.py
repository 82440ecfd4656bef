"""Store a model's predictions for each example, so that any statistic can be computed later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from kdbench.errors import KdbenchError
from kdbench.utils.files import write_atomically

_ARRAYS = {
    "ids": (("int64",), 1),
    "logits": (("float32",), 2),
    "references": (("int64", "float32"), 1),
    "offsets": (("int64",), 1),
    "decoded": (("int64", "float32"), None),
    "groups": (("int64",), 1),
    "thresholds": (("float32",), None),
}
"""The types and the number of dimensions of each array; None where it depends on others."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """A model's outputs for a split, with the labels as `references`.

    A unit is what gets one answer: the example itself, or a word in token classification, where an example is a
    sentence of words.

    Raises:
        KdbenchError: the arrays are inconsistent, or an output is not finite.
    """

    ids: npt.NDArray[np.int64]
    """(examples,): which example of the split."""
    logits: npt.NDArray[np.float32]
    """(units, classes); one column in regression."""
    references: npt.NDArray[np.int64] | npt.NDArray[np.float32]
    """(units,): class indices, or float32 targets in regression; (units, labels) in multi-label classification: 1 for each
    label of the text and 0 for each other; (units, ...) for a plugin's kind of task."""
    offsets: npt.NDArray[np.int64] | None = None
    """(examples + 1,): example i has the units offsets[i] to offsets[i + 1]; None where a unit is an example."""
    decoded: npt.NDArray[np.int64] | npt.NDArray[np.float32] | None = None
    """(units, ...): what a plugin's kind of task decodes from the logits, stored so that scores can be computed without
    the plugin; None where it is the class of the largest logit or, in regression, the value."""
    groups: npt.NDArray[np.int64] | None = None
    """(examples,): the number of each example's group, such as the film of a review, where a task has groups: the answers
    within one are not independent. None where every example stands alone."""
    thresholds: npt.NDArray[np.float32] | None = None
    """(classes,), or (units, classes) in `decisions`: what is subtracted from the logits before deciding, chosen on
    validation examples; always there in multi-label classification."""

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem is not None:
            raise KdbenchError(f"these predictions cannot be scored: {problem}")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_regression(self) -> bool:
        """Whether the answers are the logits themselves."""
        return bool(self.decoded is None and self.references.dtype == np.float32)

    @property
    def is_classification(self) -> bool:
        """Whether each unit's answer is one class: that of its largest logit, less the class's threshold if it has one."""
        return self.decoded is None and not self.is_regression and not self.is_multi_label

    @property
    def is_multi_label(self) -> bool:
        """Whether each unit's answer is any number of labels: those whose logits exceed their thresholds."""
        return self.thresholds is not None and self.references.ndim == 2

    @cached_property
    def predicted(self) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
        """(units,): the class of the largest logit (the first of equals), or the value in regression; else `decoded`.

        In multi-label classification (units, labels), in the form of the references. Read-only, as the array is cached.
        """
        predicted = self.decoded
        if predicted is None:
            scores = self.logits if self.thresholds is None else self.logits - self.thresholds
            if self.is_regression:
                predicted = scores[:, 0]
            else:
                predicted = (scores > 0).astype(np.int64) if self.is_multi_label else scores.argmax(axis=1)
        predicted.flags.writeable = False
        return predicted

    @cached_property
    def decisions(self) -> Predictions:
        """These predictions with one class per unit: in multi-label classification every label of a text is a unit.

        Its two classes are no and yes, with the logits 0 and the label's own.
        """
        if not self.is_multi_label:
            return self
        assert self.thresholds is not None  # by `is_multi_label`
        texts, labels = self.logits.shape
        thresholds = np.tile(self.thresholds, texts)
        zeros = np.zeros(texts * labels, dtype=np.float32)
        return Predictions(
            ids=self.ids,
            logits=np.column_stack([zeros, self.logits.ravel()]),
            references=self.references.ravel(),
            offsets=np.arange(texts + 1, dtype=np.int64) * labels,
            groups=self.groups,
            thresholds=np.column_stack([zeros, thresholds]),
        )

    @cached_property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """(units, classes): the softmax of the logits, for units of one class (see `decisions`); read-only, too."""
        from scipy.special import softmax

        probabilities: npt.NDArray[np.float64] = softmax(self.logits.astype(np.float64), axis=1)
        probabilities.flags.writeable = False
        return probabilities

    @cached_property
    def group_places(self) -> npt.NDArray[np.int64] | None:
        """(examples,): each example's group, numbered from 0 without gaps; None where every example stands alone."""
        if self.groups is None:
            return None
        names, places = np.unique(self.groups, return_inverse=True)
        return None if len(names) == len(places) else places.reshape(-1).astype(np.int64)

    def sum_by_example(self, units: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return (examples, k): the sums over each example of `units` (units, k)."""
        if self.offsets is None:
            return units
        # Differences of running sums, since `np.add.reduceat` would give an empty sentence its neighbour's value.
        running = np.vstack([np.zeros((1, units.shape[1])), units.cumsum(axis=0)])
        return np.diff(running[self.offsets], axis=0)

    def save(self, path: Path) -> None:
        """Write a safetensors file atomically."""
        # safetensors writes an array's memory as it is, ignoring its strides.
        arrays = {name: np.ascontiguousarray(array) for name, array in self._arrays().items()}
        write_atomically(path, safetensors.numpy.save(arrays, {_CHECKSUM: _checksum(arrays)}))

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Load the predictions that `save` wrote to `path`.

        Raises:
            KdbenchError: the file is missing, damaged, or not a file of predictions.
        """
        try:
            content = path.read_bytes()
            arrays = safetensors.numpy.load(content)
            expected = _metadata(content).get(_CHECKSUM)  # version 0.1 wrote none
            if expected is None or expected == _checksum(arrays):
                return cls(**arrays)
            reason = "damaged: its checksum is that of other arrays"
        except OSError as error:
            reason = error.strerror or str(error)
        except SafetensorError as error:
            reason = f"damaged: {error}"
        except (KeyError, TypeError):  # a type that numpy lacks, or a missing or extra array
            reason = "its arrays must be ids, logits, references, for words offsets, for groups of examples groups, for several labels thresholds, and decoded for a plugin's kind"
        except KdbenchError as error:
            reason = str(error)
        raise KdbenchError(f"cannot read {path} ({reason}); delete it with its record and run again")

    def _arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        return {name: array for name, array in arrays.items() if array is not None}

    def _problem(self) -> str | None:
        """Return why the arrays cannot be one model's answers to one split, or None where they can."""
        for name, array in self._arrays().items():
            types, dimensions = _ARRAYS[name]
            if name == "references" and self.decoded is not None:
                dimensions = self.decoded.ndim
            elif name == "references" and self.thresholds is not None:
                dimensions = None  # one class or several labels
            if array.dtype.name not in types or dimensions not in (None, array.ndim):
                expected = f"{dimensions} dimension(s) of {' or '.join(types)}"
                return f"{name} must have {expected}, but is {array.dtype.name} of shape {array.shape}"
        units = len(self.ids) if self.offsets is None else len(self.references)
        if not len(self.logits) == len(self.references) == units:
            return f"{len(self.logits)} logits and {len(self.references)} references for {units} units"
        if self.groups is not None and len(self.groups) != len(self.ids):
            return f"{len(self.groups)} groups for {len(self.ids)} examples"
        if self.offsets is not None and not _delimits(self.offsets, len(self.ids), units):
            return f"the offsets do not delimit {len(self.ids)} examples of {units} words in all"
        if not (np.isfinite(self.logits).all() and np.isfinite(self.references).all()):
            return "an output is not finite; if training diverged, lower the learning rate"
        if self.thresholds is not None and (problem := self._threshold_problem(self.thresholds)):
            return problem
        if self.decoded is not None:
            if self.decoded.shape == self.references.shape:
                return None
            return f"the answers have shape {self.decoded.shape}, but the references {self.references.shape}"
        classes = self.logits.shape[1]
        if self.is_multi_label:
            return None
        if self.is_regression:
            return None if classes == 1 else f"regression needs one output, not {classes}"
        if ((self.references < 0) | (self.references >= classes)).any():
            return f"a reference is not one of the {classes} classes"
        return None

    def _threshold_problem(self, thresholds: npt.NDArray[np.float32]) -> str | None:
        """Return why these `thresholds` do not suit the other arrays, or None where they do."""
        shape = self.logits.shape
        if thresholds.shape not in (shape[1:], shape) or not np.isfinite(thresholds).all():
            return f"the thresholds must be finite and {shape[1]}, one for each logit, but have the shape {thresholds.shape}"
        if self.decoded is not None or self.references.dtype != np.int64:
            return "thresholds decide between classes or on labels, but these are neither"
        if self.references.ndim > 1 and not (
            self.references.shape == shape and np.isin(self.references, (0, 1)).all()
        ):
            return f"the labels of a text must be {shape[1]} zeros and ones, one for each logit"
        return None


_CHECKSUM = "sha256"


def _checksum(arrays: Mapping[str, npt.NDArray[np.generic]]) -> str:
    """Return the SHA-256 of all arrays, in the order of their names."""
    digest = hashlib.sha256()
    for _, array in sorted(arrays.items()):
        digest.update(array.tobytes())
    return digest.hexdigest()


def _metadata(content: bytes) -> dict[str, str]:
    """Return the metadata of a valid safetensors file, which only its reader of files returns."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata: dict[str, str] = header.get("__metadata__", {})
    return metadata


def _delimits(offsets: npt.NDArray[np.int64], examples: int, units: int) -> bool:
    if len(offsets) != examples + 1:
        return False
    return bool(offsets[0] == 0 and offsets[-1] == units and (np.diff(offsets) >= 0).all())

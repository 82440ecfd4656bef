"""Predict texts with an exported model."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from kdbench.api.kinds import TaskKind
from kdbench.api.multi_label_classification import LabelsPrediction
from kdbench.api.predictions import Predictions
from kdbench.api.sequence_classification import LabelPrediction
from kdbench.api.sequence_regression import ValuePrediction
from kdbench.api.task import Splits, Task
from kdbench.data.batches import Collator
from kdbench.data.encoding import Encoder
from kdbench.errors import UsageError, shown
from kdbench.evaluation.metrics import entity_ends
from kdbench.export.manifest import Manifest
from kdbench.training.predict import predict


@dataclass(frozen=True)
class Entity:
    """A span of words tagged as an entity."""

    label: str
    """Its type: the tag without ``B-``."""
    text: str
    start: int | None
    """Its start in the text, in characters; None if the text was given as words."""
    end: int | None
    """Its end, exclusive."""
    score: float
    """The smallest probability among its words' tags."""


@dataclass(frozen=True)
class TagsPrediction:
    """The prediction for a text of a token classification task."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    """One per word."""
    scores: tuple[float, ...]
    """The probability of each word's tag."""
    entities: tuple[Entity, ...]
    """By strict IOB2: an entity starts only with ``B-``. Empty if the tags are not IOB2."""


Prediction = LabelPrediction | LabelsPrediction | ValuePrediction | TagsPrediction | Any
"""A prediction; for a plugin's kind of task, the dataclass that its `answer` method returns."""


# Quotation marks of several languages.
_OPENING = "([{<\"'`«“‘„¿¡"  # noqa: RUF001
_CLOSING = ")]}>\"'`»”’.,;:!?…"  # noqa: RUF001
_CHUNK = re.compile(r"\S+")


@dataclass(frozen=True)
class Word:
    """A word and its position in the text, in characters; the end is exclusive."""

    text: str
    start: int
    end: int


def split_words(text: str) -> list[Word]:
    """Split a text at white space; brackets, quotes and punctuation at either end become words of their own.

    Punctuation inside a word stays (``don't``, ``U.S``, ``@user``, ``3.5``).
    """
    return [word for chunk in _CHUNK.finditer(text) for word in _words_of(chunk.group(), chunk.start())]


def _words_of(chunk: str, at: int) -> list[Word]:
    first, last = 0, len(chunk)
    while first < last - 1 and chunk[first] in _OPENING:
        first += 1
    while last > first + 1 and chunk[last - 1] in _CLOSING:
        last -= 1
    edges = [*range(first + 1), *range(last, len(chunk) + 1)]
    return [Word(chunk[start:end], at + start, at + end) for start, end in pairwise(edges)]


Text = str | Sequence[str]
"""A text; two texts if the task has pairs; for token classification a text or the list of its words."""


class ExportedModel:
    """A model, which returns ``.logits``, and its tokenizer.

    They predict texts as in scoring: same tokenization, same maximum length. Several threads may call `predict`; one at
    a time tokenizes, since a tokenizer's truncation is a state of it.
    """

    def __init__(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, manifest: Manifest, kind: TaskKind
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.manifest = manifest
        self._kind = kind
        self._encoder = Encoder(
            _AsTask(manifest, kind), tokenizer, manifest.max_length, manifest.window_stride
        )
        self._encoding = threading.Lock()
        self._collate = Collator(tokenizer, kind, manifest.window_pooling)

    def predict(self, texts: Iterable[Text]) -> list[Prediction]:
        """Return the prediction for each of `texts`, in their order.

        A text longer than ``manifest.max_length`` tokens is truncated or, if ``manifest.window_stride`` is set, read in
        windows; for token classification it is split between words and predicted part by part.

        Raises:
            UsageError: one of `texts` has the wrong type, or `texts` is a single string.
        """
        if isinstance(texts, str):
            raise UsageError("predict takes a list of texts, not one text; write predict([text])")
        inputs = list(texts)
        if not inputs:
            return []
        if self._kind.per_word:
            return self._tags(inputs)
        labels = [self._kind.placeholder(self.manifest.labels)] * len(inputs)
        columns = _text_columns(inputs, self.manifest.paired)
        predictions = self._predict_columns({**columns, "label": labels})
        thresholds = predictions.thresholds
        options = {} if thresholds is None else {"thresholds": thresholds}
        return [self._kind.answer(row, self.manifest.labels, **options) for row in predictions.logits]

    def _tags(self, inputs: list[Text]) -> list[Prediction]:
        sentences = [_words(text, place) for place, text in enumerate(inputs)]
        filled = [[word.text for word in words] for words in sentences if words]
        first = self._kind.placeholder(self.manifest.labels)
        tags = [[first] * len(words) for words in filled]
        rows = iter(self._sentences({"words": filled, "tags": tags}) if filled else [])
        nothing = np.zeros((0, len(self.manifest.labels)))
        return [
            self._tagged(words, next(rows) if words else nothing, text if isinstance(text, str) else None)
            for text, words in zip(inputs, sentences, strict=True)
        ]

    def _sentences(self, columns: dict[str, list[Any]]) -> list[npt.NDArray[np.float64]]:
        """Return the probabilities ``(words, tags)`` of each sentence."""
        predictions = self._predict_columns(columns)
        assert predictions.offsets is not None  # token classification has them
        return np.split(predictions.probabilities, predictions.offsets[1:-1])

    def _tagged(self, words: list[Word], rows: npt.NDArray[np.float64], text: str | None) -> TagsPrediction:
        labels = self.manifest.labels
        chosen = rows.argmax(axis=1).astype(np.int64) if len(rows) else np.zeros(0, dtype=np.int64)
        scores = [float(row[tag]) for row, tag in zip(rows, chosen, strict=True)]
        entities = []
        if len(rows) and all(label == "O" or label.startswith(("B-", "I-")) for label in labels):
            ends, _ = entity_ends(chosen, labels, None)
            entities = [
                _entity(words[start:end], labels[chosen[start]][2:], min(scores[start:end]), text)
                for start, end in enumerate(ends.tolist())
                if end
            ]
        texts, tags = tuple(word.text for word in words), tuple(labels[tag] for tag in chosen)
        return TagsPrediction(texts, tags, tuple(scores), tuple(entities))

    def _predict_columns(self, columns: dict[str, list[Any]]) -> Predictions:
        """Return the model's outputs for columns of texts; the labels in them are placeholders."""
        with self._encoding:
            rows = self._encoder.encode(columns)
        return predict(
            self.model,
            rows,
            self._collate,
            device=torch.device("cpu"),
            thresholds=self.manifest.thresholds,
        )


class _AsTask(Task):
    """The parts of an exported model's task that an encoder needs."""

    sources = {}

    def __init__(self, manifest: Manifest, kind: TaskKind) -> None:
        self.name = manifest.task
        self.kind = kind
        self.labels = manifest.labels

    def load(self, opened: object) -> Splits:
        """Raise: an exported model has no data."""
        raise NotImplementedError


def _text_columns(inputs: list[Text], paired: bool) -> dict[str, list[str]]:
    """Return `inputs` as the columns that an encoder reads."""
    for place, text in enumerate(inputs):
        given = f"text {place} is {shown(text)}"
        if not paired and not isinstance(text, str):
            raise UsageError(f"{given}, not a text; give a list of strings")
        if paired and not _is_pair(text):
            raise UsageError(f"{given}, not a pair; this task has two texts: give (first, second)")
    if not paired:
        return {"text": [str(text) for text in inputs]}
    return {"text": [pair[0] for pair in inputs], "text_pair": [pair[1] for pair in inputs]}


def _is_pair(text: object) -> bool:
    return (
        isinstance(text, Sequence)
        and not isinstance(text, str)
        and len(text) == 2
        and all(isinstance(part, str) for part in text)
    )


def _words(text: Text, place: int) -> list[Word]:
    if isinstance(text, str):
        return split_words(text)
    if not isinstance(text, Sequence) or not all(isinstance(word, str) for word in text):
        raise UsageError(f"text {place} is {shown(text)}; give a text or a list of its words")
    return [Word(word, 0, 0) for word in text]


def _entity(words: list[Word], label: str, score: float, text: str | None) -> Entity:
    if text is None:
        return Entity(label, " ".join(word.text for word in words), None, None, score)
    start, end = words[0].start, words[-1].end
    return Entity(label, text[start:end], start, end, score)

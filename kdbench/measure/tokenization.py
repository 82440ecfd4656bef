"""The time that tokenizing takes, which the latency of a model leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from kdbench.executors.job import Report
from kdbench.measure.rounds import Turn, time_rounds
from kdbench.measure.stopwatch import Stopwatch, wall_clock
from kdbench.timings import Tokenization


def time_tokenizers(
    tokenizers: Mapping[str, PreTrainedTokenizerBase],
    texts: Sequence[Sequence[str]],
    *,
    max_length: int,
    rounds: int,
    report: Report,
    stopwatch: Stopwatch | None = None,
) -> dict[str, Tokenization]:
    """Return for each of `tokenizers` what one sentence takes, from Python text to ids.

    Args:
        tokenizers: what is timed, by name, in shuffled rounds as models are.
        texts: of each sentence its text, or its two texts.
        max_length: word pieces kept of a text.
        rounds: calls of each.
        report: how far it is.
        stopwatch: what times a call; by default the wall clock, since tokenizers run on the CPU.
    """
    stopwatch = stopwatch or wall_clock()
    for tokenizer in tokenizers.values():
        tokenizer(*texts[0], truncation=True, max_length=max_length)  # sets truncation, which costs once
    turns = {name: _turn(tokenizer, texts, max_length, stopwatch) for name, tokenizer in tokenizers.items()}
    taken = time_rounds(turns, calls=rounds, report=report, phase="timing tokenizers")
    return {
        name: Tokenization(calls=len(ms), p50_ms=float(np.median(ms)), mean_ms=float(ms.mean()))
        for name, ms in taken.items()
    }


def texts_of(example: Mapping[str, Any]) -> tuple[str, ...]:
    """Return an example's text or texts; of words, the sentence that they make with blanks in between."""
    if "words" in example:
        return (" ".join(example["words"]),)
    return tuple(example[name] for name in ("text", "text_pair") if name in example)


def _turn(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[Sequence[str]], max_length: int, stopwatch: Stopwatch
) -> Turn:
    def call(number: int) -> float:
        return stopwatch(
            lambda: tokenizer(*texts[number % len(texts)], truncation=True, max_length=max_length)
        )

    return lambda numbers: [call(number) for number in numbers]

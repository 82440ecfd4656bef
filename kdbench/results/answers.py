"""Describe a file of answers that was the teacher of a run, in records."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kdbench.utils.files import JsonModel
from kdbench.utils.formatting import percent, plural, three_digits

Count = Annotated[int, Field(ge=0)]


class AnswersInfo(JsonModel):
    """How complete a file of answers is for the examples of a budget, and what it says."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the file."""
    answers: Count
    """The distinct texts that the file has an answer to."""
    forms: dict[str, Count]
    """How many of them are ``label``, ``probabilities``, ``votes``, ``tags`` or ``spans``."""
    refused: Count = 0
    """Rows of the file without an answer."""
    held_out: Count = 0
    """Answers to texts of the splits for validation and scoring, which nothing was trained on."""
    labelled: Count
    """The labelled training examples that have an answer."""
    unlabelled: Count
    """The training examples without a label that have an answer."""
    unlabelled_examples: Count
    """The training examples without a label."""
    further: Count = 0
    """Answered texts that are in no split of the task."""
    agreement: float | None = None
    """The headline metric of the answers against the labels of the labelled training examples that have both."""
    entropy_bits: float | None = None
    """The mean entropy of the answers' probabilities, per text or word, in bits: 0 where every answer is certain."""

    def described(self, metric: str, train_examples: int) -> str:
        """Return in one line how complete and how good the answers are; `metric` is that of `agreement`."""
        forms = ", ".join(f"{number:,} as {form}" for form, number in self.forms.items())
        parts = [
            f"{plural(self.answers, 'answer')} ({forms}), to {self.labelled:,} of {train_examples:,} labelled and "
            f"{self.unlabelled:,} of {self.unlabelled_examples:,} unlabelled training examples"
        ]
        if self.further:
            parts.append(f"and to {plural(self.further, 'further text')}")
        if self.agreement is not None:
            parts.append(
                f"{metric} {percent(self.agreement)} against the {plural(self.labelled, 'label')} of the former"
            )
        if self.entropy_bits is not None:
            parts.append(f"mean entropy {three_digits(self.entropy_bits)} bits")
        if self.refused:
            parts.append(f"{plural(self.refused, 'row')} without an answer")
        if self.held_out:
            parts.append(
                f"{plural(self.held_out, 'answer')} to texts that are validated or scored on, not used"
            )
        return "; ".join(parts)

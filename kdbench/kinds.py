"""The kinds of task that kdbench knows."""

from enum import Enum


class TaskKind(str, Enum):
    """What a model is asked for; a strategy names the kinds it serves."""

    SEQUENCE_CLASSIFICATION = "sequence-classification"
    SEQUENCE_REGRESSION = "sequence-regression"
    TOKEN_CLASSIFICATION = "token-classification"

    def __str__(self) -> str:
        return self.value

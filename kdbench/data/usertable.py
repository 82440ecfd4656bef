"""What a ``[tasks.NAME]`` table of a config file may say."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kdbench.kinds import TaskKind

_METRICS = {
    TaskKind.SEQUENCE_CLASSIFICATION: "accuracy",
    TaskKind.SEQUENCE_REGRESSION: "pearson",
    TaskKind.TOKEN_CLASSIFICATION: "entity-f1",
}


def task_name(file: Path) -> str:
    """Return what a task of `file` is called: the file's name in lower case, with dashes for what names cannot hold."""
    return re.sub(r"[^a-z0-9]+", "-", file.name.split(".")[0].lower()).strip("-") or "task"


class TaskTable(BaseModel):
    """A task of the user's own: files, or a data set of the hub."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: TaskKind = Field(
        TaskKind.SEQUENCE_CLASSIFICATION,
        description="sequence-classification, sequence-regression or token-classification",
    )
    title: str = ""
    train: str = Field("", description="file of training examples; of a hub data set the name of the split")
    validation: str = Field("", description="file or split to tune on; by default a part of train")
    test: str = Field("", description="file or split to score; by default a fifth of train, held out")
    dataset: str = Field("", description="a data set of the hub, in the place of files")
    config: str = Field("", description="the hub data set's configuration, where it has several")
    revision: str = Field("", description="the hub data set's revision")
    text: int | str | tuple[str] | tuple[str, str] = Field(
        "", description="column of the text, two for a pair, or of the words; in column files its number"
    )
    label: int | str = Field("", description="column of the label or of the tags; in column files its number")
    group: str = Field("", description="column of what must not stand on both sides of a split")
    labels: tuple[str, ...] = Field((), description="the classes or entity types; by default those of train")
    metric: str = Field("", description="headline metric; accuracy, pearson or entity-f1 by default")
    metrics: tuple[str, ...] = Field((), description="further metrics")
    delimiter: str = Field(
        "", max_length=1, description="between values; by default , in .csv and a tab in .tsv"
    )
    quotes: bool = Field(True, description='whether " quotes values in .csv and .tsv')

    @model_validator(mode="after")
    def _has_one_source(self) -> TaskTable:
        if not self.dataset and not self.train:
            raise ValueError("name the training file as train, or a hub data set as dataset")
        if self.kind is TaskKind.TOKEN_CLASSIFICATION and isinstance(self.text, tuple) and len(self.text) > 1:
            raise ValueError("text names one column of words, since the task is a token classification")
        if self.kind is TaskKind.SEQUENCE_REGRESSION and self.labels:
            raise ValueError("labels have no place in a sequence-regression task")
        return self

    @property
    def headline(self) -> str:
        """The headline metric."""
        return self.metric or _METRICS[self.kind]

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns of the texts, or of the words."""
        default = "tokens" if self.kind is TaskKind.TOKEN_CLASSIFICATION else "text"
        if isinstance(self.text, tuple):
            return self.text
        return (str(self.text) if self.text != "" else default,)

    @property
    def label_column(self) -> str:
        """The column of the label, or of the tags."""
        default = "tags" if self.kind is TaskKind.TOKEN_CLASSIFICATION else "label"
        return str(self.label) if self.label != "" else default

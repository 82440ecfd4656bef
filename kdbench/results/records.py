"""Define the record of a cell, its store, and its content key, which hashes everything its quality depends on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import AliasChoices, Field, model_validator

from kdbench.api.kinds import TaskKind
from kdbench.api.params import default_rate, identity_of_params
from kdbench.budgets import Budget
from kdbench.results.answers import AnswersInfo
from kdbench.results.fields import CellKey, MetricName, Moment
from kdbench.results.tuning import Tuning
from kdbench.utils.files import JsonModel, content_hash, load_json_files, read_json_file, write_atomically

SCHEMA_VERSION = 1


class Status(str, Enum):
    """How a cell ended."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    NOT_APPLICABLE = "not-applicable"

    def __str__(self) -> str:
        return self.value


class StrategyInfo(JsonModel):
    """The strategy that ran, and the distribution that provides it."""

    name: str
    label: str
    """The row's name on a board: stage by stage the name and the parameters that differ from the defaults."""
    title: str
    citation: str = Field(validation_alias=AliasChoices("citation", "reference"))
    """The paper; records of version 0.1 call it ``reference``."""
    family: str
    params: dict[str, Any]
    """Every parameter, including defaults; for a stack, those of each stage under the stage's name."""
    revisions: dict[str, int] = {}
    """The revision of each stage whose strategy has been revised, by the stage's name."""
    distribution: str
    version: str
    uses_teacher: bool = False
    """Whether it learns from the teacher, so that there is a gap to recover."""
    control: str | None = None
    """The label of the row that this one is compared with."""
    base_control: str | None = None
    """The label of the control that starts from the base model, where `control` starts from the teacher's layers."""
    derived_from: str | None = None
    """The label of the row whose trained model the last stage of a stack changed, seed by seed; see `source`."""
    note: str = ""
    """What a reader of the board must know of the deployed model."""

    @property
    def source(self) -> str | None:
        """The label of the row that this one was made from; None for a row that was trained itself.

        Records that do not name it yet have the parameters of each stage under the stage's name: a stack of one named
        stage was made from the row of the first.
        """
        if self.derived_from is not None:
            return self.derived_from
        stages = [name for name, params in self.params.items() if isinstance(params, dict)]
        if len(stages) < 2 or stages[-1] != self.name.rpartition("+")[2]:
            return None
        earlier, plus, last = self.label.rpartition("+")
        return earlier if plus and last.startswith(stages[-1]) else stages[0]


class TaskInfo(JsonModel):
    """The task that was scored, and its data."""

    name: str
    title: str
    kind: str
    """The name of its `TaskKind`; a plugin's kind need not be registered to read the record."""
    metric: MetricName
    eval_split: str = Field(validation_alias=AliasChoices("eval_split", "scored_split"))
    """The split that was scored; records of version 0.1 call it ``scored_split``."""
    fingerprint: str
    source: str
    labels: tuple[str, ...]
    train_examples: int
    validation_examples: int
    scored_examples: int
    validation_split: str = "train"
    """The split that the validation examples come from."""
    duplicates: int = 0
    """Scored examples whose text is also in train, counted over the whole splits."""
    near_duplicates: int | None = None
    """Further ones of which nearly the text is there; None in records of version 0.1."""
    too_long_share: float = 0.0
    """Share of examples with more word pieces than the budget allows: truncated, or split in token classification."""
    unknown_share: float = 0.0
    """Share of word pieces that are unknown to the tokenizer."""
    licence: str = ""
    citation: str = ""
    majority_score: float | None = None
    """The headline metric of always answering the most frequent training label."""


class ModelInfo(JsonModel):
    """The base model that every strategy started from."""

    name: str
    weights_sha256: str
    teacher: str | None = None
    """The model, or the file of answers, that the user gave as the teacher; None where the base model was fine-tuned as it."""
    teacher_sha256: str | None = Field(None, exclude_if=lambda digest: digest is None)
    """A hash over the files of that model, as `weights_sha256`; records of earlier versions lack it."""
    answers: AnswersInfo | None = Field(None, exclude_if=lambda info: info is None)
    """Where the teacher is a file of answers, what is in it."""


class Quality(JsonModel):
    """Scores of the reloaded artifact on the evaluation split, as fractions."""

    score: float
    """The headline metric."""
    low: float
    high: float
    """The 95% interval of `score`: a percentile bootstrap over the scored examples."""
    metrics: dict[MetricName, float]
    """Every metric of the task, including the headline metric."""
    noisy_score: float | None = None
    """The headline metric with typing errors in the text, on the examples of `PreparedTask.noisy`."""
    noisy_drop: float | None = None
    """How much higher the headline metric on the same examples is without typing errors."""


class Size(JsonModel):
    """Parameters and bytes of the artifact."""

    total_parameters: int
    trainable_parameters: int
    """The parameters that training updated: fewer than the total for LoRA and similar strategies."""
    non_embedding_parameters: int
    artifact_bytes: int
    task_bytes: int
    """What a further task on the same base model adds: adapter and head where the base is frozen, else all."""


class Compute(JsonModel):
    """The operations and memory for answering one example at a time, on the machine of the record."""

    flops_per_example: int | None = None
    """Operations of its matrix products (integer ones in an integer graph); a multiply-add counts as two. Where long texts
    are read in windows, those of one window times the mean number of a text's windows."""
    flops_length: int
    """The word pieces of that example: of all scored lengths the one nearest to the mean."""
    inference_peak_bytes: int | None = None
    """The most memory that the model adds while it is loaded and answers examples from the shortest to the longest."""
    inference_libraries_bytes: int | None = None
    """Resident memory of the process without the model: Python and the warmed-up libraries."""
    inference_peak_gpu_bytes: int | None = None
    """The most GPU memory that the model adds; None where it did not run on a GPU."""


class Cost(JsonModel):
    """The cost of obtaining the model."""

    train_s: float
    """Seconds in the training loop, including validations."""
    total_s: float
    """Seconds for the whole fitting: loading, training, finalizing (merging, quantizing), saving."""
    teacher_s: float
    """Seconds for training the teacher and computing its outputs, where this cell used them; else 0."""
    train_cpu_s: float | None = None
    """Processor seconds of the training loop, in which what else runs on the machine hardly shows. Absent in older
    records and of a training on a GPU; so are the next two."""
    total_cpu_s: float | None = None
    """Processor seconds of the whole fitting."""
    teacher_cpu_s: float | None = None
    """Processor seconds of the teacher's part."""
    steps: int
    examples: int
    """Training examples seen, counting repeats."""
    tokens: int
    """Training tokens seen, without padding."""
    train_flops: int | None = None
    """Operations of the training steps (see `TrainingRun`), without the teacher's training and cached logits, whose
    seconds are not in `train_s` either. None where those of a loop are unknown."""
    unlabelled_examples: int = 0
    """Distinct training examples without a label, from a transfer set or augmentation."""
    answers: int = Field(0, ge=0, exclude_if=lambda answers: not answers)
    """Distinct answers trained on, where the teacher is a file of answers."""
    peak_memory_bytes: int | None
    """The largest resident set of the fitting process."""


class LearningCurve(JsonModel):
    """The losses and validation scores of one training loop."""

    steps: tuple[int, ...] = Field(min_length=1)
    """The last step of each interval of steps."""
    losses: tuple[float, ...]
    """The mean training loss over each interval; it does not measure how good the model is."""
    validated: tuple[int, ...] = ()
    """The steps after which the model was validated."""
    scores: tuple[float, ...] = ()
    """The headline metric on the validation examples at these steps."""
    examples: int | None = None
    """Training examples seen in the loop, counting repeats."""
    train_flops: int | None = None
    """Operations of the loop's steps, as in `Cost`; None where they were not counted."""

    @model_validator(mode="after")
    def _is_aligned(self) -> LearningCurve:
        if len(self.losses) != len(self.steps) or len(self.scores) != len(self.validated):
            raise ValueError("losses and steps, or scores and validated steps, differ in number")
        return self


class Environment(JsonModel):
    """The machine, libraries and source revision that produced a record."""

    hardware: dict[str, str]
    libraries: dict[str, str]
    git_revision: str | None = None
    """None outside of a git repository; timings leave out what is None."""
    git_dirty: bool | None = None


class Record(JsonModel):
    """The result of one cell; a number that was not measured is absent, never a placeholder."""

    largest_bytes: ClassVar[int] = 4 << 20
    schema_version: Literal[1] = 1
    key: CellKey
    status: Status
    reason: str | None = None
    strategy: StrategyInfo
    task: TaskInfo
    model: ModelInfo
    budget: Budget
    seed: int
    is_teacher: bool = False
    """Whether the artifact is the task's teacher itself."""
    quality: Quality | None = None
    size: Size | None = None
    compute: Compute | None = None
    cost: Cost | None = None
    curves: tuple[LearningCurve, ...] = ()
    """One per training loop: stacks and multi-stage training have several."""
    tuning: tuple[Tuning, ...] = ()
    """How the parameters of each tuned stage were found; empty for rows that are not tuned."""
    warnings: tuple[str, ...] = ()
    environment: Environment
    finished_at: Moment

    def misplaced(self, path: Path) -> str | None:
        """Return the problem where the file at `path` is a copy, named after another key; else None."""
        if path.stem == self.key:
            return None
        return f"a copy of the record {self.key}, which would count twice"


class RecordStore:
    """The records of a results folder: ``records/<key>.json``."""

    def __init__(self, results: Path) -> None:
        self.folder = results / "records"

    def path(self, key: str) -> Path:
        """Return the path of the record of `key`, whether it exists or not."""
        return self.folder / f"{key}.json"

    def get(self, key: str) -> Record | None:
        """Return the record of `key`, or None where none can be read."""
        return self.read(key)[0]

    def read(self, key: str) -> tuple[Record | None, str | None]:
        """Return the record of `key`, or why it cannot be read; (None, None) where there is none."""
        path = self.path(key)
        return read_json_file(Record, path) if path.exists() else (None, None)

    def put(self, record: Record) -> None:
        """Write `record` atomically."""
        write_atomically(self.path(record.key), record.model_dump_json(indent=1) + "\n")

    def load(self, within: Path | None = None) -> tuple[list[Record], list[str]]:
        """Return all readable records in the order of their keys, and one line per file that is not a record.

        A file that lies outside of `within`, if given, is not read.
        """
        return load_json_files(Record, self.folder, within)


def key_of_cell(
    stages: Sequence[Mapping[str, Any]],
    *,
    task: str,
    data: str,
    base: str,
    budget: Budget,
    seed: int,
    partners: Iterable[tuple[str, str]] = (),
    teacher: str | None = None,
) -> str:
    """Return a cell's content key: the hash of everything that its quality depends on.

    Args:
        stages: for each stage of the strategy its name (``strategy``), every parameter with an explicit learning rate
            (``params``), its ``revision`` if that is above 1 and, where it reads files of the user, their SHA-256s
            (``files``).
        task: the task's name.
        data: the fingerprint of the task's data.
        base: the SHA-256 of the base model.
        budget: the budget that all strategies share.
        seed: the random seed of this repetition.
        partners: for a joint strategy the name and fingerprint of each task trained together, including this one.
        teacher: the SHA-256 of the teacher, model or file of answers, that the user gave.
    """
    return content_hash(
        {
            "schema": SCHEMA_VERSION,
            "stages": list(stages),
            "task": task,
            "data": data,
            "base": base,
            "partners": sorted([name, fingerprint] for name, fingerprint in partners),
            **({"teacher": teacher} if teacher else {}),
            "budget": budget.identity(),
            "seed": seed,
        }
    )


def spelled_out(
    params: Mapping[str, Any], learning_rates: Mapping[str, float], kind: TaskKind
) -> dict[str, Any]:
    """Return `params` with an explicit learning rate: the strategy's own for tasks of `kind` where the user set none."""
    given = params["learning_rate"]
    return {
        **identity_of_params(params),
        "learning_rate": default_rate(learning_rates, kind) if given is None else given,
    }

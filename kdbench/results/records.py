"""What one cell measured, and the folder that keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field

from kdbench.api.kinds import TaskKind
from kdbench.api.params import default_rate
from kdbench.budgets import Budget
from kdbench.utils.files import Part, content_hash, load_json_files, read_json_file, write_atomically

SCHEMA_VERSION = 1


class Status(str, Enum):
    """How a cell ended."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    NOT_APPLICABLE = "not-applicable"

    def __str__(self) -> str:
        return self.value


class StrategyInfo(Part):
    """Which strategy ran, and the distribution that brought it."""

    name: str
    label: str
    """The row's name on a board: stage by stage the name and the parameters that differ from the defaults."""
    title: str
    citation: str = Field(validation_alias=AliasChoices("citation", "reference"))
    """The paper; records of version 0.1 call it ``reference``."""
    family: str
    params: dict[str, Any]
    """Every parameter, defaults included; of a stack those of each stage under the stage's name."""
    distribution: str
    version: str
    uses_teacher: bool = False
    """Whether it learns from the teacher, so that there is a gap to recover."""
    control: str | None = None
    """The label of the row that this one is held against."""
    note: str = ""
    """What a reader of the board must know of the deployed model."""


class TaskInfo(Part):
    """Which task was scored, on what."""

    name: str
    title: str
    kind: str
    """The name of its `TaskKind`; a plugin's kind need not be known here."""
    metric: str
    eval_split: str = Field(validation_alias=AliasChoices("eval_split", "scored_split"))
    """The split that was scored; records of version 0.1 call it ``scored_split``."""
    fingerprint: str
    source: str
    labels: tuple[str, ...]
    train_examples: int
    validation_examples: int
    scored_examples: int
    validation_split: str = "train"
    """The split that the validation examples are a part of."""
    duplicates: int = 0
    """Scored examples whose text stands in train, too; counted over the whole splits."""
    too_long_share: float = 0.0
    """Share of examples longer than the budget's word pieces: truncated, or for tokens split."""
    unknown_share: float = 0.0
    """Share of word pieces that the tokenizer does not know."""
    licence: str = ""
    citation: str = ""
    majority_score: float | None = None
    """The headline metric of always answering the most frequent training label."""


class ModelInfo(Part):
    """The base model that every strategy started from."""

    name: str
    weights_sha256: str
    teacher: str | None = None
    """The fine-tuned model that the user gave as the teacher; None where the base was fine-tuned here."""


class Quality(Part):
    """Scores of the reloaded artifact on the scored split; each as a fraction."""

    score: float
    """The headline metric."""
    low: float
    high: float
    """The 95% interval of `score`: a percentile bootstrap over the scored examples."""
    metrics: dict[str, float]
    """Every metric of the task, the headline among them."""
    noisy_score: float | None = None
    """The headline metric with typing errors in the text, on the examples of `PreparedTask.noisy`."""
    noisy_drop: float | None = None
    """How much higher the headline metric of the same examples is without them."""


class Size(Part):
    """Parameters and bytes of the artifact."""

    total_parameters: int
    trainable_parameters: int
    """What training updated: less than the total for LoRA and its kind."""
    non_embedding_parameters: int
    artifact_bytes: int
    task_bytes: int
    """What one more task on the same base model adds: adapter and head where the base stays as it is, else all."""


class Compute(Part):
    """What the artifact takes to answer one example at a time, on the machine of the record."""

    flops_per_example: int | None = None
    """Operations of its matrix products (integer ones in an integer graph); a multiply-add counts as two."""
    flops_length: int
    """The word pieces of that example: of all scored lengths the nearest to their mean."""
    inference_peak_bytes: int | None = None
    """Memory that the model adds at most, loaded and answering examples from the shortest to the longest."""
    inference_libraries_bytes: int | None = None
    """Resident memory of the process without the model: Python and the libraries, warmed up."""
    inference_peak_gpu_bytes: int | None = None
    """GPU memory that the model adds at most; None where it ran on no GPU."""


class Cost(Part):
    """What obtaining the model took."""

    train_s: float
    """Seconds in the training loop, validations included."""
    total_s: float
    """Seconds of the whole fitting: loading, training, finalizing, saving."""
    teacher_s: float
    """Seconds that training the teacher and computing its outputs took, where this cell used them; 0 elsewhere."""
    steps: int
    examples: int
    """Training examples seen, repeats counted."""
    tokens: int
    """Training tokens seen, padding not counted."""
    train_flops: int | None = None
    """Operations of the training steps (see `TrainingRun`); the teacher's own training and cached logits are not
    among them, as their seconds are not in `train_s`. None where a loop's are not known."""
    unlabelled_examples: int = 0
    """Distinct examples without a label that were trained on: a transfer set, or made by augmentation."""
    peak_memory_bytes: int | None
    """The largest resident set of the fitting process."""


class LearningCurve(Part):
    """How one training loop went."""

    steps: tuple[int, ...]
    """The last step of each stretch of steps."""
    losses: tuple[float, ...]
    """The mean training loss over each stretch; None of them says how good the model is."""
    validated: tuple[int, ...] = ()
    """The steps after which the model was validated."""
    scores: tuple[float, ...] = ()
    """The headline metric on the validation part then."""


class Environment(Part):
    """Where a record came from."""

    hardware: dict[str, str]
    libraries: dict[str, str]
    git_revision: str | None
    git_dirty: bool | None


class Record(Part):
    """What one cell measured; a number that was not measured is absent, never a stand-in."""

    schema_version: Literal[1] = 1
    key: str
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
    """One a training loop: a stack and a training in stages have several."""
    warnings: tuple[str, ...] = ()
    environment: Environment
    finished_at: datetime

    def misplaced(self, path: Path) -> str | None:
        """Return that this is a copy where the file at `path` is named after another key."""
        if path.stem == self.key:
            return None
        return f"a copy of the record {self.key}, which would count twice"


class RecordStore:
    """The records of a results folder: ``records/<key>.json``."""

    def __init__(self, results: Path) -> None:
        self.folder = results / "records"

    def path(self, key: str) -> Path:
        """Return where the record of `key` stands or would stand."""
        return self.folder / f"{key}.json"

    def get(self, key: str) -> Record | None:
        """Return the record of `key`, or None where there is none that can be read."""
        path = self.path(key)
        return read_json_file(Record, path)[0] if path.exists() else None

    def put(self, record: Record) -> None:
        """Write `record` so that a reader, even after a crash, sees all of it or none."""
        write_atomically(self.path(record.key), record.model_dump_json(indent=1) + "\n")

    def load(self) -> tuple[list[Record], list[str]]:
        """Return every readable record in the order of their keys, and a line for each file that is none."""
        return load_json_files(Record, self.folder)


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
    """Return the hash of all that a cell's quality follows from.

    Args:
        stages: of each stage of the strategy the name (``strategy``), every parameter with the learning rate spelled
            out (``params``) and, where it reads files of the user's, their SHA-256s (``files``).
        task: the task's name.
        data: the fingerprint of the task's data.
        base: the SHA-256 of the base model.
        budget: what every strategy gets alike.
        seed: the repetition.
        partners: of a joint strategy the name and the fingerprint of each task trained together, this one among them.
        teacher: the SHA-256 of the teacher that the user gave.
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
    """Return `params` with the strategy's own learning rate for tasks of `kind` where the user set none."""
    given = params["learning_rate"]
    return {**params, "learning_rate": default_rate(learning_rates, kind) if given is None else given}

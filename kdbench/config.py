"""The settings of a run: defaults, then the config file, then the flags, in one validated `RunConfig`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
import tomlkit
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from tomlkit.exceptions import ParseError, TOMLKitError

from kdbench.api.task import TaskKind
from kdbench.budgets import BUDGETS, Budget, own_budget
from kdbench.errors import UsageError, nearest
from kdbench.utils.system import default_workers


def default_cache_dir() -> Path:
    """Return the folder that ``KDBENCH_CACHE`` names, or else the platform's cache folder for kdbench."""
    named = os.environ.get("KDBENCH_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("kdbench")


@dataclass(frozen=True)
class DataSettings:
    """Where data is looked for, and where it is kept."""

    data_dir: Path | None = None
    """The folder of corpora in their official layouts."""
    cache_dir: Path = field(default_factory=default_cache_dir)
    """What was fetched, read and encoded; may be deleted at any time."""


def _own_kind(name: object) -> TaskKind:
    """Return the kind of task called `name`, one of kdbench's own: only of those are files read without code."""
    for kind in TaskKind:
        if kind == name:
            return kind
    known = " or ".join(repr(str(kind)) for kind in TaskKind)
    raise ValueError(f"must be {known.replace(' or ', ', ', 1)}; a plugin's kind takes a Task in a plugin")


def task_name(file: Path) -> str:
    """Return what a task of `file` is called: the file's name in lower case, with dashes for what names cannot hold."""
    return re.sub(r"[^a-z0-9]+", "-", file.name.split(".")[0].lower()).strip("-") or "task"


class TaskTable(BaseModel):
    """A task of the user's own: files, or a data set of the hub."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Annotated[TaskKind, PlainValidator(_own_kind), PlainSerializer(str)] = Field(
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
        if self.kind.per_word and isinstance(self.text, tuple) and len(self.text) > 1:
            raise ValueError("text names one column of words, since the task is a token classification")
        if self.kind is TaskKind.SEQUENCE_REGRESSION and self.labels:
            raise ValueError("labels have no place in a sequence-regression task")
        return self

    @property
    def headline(self) -> str:
        """The headline metric."""
        return self.metric or self.kind.metric

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns of the texts, or of the words."""
        default = "tokens" if self.kind.per_word else "text"
        if isinstance(self.text, tuple):
            return self.text
        return (str(self.text) if self.text != "" else default,)

    @property
    def label_column(self) -> str:
        """The column of the label, or of the tags."""
        return str(self.label) if self.label != "" else self.kind.label_column


_PATHS = ("data_dir", "results", "board", "cache_dir")
_MODELS = ("model", "teacher")
"""Either a folder or a hub id."""


class PluginTable(BaseModel):
    """Plugins that are not installed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    modules: list[str] = Field([], description="modules by dotted name, or paths of .py files")


class RunConfig(BaseModel):
    """What a run does; the names are those of the flags."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: list[str] = Field(["*"], min_length=1, description="names, globs, or name[parameter=value,…]")
    task: list[str] = Field(
        [],
        description="names or globs; by default those described under tasks, or else those in data_dir, "
        "or else the embedded ones",
    )
    budgets: dict[str, dict[str, Any]] = Field(
        {}, description="budgets of the user's own: a `base`, and what is different"
    )
    budget: str = Field("quick", description="smoke, quick, standard, full, or one of budgets")
    seeds: int | None = Field(
        None, ge=1, le=100, description="how many seeds; by default the budget's number"
    )
    model: str | None = Field(None, description="a folder or a hub id; by default the embedded MiniLM")
    teacher: str | None = Field(
        None,
        description="a fine-tuned model, folder or hub id, in the place of one trained here; for one task",
    )
    data_dir: Path | None = Field(None, description="a folder with corpora in their official layouts")
    results: Path = Field(Path("results"), description="the folder that records and models are kept in")
    board: Path | None = Field(
        None, description="the folder that boards are written to; by default leaderboards/<budget>"
    )
    cache_dir: Path = Field(default_factory=default_cache_dir, description="downloads and encoded data")
    executor: Literal["process", "inline"] = Field("process", description="where cells run")
    workers: int | None = Field(
        None,
        ge=1,
        le=256,
        description="cells at once; by default one a core, as far as memory goes, one on a GPU",
    )
    threads: int | None = Field(None, ge=1, le=1024, description="threads a cell; by default cores / workers")
    timeout: float | None = Field(None, gt=0, description="seconds a cell may take")
    overwrite: Literal["never", "failed", "all"] = Field(
        "never", description="which finished cells are run again"
    )
    drawings: bool = Field(
        True, description="whether the page index.html and the pictures are drawn beside the board's tables"
    )
    report_to: list[str] = Field(
        [],
        description="trackers told of losses and validations, such as wandb; TensorBoard files are written anyway",
    )
    tasks: dict[str, TaskTable] = Field({}, description="tasks of the user's own: files, or hub data sets")
    plugins: PluginTable = PluginTable()
    grid: dict[str, dict[str, Annotated[list[Any], Field(min_length=1)]]] = Field(
        {}, description="by strategy and parameter: the values to try, every combination a row"
    )

    @field_validator("budgets")
    @classmethod
    def _possible_budgets(cls, tables: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, table in tables.items():
            own_budget(name, table)
        return tables

    @field_validator("budget")
    @classmethod
    def _known_budget(cls, name: str, info: ValidationInfo) -> str:
        known = [*BUDGETS, *info.data.get("budgets", {})]
        if name not in known:
            raise ValueError(f"unknown budget {name!r}{nearest(name, known)}")
        return name

    @property
    def known_budgets(self) -> dict[str, Budget]:
        """The budgets by name, the user's own last."""
        return {**BUDGETS, **{name: own_budget(name, table) for name, table in self.budgets.items()}}

    @property
    def resolved_budget(self) -> Budget:
        """The budget with its numbers."""
        return self.known_budgets[self.budget]

    @property
    def seed_count(self) -> int:
        """How many seeds run."""
        return self.seeds or self.resolved_budget.seeds

    @property
    def worker_count(self) -> int:
        """How many cells run at once."""
        return self.workers or default_workers()

    @property
    def board_folder(self) -> Path:
        """Where boards are written."""
        return self.board or Path("leaderboards") / self.budget

    @property
    def drawings_cache(self) -> Path | None:
        """Where the page's libraries are kept; None where neither page nor pictures are wanted."""
        return self.cache_dir if self.drawings else None

    @property
    def data(self) -> DataSettings:
        """Where data is looked for and kept."""
        return DataSettings(data_dir=self.data_dir, cache_dir=self.cache_dir)


def load_config(file: Path | None, flags: Mapping[str, Any]) -> RunConfig:
    """Return the merged settings; a flag beats the file, the file beats the default.

    Args:
        file: a TOML file, whose relative paths count from its own folder.
        flags: by name; None and empty lists mean that a flag was not given.

    Raises:
        UsageError: the file cannot be read, or a value is impossible; names the file, the line and the key.
    """
    given = {name: value for name, value in flags.items() if value is not None and value != []}
    text = _read(file) if file is not None else ""
    settings = _parse(file, text) if file is not None else {}
    try:
        return RunConfig.model_validate({**settings, **given})
    except ValidationError as error:
        raise UsageError(_explain(error, given, file, text)) from None


def to_toml(config: RunConfig) -> str:
    """Return `config` as a TOML file that gives the same run again."""
    return tomlkit.dumps(config.model_dump(mode="json", exclude_none=True))


def _read(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"config {file} cannot be read: {error.strerror}; correct --config") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"config {file} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    if not text.strip():
        raise UsageError(
            f'config {file} is empty; write settings such as budget = "smoke", or leave --config out'
        )
    return text


def _parse(file: Path, text: str) -> dict[str, Any]:
    try:
        settings = dict(tomlkit.parse(text).unwrap())
    except ParseError as error:
        raise UsageError(f"config {file}, line {error.line}: {' '.join(str(error).split())}") from None
    except TOMLKitError as error:
        raise UsageError(f"config {file}: {error}") from None
    for name in _PATHS:
        if isinstance(settings.get(name), str):
            settings[name] = _beside(file, settings[name])
    for name in _MODELS:
        model = settings.get(name)
        if isinstance(model, str) and _beside(file, model).is_dir():
            settings[name] = str(_beside(file, model))
    match settings:
        case {"plugins": {"modules": [*modules], **others}}:
            settings["plugins"] = {**others, "modules": [_plugin_beside(file, module) for module in modules]}
    match settings:
        case {"tasks": {**tables}}:
            settings["tasks"] = {name: _task_beside(file, table) for name, table in tables.items()}
    return settings


def _beside(file: Path, path: str) -> Path:
    return file.parent / Path(path).expanduser()


def _plugin_beside(file: Path, module: object) -> object:
    is_file = isinstance(module, str) and module.endswith(".py")
    return str(_beside(file, str(module))) if is_file else module


def _task_beside(file: Path, table: object) -> object:
    if not isinstance(table, dict) or table.get("dataset"):
        return table  # of a hub data set the splits have names, not paths
    splits = ("train", "validation", "test")
    return {
        key: str(_beside(file, value)) if key in splits and value and isinstance(value, str) else value
        for key, value in table.items()
    }


def _explain(error: ValidationError, flags: Mapping[str, Any], file: Path | None, text: str) -> str:
    first = error.errors()[0]
    keys = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        known = list(RunConfig.model_fields if len(keys) == 1 else PluginTable.model_fields)
        what = f"unknown setting {'.'.join(keys)!r}{nearest(keys[-1], known)}"
    else:
        message = first["msg"].removeprefix("Value error, ")
        what = f"{'.'.join(keys)}: {message[0].lower()}{message[1:]}, got {first['input']!r}"
        if first["type"] == "value_error":
            what = message
    if keys[0] in flags:
        # What flags say of a task file ends up in a table of `tasks`.
        flag = keys[2] if keys[0] == "tasks" and len(keys) > 2 else keys[0]
        return f"--{flag.replace('_', '-')}: {what.removeprefix('.'.join(keys) + ': ')}"
    return f"config {file}, line {_line_of(first['loc'], text)}: {what}"


def _line_of(place: tuple[int | str, ...], text: str) -> int:
    """Return the line on which the innermost of the keys in `place` that the file spells out stands."""
    start = 0
    for key in (part for part in place if isinstance(part, str)):
        pattern = re.compile(rf"^[^=#\n]*(?<![\w-]){re.escape(key)}[\"']?[ \t]*[=\].]", re.MULTILINE)
        match = pattern.search(text, start)
        if match is not None:
            start = match.start()
    return text.count("\n", 0, start) + 1


EMBEDDED_NAME = "all-MiniLM-L6-v2"

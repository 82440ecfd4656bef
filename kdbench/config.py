"""Merge defaults, config file and flags into one validated `RunConfig`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
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

from kdbench.api.task import RESERVED_TASK_NAMES, TaskKind
from kdbench.budgets import (
    BUDGETS,
    SERVING_PROCESSES,
    BackEnd,
    Budget,
    LabelCount,
    custom_budget,
    split_label_count,
    with_label_count,
)
from kdbench.errors import UsageError, nearest, shown
from kdbench.utils.files import user_path
from kdbench.utils.system import default_workers

EMBEDDED_NAME = "all-MiniLM-L6-v2"
"""The base model that a run uses by default."""
EMBEDDED_TEACHER_NAME = "all-mpnet-base-v2"
"""An encoder of five times its parameters, as a teacher or as another base model."""


def default_cache_dir() -> Path:
    """Return the folder named by ``KDBENCH_CACHE``, or else the platform's cache folder for kdbench."""
    named = os.environ.get("KDBENCH_CACHE")
    folder = user_path(named) if named else platformdirs.user_cache_path("kdbench")
    if folder.parts[:1] == ("~",):  # this user has no home folder
        raise UsageError("this user has no home folder; set KDBENCH_CACHE to a folder for models and data")
    return folder


@dataclass(frozen=True)
class DataSettings:
    """Where data is read from and where it is cached."""

    data_dir: Path | None = None
    """A folder with corpora in their official layouts."""
    cache_dir: Path = field(default_factory=default_cache_dir)
    """Downloads, read and encoded data; may be deleted at any time."""


def _built_in_kind(name: object) -> TaskKind:
    """Return the built-in kind of task called `name`: files of other kinds cannot be read without code."""
    for kind in TaskKind:
        if kind == name:
            return kind
    known = " or ".join(repr(str(kind)) for kind in TaskKind)
    raise ValueError(
        f"must be {known.replace(' or ', ', ', 1)}; a task of a plugin's kind must be defined in a plugin"
    )


def data_suffix(name: str) -> str:
    """Return the suffix of a file of data in lower case, such as ``.jsonl``, without that of its compression."""
    suffixes = [suffix.lower() for suffix in PurePath(name).suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix not in (".gz", ".bz2")), "")


ANSWER_FILES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""The suffixes by which a teacher is known to be a file of answers and not a model."""


def is_answers(teacher: str | None) -> bool:
    """Return whether the setting `teacher` names a file of answers; else it is a model, or None."""
    return teacher is not None and data_suffix(teacher) in ANSWER_FILES


def task_name(file: Path) -> str:
    """Return the task name for `file`: its stem in lower case, with dashes in place of characters names cannot have."""
    name = re.sub(r"[^a-z0-9]+", "-", file.name.split(".")[0].lower()).strip("-")
    return f"{name}-task".lstrip("-") if not name or name in RESERVED_TASK_NAMES else name


def named_delimiter(name: str | None) -> str:
    """Return the delimiter called `name`: itself, or the tab, which is hard to type; empty if there is none.

    Raises:
        UsageError: it is not one character.
    """
    delimiter = "\t" if name in (r"\t", "tab") else name or ""
    if len(delimiter) > 1:
        raise UsageError(f"the delimiter {name!r} is not one character; name one such as ';', or tab")
    return delimiter


class TaskTable(BaseModel):
    """A user-defined task: files, or a data set on the hub."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Annotated[TaskKind, PlainValidator(_built_in_kind), PlainSerializer(str)] = Field(
        TaskKind.SEQUENCE_CLASSIFICATION,
        description="sequence-classification, sequence-regression, token-classification or multi-label-classification",
    )
    title: str = ""
    train: str = Field("", description="file of training examples; for a hub data set the name of the split")
    validation: str = Field("", description="file or split for validation; by default a part of train")
    test: str = Field("", description="file or split for evaluation; by default a fifth of train, held out")
    dataset: str = Field("", description="a data set on the hub, instead of files")
    config: str = Field("", description="the hub data set's configuration, if it has several")
    revision: str = Field("", description="the hub data set's revision")
    text: int | str | tuple[str] | tuple[str, str] = Field(
        "",
        description="column of the text (two for a pair) or of the words; in CoNLL files its number",
    )
    label: int | str | tuple[str, ...] = Field(
        "",
        description="column of the label or of the tags; in CoNLL files its number; several columns, a,b, are labels of which"
        " a text has those with a 1 (multi-label-classification)",
    )
    separator: str = Field(
        ";",
        min_length=1,
        description="separator of the labels in one column of a multi-label-classification, unless it has lists",
    )
    group: str = Field("", description="column whose equal values must stay in one split")
    labels: tuple[str, ...] = Field((), description="the classes or entity types; by default those in train")
    metric: str = Field(
        "", description="headline metric; by default accuracy, pearson, entity-f1 or micro-f1"
    )
    metrics: tuple[str, ...] = Field((), description="additional metrics")
    delimiter: str = Field(
        "",
        description="delimiter of values, such as ';' or tab; by default a comma in .csv and a tab in .tsv",
    )
    quotes: bool = Field(True, description='whether values in .csv and .tsv may be quoted by "')

    @field_validator("delimiter")
    @classmethod
    def _named(cls, delimiter: str) -> str:
        return named_delimiter(delimiter)

    @model_validator(mode="before")
    @classmethod
    def _several_columns_are_labels(cls, table: Any) -> Any:
        if isinstance(table, dict) and isinstance(table.get("label"), list | tuple) and "kind" not in table:
            return {**table, "kind": TaskKind.MULTI_LABEL_CLASSIFICATION}
        return table

    @model_validator(mode="after")
    def _has_one_source(self) -> TaskTable:
        if not self.dataset and not self.train:
            raise ValueError("name the training file as train, or a hub data set as dataset")
        if self.kind.per_word and isinstance(self.text, tuple) and len(self.text) > 1:
            raise ValueError("text names one column of words, since the task is a token classification")
        if self.kind is TaskKind.SEQUENCE_REGRESSION and self.labels:
            raise ValueError("a sequence-regression task has no labels; leave labels out")
        if isinstance(self.label, tuple):
            self._check_label_columns(self.label)
        return self

    def _check_label_columns(self, columns: tuple[str, ...]) -> None:
        if self.kind is not TaskKind.MULTI_LABEL_CLASSIFICATION:
            raise ValueError(
                f"label names one column, since the task is a {self.kind}; several are for multi-label-classification"
            )
        if not columns or not all(columns) or len(set(columns)) < len(columns):
            raise ValueError(f"label must name distinct columns, not {shown(columns)}")
        if self.labels:
            raise ValueError("the columns that label names are the labels; leave labels out")

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
    def label_columns(self) -> tuple[str, ...]:
        """The columns of the label, or of the tags: one, unless each is a label of its own."""
        if isinstance(self.label, tuple):
            return self.label
        return (str(self.label) if self.label != "" else self.kind.label_column,)


_PATHS = ("data_dir", "results", "board", "cache_dir")
_MODELS = ("model", "teacher")
"""Either a folder (a teacher may be a file of answers, too) or a hub id."""


class PluginTable(BaseModel):
    """Plugins that are not installed but named in the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    modules: list[str] = Field([], description="modules by dotted name, or paths of .py files")


_FIRST_SEEDS = 3
"""Two say too little of the spread over seeds."""
MAX_SEEDS = 10


class RunConfig(BaseModel):
    """The settings of a run; the field names are those of the flags."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: list[str] = Field(["*"], min_length=1, description="names, globs or name[parameter=value,…]")
    task: list[str] = Field(
        [],
        description="names or globs; by default the tasks defined in the config, or else those in data_dir, "
        "or else rotten-tomatoes and twitter-ner",
    )
    budgets: dict[str, dict[str, Any]] = Field({}, description="user-defined budgets: a `base` and overrides")
    budget: str = Field("quick", description="smoke, quick, standard, full or a user-defined budget")
    labels: list[LabelCount] = Field(
        [],
        description="label counts, such as 16,64,256,all: the matrix is run at each, and the board compares them; all is the"
        " budget's own number of labelled training examples",
    )
    seeds: int | None = Field(None, ge=1, le=100, description="number of seeds; by default the budget's")
    until_decided: bool = Field(
        False,
        description="whether only rows that are open get further seeds, until each is shown to be worse than another or"
        " within the margin of the best",
    )
    max_seeds: int | None = Field(
        None, ge=2, le=100, description=f"the most seeds of a row with until_decided; by default {MAX_SEEDS}"
    )
    model: str | None = Field(
        None,
        description=f"a folder, a hub id, or an embedded model: {EMBEDDED_NAME} (the default) or {EMBEDDED_TEACHER_NAME}",
    )
    teacher: str | None = Field(
        None,
        description="what teaches instead of the base model: a fine-tuned model or an encoder to be fine-tuned, named as the"
        f" base model is ({EMBEDDED_TEACHER_NAME} is embedded), or a file of answers (.jsonl, .csv, .tsv, .parquet); for one task",
    )
    data_dir: Path | None = Field(None, description="a folder with corpora in their official layouts")
    results: Path = Field(Path("results"), description="the folder for records and models")
    board: Path | None = Field(None, description="the folder for boards; by default leaderboards/<budget>")
    cache_dir: Path = Field(default_factory=default_cache_dir, description="downloads and encoded data")
    executor: Literal["process", "inline"] = Field(
        "process", description="whether cells run in processes of their own or in this one"
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=256,
        description="cells run at once; by default one per core as memory allows, one on a GPU",
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="threads per cell; by default cores / workers"
    )
    timeout: float | None = Field(None, gt=0, description="time limit per cell in seconds")
    back_end: list[BackEnd] = Field(
        [],
        description="back ends in which models are timed beside the budget's own, such as torch-compile",
    )
    margin: float = Field(
        0.5, gt=0, le=100, description="points by which scores may differ and still count as no loss"
    )
    price_per_answer: float | None = Field(
        None, gt=0, description="price of one answer of a teacher that is a file of answers, in any currency"
    )
    overwrite: Literal["never", "failed", "outdated", "all"] = Field(
        "never",
        description="which finished cells are run again; outdated are those that another version of their plugin made",
    )
    serving: bool | None = Field(
        None,
        description="whether models also serve requests (latency under load, cold start, memory); by default as the budget"
        " says: standard and full do",
    )
    drawings: bool = Field(
        True, description="whether to write the page index.html and the plots beside the board's tables"
    )
    report_to: list[str] = Field(
        [],
        description="trackers to report losses and validations to, such as wandb; TensorBoard files are always written",
    )
    tasks: dict[str, TaskTable] = Field({}, description="user-defined tasks: files, or hub data sets")
    plugins: PluginTable = PluginTable()
    grid: dict[str, dict[str, Annotated[list[Any], Field(min_length=1)]]] = Field(
        {}, description="values to try per strategy and parameter; every combination is a row"
    )

    @field_validator("max_seeds")
    @classmethod
    def _of_until_decided(cls, number: int | None, info: ValidationInfo) -> int | None:
        if number is not None and not info.data.get("until_decided"):
            raise ValueError("applies to until_decided alone; set that, too, or set seeds instead")
        return number

    @field_validator("budgets")
    @classmethod
    def _valid_budgets(cls, tables: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, table in tables.items():
            custom_budget(name, table)
        return tables

    @field_validator("budget")
    @classmethod
    def _known_budget(cls, name: str, info: ValidationInfo) -> str:
        with_label_count(name, _with_custom(info.data.get("budgets", {})))
        return name

    @field_validator("labels", mode="before")
    @classmethod
    def _split_labels(cls, counts: object) -> object:
        return [count.strip() for count in counts.split(",")] if isinstance(counts, str) else counts

    @field_validator("labels")
    @classmethod
    def _ascending_labels(cls, counts: list[LabelCount], info: ValidationInfo) -> list[LabelCount]:
        whole, of_budget = split_label_count(info.data.get("budget", ""))
        if of_budget is not None:
            return []  # a flag has chosen one count of those that the file has
        numbers = sorted({count for count in counts if count != "all"})
        for number in numbers if whole else ():
            with_label_count(f"{whole}@{number}", _with_custom(info.data.get("budgets", {})))
        whole_budget: list[LabelCount] = ["all"] if "all" in counts else []
        return [*numbers, *whole_budget]

    @property
    def known_budgets(self) -> dict[str, Budget]:
        """The budgets by name, the user-defined ones last."""
        return _with_custom(self.budgets)

    @property
    def resolved_budget(self) -> Budget:
        """The selected budget, with the back ends of `back_end` beside its own."""
        budget = with_label_count(self.budget, self.known_budgets)
        if self.serving is not None:
            processes = (budget.serving_processes or SERVING_PROCESSES) if self.serving else 0
            budget = budget.model_copy(update={"serving_processes": processes})
        return budget.timed_in(self.back_end) if self.back_end else budget

    @property
    def requested_back_ends(self) -> set[BackEnd]:
        """The back ends that the user has named, here or in a budget of their own."""
        table = self.budgets.get(split_label_count(self.budget)[0], {})
        named = [*table.get("latency_back_ends", ()), *table.get("latency_grid", ())]
        return {*self.back_end, *map(BackEnd, named)}

    @property
    def by_labels(self) -> dict[LabelCount, RunConfig]:
        """The settings of the run at each of `labels`, fewest first; a smaller count has its board in a folder below."""
        alone = self.model_copy(update={"labels": []})
        return {
            count: alone
            if count == "all"
            else alone.model_copy(
                update={
                    "budget": f"{self.budget}@{count}",
                    "board": self.board_folder / "labels" / str(count),
                    "drawings": False,
                }
            )
            for count in self.labels
        }

    @property
    def seed_count(self) -> int:
        """The number of seeds; with `until_decided` those that every row begins with, by default at least three."""
        least = _FIRST_SEEDS if self.until_decided else 1
        return self.seeds or max(least, self.resolved_budget.seeds)

    @property
    def most_seeds(self) -> int:
        """The most seeds of a row with `until_decided`."""
        return self.max_seeds or MAX_SEEDS

    @property
    def margin_share(self) -> float:
        """The margin as a fraction, as scores are."""
        return self.margin / 100

    @property
    def worker_count(self) -> int:
        """The number of cells run at once."""
        return self.workers or default_workers()

    @property
    def board_folder(self) -> Path:
        """The folder that boards are written to."""
        return self.board or Path("leaderboards") / self.budget

    @property
    def drawings_cache(self) -> Path | None:
        """Where the page's libraries are cached; None if neither page nor plots are to be written."""
        return self.cache_dir if self.drawings else None

    @property
    def data(self) -> DataSettings:
        """Where data is read from and cached."""
        return DataSettings(data_dir=self.data_dir, cache_dir=self.cache_dir)


def _with_custom(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Budget]:
    return {**BUDGETS, **{name: custom_budget(name, table) for name, table in tables.items()}}


def load_config(file: Path | None, flags: Mapping[str, Any]) -> RunConfig:
    """Return the merged settings; flags override the TOML file, the file overrides the defaults.

    Relative paths in the file are relative to its own folder. A flag of None or an empty list was not given.

    Raises:
        UsageError: the file cannot be read, or a value is invalid; names the file, the line and the key.
    """
    given = {name: value for name, value in flags.items() if value is not None and value != []}
    text = _read(file) if file is not None else ""
    settings = _parse(file, text) if file is not None else {}
    try:
        return RunConfig.model_validate({**settings, **given})
    except ValidationError as error:
        raise UsageError(_explain(error, given, file, text)) from None


def to_toml(config: RunConfig) -> str:
    """Return `config` as the text of a TOML file that reproduces the run."""
    return tomlkit.dumps(config.model_dump(mode="json", exclude_none=True))


_LARGEST_BYTES = 4 << 20


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:  # it may be a pipe, and a device has no end
            content = opened.read(_LARGEST_BYTES + 1)
        if len(content) > _LARGEST_BYTES:
            raise UsageError(f"config {file} has more than {_LARGEST_BYTES:,} bytes; correct --config")
        text = content.decode("utf-8-sig")
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
        json.dumps(settings, default=str)  # an integer in hexadecimal may have more digits than Python prints
    except ParseError as error:
        raise UsageError(f"config {file}, line {error.line}: {' '.join(str(error).split())}") from None
    except (TOMLKitError, ValueError) as error:
        raise UsageError(f"config {file}: {error}") from None
    for name in _PATHS:
        if isinstance(settings.get(name), str):
            settings[name] = _relative_to(file, settings[name])
    for name in _MODELS:
        model = settings.get(name)
        if isinstance(model, str) and _relative_to(file, model).exists():
            settings[name] = str(_relative_to(file, model))
    match settings:
        case {"plugins": {"modules": [*modules], **others}}:
            settings["plugins"] = {
                **others,
                "modules": [
                    str(_relative_to(file, module))
                    if isinstance(module, str) and module.endswith(".py")
                    else module
                    for module in modules
                ],
            }
    match settings:
        case {"tasks": {**tables}}:
            settings["tasks"] = {name: _resolved_task(file, table) for name, table in tables.items()}
    return settings


def _relative_to(file: Path, path: str) -> Path:
    try:
        return file.parent / user_path(path)
    except UsageError as error:
        raise UsageError(f"config {file}: {error}") from None


def _resolved_task(file: Path, table: object) -> object:
    if not isinstance(table, dict) or table.get("dataset"):
        return table  # the splits of a hub data set are names, not paths
    splits = ("train", "validation", "test")
    return {
        key: str(_relative_to(file, value)) if key in splits and value and isinstance(value, str) else value
        for key, value in table.items()
    }


def _explain(error: ValidationError, flags: Mapping[str, Any], file: Path | None, text: str) -> str:
    first = error.errors()[0]
    keys = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        known = list(RunConfig.model_fields if len(keys) == 1 else PluginTable.model_fields)
        what = f"unknown setting {shown('.'.join(keys))}{nearest(keys[-1], known)}"
    else:
        message = first["msg"].removeprefix("Value error, ")
        what = f"{'.'.join(keys)}: {message[0].lower()}{message[1:]}, got {shown(first['input'])}"
        if first["type"] == "value_error":
            what = message
    if keys[0] in flags:
        # The flags of a task file end up in a table of `tasks`.
        flag = keys[2] if keys[0] == "tasks" and len(keys) > 2 else keys[0]
        return f"--{flag.replace('_', '-')}: {what.removeprefix('.'.join(keys) + ': ')}"
    return f"config {file}, line {_line_of(first['loc'], text)}: {what}"


def _line_of(place: tuple[int | str, ...], text: str) -> int:
    """Return the line number of the innermost key in `place` that the file contains."""
    start = 0
    for key in (part for part in place if isinstance(part, str)):
        pattern = re.compile(rf"^[^=#\n]*(?<![\w-]){re.escape(key)}[\"']?[ \t]*[=\].]", re.MULTILINE)
        match = pattern.search(text, start)
        if match is not None:
            start = match.start()
    return text.count("\n", 0, start) + 1

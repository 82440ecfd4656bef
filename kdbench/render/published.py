"""List published results next to a task's board: never ranked, each with its differences in setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import pandas as pd
import tomlkit
from pydantic import BaseModel, ConfigDict, Field
from rich import box
from rich.table import Table
from rich.text import Text

from kdbench.board.frames import rows_of
from kdbench.render.markdown import markdown, table
from kdbench.utils import formatting
from kdbench.utils.formatting import MISSING, plural


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _System(_Part):
    name: str
    base: str | None = None
    family: str
    parameters: int | None = Field(None, gt=0)
    trainable_parameters: int | None = Field(None, gt=0)
    speedup: float | None = Field(None, gt=0)
    speedup_over: str | None = None
    notes: tuple[str, ...] = ()
    scores: Mapping[str, Mapping[str, float]]


class Source(_Part):
    """The publication and the place in it that a number is from."""

    authors: str
    year: int
    arxiv: str = Field(pattern=r"^\d{4}\.\d{5}$")
    place: str

    def __str__(self) -> str:
        return f"{self.authors} {self.year}, arXiv:{self.arxiv}, {self.place}"


class _TableOfSource(Source):
    split: str
    notes: tuple[str, ...] = ()
    system: tuple[_System, ...]


class _Table(_Part):
    examples: Mapping[str, Mapping[str, int]]
    source: tuple[_TableOfSource, ...]


class PublishedResult(_Part):
    """One system's score on one task, as published."""

    system: str
    base: str | None
    """The pretrained model; None if the system was trained from scratch."""
    family: str
    """The family of pretrained models, a word in their names."""
    task: str
    split: str
    examples: int | None
    """The number of examples of the split; None if its labels are not public."""
    metric: str
    score: float
    """A fraction; the sources report percent."""
    parameters: int | None
    trainable_parameters: int | None
    speedup: float | None
    """The factor over `speedup_over`, on the source's own hardware."""
    speedup_over: str | None
    notes: tuple[str, ...]
    """Other differences from plain fine-tuning of `base` on the task alone."""
    source: Source


def published_results(task: str) -> list[PublishedResult]:
    """Return the published results on `task`, in the order of the table."""
    return [result for result in all_published_results() if result.task == task]


@cache
def all_published_results() -> tuple[PublishedResult, ...]:
    """Return all published results of the package."""
    text = files("kdbench.render").joinpath("published_results.toml").read_text(encoding="utf-8")
    table = _Table.model_validate(tomlkit.parse(text).unwrap())
    return tuple(
        PublishedResult(
            **system.model_dump(exclude={"name", "notes", "scores"}),
            system=system.name,
            task=task,
            split=source.split,
            examples=table.examples.get(task, {}).get(source.split),
            metric=metric,
            score=round(percent / 100, 4),
            notes=(*source.notes, *system.notes),
            source=Source(**source.model_dump(include=set(Source.model_fields))),
        )
        for source in table.source
        for system in source.system
        for task, scores in system.scores.items()
        for metric, percent in scores.items()
    )


@cache
def families() -> frozenset[str]:
    """Return the families of pretrained models in the table."""
    return frozenset(result.family for result in all_published_results())


def family_of(model: str) -> str | None:
    """Return the family in the name of the pretrained `model`: the longest match, since roberta contains bert."""
    matches = [family for family in families() if family in model.casefold()]
    return max(matches, key=len, default=None)


@dataclass(frozen=True)
class Setting:
    """The setting of a board's scores on one task."""

    task: str
    metric: str
    split: str
    scored_examples: int
    train_examples: int
    model: str


@dataclass(frozen=True)
class ListedResult:
    """A published result and its differences from the board's setting."""

    result: PublishedResult
    is_same_family: bool
    differences: tuple[str, ...]


def results_for(setting: Setting) -> list[ListedResult]:
    """Return the published results on the setting's task, those of the same model family and split first."""
    family = family_of(setting.model)
    results = sorted(
        published_results(setting.task),
        key=lambda result: (
            result.family != family,
            result.split != setting.split,
            result.metric != setting.metric,
            -result.score,
        ),
    )
    return [
        ListedResult(result, result.family == family, _differences(result, setting)) for result in results
    ]


def _differences(result: PublishedResult, setting: Setting) -> tuple[str, ...]:
    differences = []
    if result.base is None:
        differences.append(f"no pretrained model (here {setting.model})")
    elif result.base.casefold() != setting.model.rpartition("/")[2].casefold():
        differences.append(f"pretrained model {result.base} (here {setting.model})")
    if result.split != setting.split:
        differences.append(f"{result.split} split (here {setting.split})")
    elif result.examples is not None and result.examples != setting.scored_examples:
        differences.append(
            f"scored on {plural(result.examples, 'example')} (here {setting.scored_examples:,} of them)"
        )
    if result.metric != setting.metric:
        differences.append(f"{result.metric} (here {setting.metric})")
    # A board always trains on fewer examples: at least validation examples are split off.
    differences.append(f"the whole training set (here {plural(setting.train_examples, 'example')})")
    return (*differences, *result.notes)


_HEADINGS = ("system", "score", "parameters", "speed-up", "source", "what differs")
_NUMBERS = ("score", "parameters", "speed-up")


def published_section(rows: pd.DataFrame, cells: pd.DataFrame) -> str:
    """Return the section ``Published results`` of one task's page in Markdown, even if there are none.

    Args:
        rows: the task's part of the table of rows.
        cells: the task's part of the table of cells.
    """
    results = results_for(_setting(cells))
    shared = _shared(results) if results else []
    headings = [(name, name not in _NUMBERS) for name in _HEADINGS]
    return markdown(
        "published",
        remark=_remark(cells),
        here=_teacher_score(rows),
        shared=shared,
        table=table(headings, [_cells(listed, shared) for listed in results]) if results else None,
    ).rstrip()


def published_terminal(rows: pd.DataFrame, cells: pd.DataFrame) -> list[Table]:
    """Return one table of published results per task that has any."""
    return [
        _table(str(task), results, _teacher_score(rows[rows["task"] == task]), _remark(of_task))
        for task, of_task in cells.groupby("task")
        if (results := results_for(_setting(of_task)))
    ]


def _setting(cells: pd.DataFrame) -> Setting:
    cell = rows_of(cells)[0]
    return Setting(
        task=cell["task"],
        metric=cell["metric"],
        split=cell["scored_split"],
        scored_examples=cell["scored_examples"],
        train_examples=cell["train_examples"],
        model=cell["model"],
    )


def _remark(cells: pd.DataFrame) -> str:
    model = cells["model"].iloc[0]
    return (
        f"They are not part of this board: the last column says what differs from {model} at this budget."
        " Results of the same model family on the same split come first."
    )


def _teacher_score(rows: pd.DataFrame) -> str:
    """Return the score of the board's teacher, to compare the published scores with."""
    teachers = [row for row in rows_of(rows) if row["is_teacher"] and row["score"] is not None]
    if not teachers:
        return ""
    teacher = teachers[0]
    score = formatting.with_interval(teacher["score"], teacher["score_low"], teacher["score_high"])
    return f"Here the teacher, {teacher['strategy']}, scores {score}."


def _shared(results: list[ListedResult]) -> list[str]:
    """Return the differences that all results share."""
    return [line for line in results[0].differences if all(line in listed.differences for listed in results)]


def _cells(listed: ListedResult, shared: list[str]) -> list[str]:
    result = listed.result
    parameters = formatting.count(result.parameters)
    if result.trainable_parameters is not None:
        parameters += f" ({formatting.count(result.trainable_parameters)} trained)"
    speed = MISSING if result.speedup is None else f"{result.speedup:g}x {result.speedup_over}"
    differences = [line for line in listed.differences if line not in shared]
    return [
        result.system,
        formatting.percent(result.score),
        parameters,
        speed,
        str(result.source),
        "; ".join(differences) or MISSING,
    ]


def _table(task: str, results: list[ListedResult], here: str, remark: str) -> Table:
    shared = _shared(results)
    caption = " ".join(filter(None, [remark, here, f"All of them: {'; '.join(shared)}." if shared else ""]))
    drawn = Table(
        title=Text(f"Published results on {task}"),
        title_justify="left",
        caption=Text(caption),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name in _HEADINGS:
        if name in _NUMBERS:
            drawn.add_column(Text(name), justify="right", overflow="fold")
        else:
            drawn.add_column(Text(name), overflow="fold")
    for listed in results:
        drawn.add_row(*(Text(text) for text in _cells(listed, shared)))
    return drawn

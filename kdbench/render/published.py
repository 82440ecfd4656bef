"""List published results next to a task's board: never ranked, each with its differences in setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated

import pandas as pd
import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.table import Table
from rich.text import Text
from tomlkit.exceptions import TOMLKitError

from kdbench.board.frames import Row, first_row, rows_of
from kdbench.errors import UsageError, shown
from kdbench.render.markdown import markdown, table
from kdbench.render.terminal import plain_table
from kdbench.utils import formatting
from kdbench.utils.formatting import MISSING, plural


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _SystemFacts(_Part):
    base: str | None = None
    """The pretrained model; None if the system was trained from scratch."""
    family: str
    """The family of pretrained models, a word in their names."""
    parameters: int | None = Field(None, gt=0)
    trainable_parameters: int | None = Field(None, gt=0)
    speedup: float | None = Field(None, gt=0)
    """The factor over `speedup_over`, on the source's own hardware."""
    speedup_over: str | None = None
    notes: tuple[str, ...] = ()
    """Other differences from plain fine-tuning of `base` on the task alone."""


class _System(_SystemFacts):
    name: str
    scores: Mapping[str, Mapping[str, Annotated[float, Field(ge=-100, le=100)]]]


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


class PublishedResult(_SystemFacts):
    """One system's score on one task, as published."""

    system: str
    task: str
    split: str
    examples: int | None
    """The number of examples of the split; None if its labels are not public."""
    metric: str
    score: float
    """A fraction; the sources report percent."""
    source: Source


_FILE = "published_results.toml"


@cache
def all_published_results() -> tuple[PublishedResult, ...]:
    """Return all published results of the package."""
    return parse_published(files("kdbench.render").joinpath(_FILE).read_text(encoding="utf-8"))


def parse_published(text: str) -> tuple[PublishedResult, ...]:
    """Return the published results in `text`, the content of a ``published_results.toml``.

    Raises:
        UsageError: it is not TOML, or has an invalid value; names the place.
    """
    try:
        table = _Table.model_validate(tomlkit.parse(text).unwrap())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(f"{_FILE}: {place}: {first['msg']}, got {shown(first['input'])}") from None
    except (TOMLKitError, ValueError) as error:
        raise UsageError(f"{_FILE}: {error}") from None
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


def family_of(model: str) -> str | None:
    """Return the family in the name of the pretrained `model`: the longest match, since roberta contains bert."""
    families = {result.family for result in all_published_results()}
    return max((family for family in families if family in model.casefold()), key=len, default=None)


@dataclass(frozen=True)
class ListedResult:
    """A published result and its differences from the board's setting."""

    result: PublishedResult
    differences: tuple[str, ...]


def results_for(cell: Row) -> list[ListedResult]:
    """Return the published results on the task of `cell`, those of the same model family and split first."""
    family = family_of(cell["model"])
    results = sorted(
        (result for result in all_published_results() if result.task == cell["task"]),
        key=lambda result: (
            result.family != family,
            result.split != cell["scored_split"],
            result.metric != cell["metric"],
            -result.score,
        ),
    )
    return [ListedResult(result, (*_differences(result, cell), *result.notes)) for result in results]


def _differences(result: PublishedResult, cell: Row) -> Iterator[str]:
    model, split, scored = cell["model"], cell["scored_split"], cell["scored_examples"]
    if result.base is None:
        yield f"no pretrained model (here {model})"
    elif result.base.casefold() != model.rpartition("/")[2].casefold():
        yield f"pretrained model {result.base} (here {model})"
    if result.split != split:
        yield f"{result.split} split (here {split})"
    elif result.examples is not None and result.examples != scored:
        yield f"scored on {plural(result.examples, 'example')} (here {scored:,} of them)"
    if result.metric != cell["metric"]:
        yield f"{result.metric} (here {cell['metric']})"
    # A board always trains on fewer examples: at least validation examples are split off.
    yield f"the whole training set (here {plural(cell['train_examples'], 'example')})"


_TEXTS = ("system", "source", "what differs")
_HEADINGS = [
    (name, name in _TEXTS) for name in ("system", "score", "parameters", "speed-up", "source", "what differs")
]
"""Each with whether its column is text."""


def published_section(rows: pd.DataFrame, cells: pd.DataFrame) -> str:
    """Return the section ``Published results`` of the page of the one task of `rows`, even if there are none."""
    results = results_for(first_row(cells))
    shared = _shared(results) if results else []
    return markdown(
        "published",
        remark=_remark(cells),
        here=_teacher_score(rows),
        shared=shared,
        table=table(_HEADINGS, [_cells(listed, shared) for listed in results]) if results else None,
    ).rstrip()


def published_terminal(rows: pd.DataFrame, cells: pd.DataFrame) -> list[Table]:
    """Return one table of published results per task that has any."""
    return [
        _table(str(task), results, _teacher_score(rows[rows["task"] == task]), _remark(of_task))
        for task, of_task in cells.groupby("task")
        if (results := results_for(first_row(of_task)))
    ]


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
    title = f"Published results on {task}"
    drawn = plain_table(_HEADINGS, title=title, caption=caption, overflow="fold")
    for listed in results:
        drawn.add_row(*map(Text, _cells(listed, shared)))
    return drawn

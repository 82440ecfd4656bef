"""The footnotes of a board: what was measured, how, on what."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from kdbench.board.statistics import ALPHA, TaskStatistics
from kdbench.budgets import BUDGETS
from kdbench.config import EMBEDDED_NAME
from kdbench.utils.formatting import escape_markdown, on_one_line, percent, plural


def task_notes(cells: pd.DataFrame, statistics: TaskStatistics) -> list[str]:
    """Return the notes on one task in Markdown.

    Args:
        cells: the task's part of the table of cells.
        statistics: what its predictions show.
    """
    return [
        *_task(cells),
        *_score(cells),
        *_ranks(statistics),
        *_budget(cells),
        *_strategies(cells),
        *run_notes(cells),
        *_latency(cells),
    ]


def run_notes(cells: pd.DataFrame) -> list[str]:
    """Return the notes on what all `cells` share in Markdown: base model, machines, software, dates."""
    return [f"**{name}.** {escape_markdown(text)}." for name, text in run_facts(cells)]


def run_facts(cells: pd.DataFrame) -> list[tuple[str, str]]:
    """Return what all `cells` share as names and plain texts: base model, machines, software, dates."""
    models = sorted({f"{name}, weights {sha[:8]}" for name, sha in _pairs(cells, "model", "weights_sha256")})
    given = sorted(cells["given_teacher"].dropna().unique())
    teachers = [("Teacher", f"{'; '.join(given)}, given and not trained here")] if given else []
    days = sorted({when.strftime("%Y-%m-%d") for when in cells["finished_at"]})
    return [
        ("Base model", "; ".join(models)),
        *teachers,
        ("Hardware", _told(cells["hardware"])),
        ("Software", _told(cells["software"])),
        ("Git revision", _told(cells["revision"])),
        ("Measured", f"{days[0]}{f' to {days[-1]}' if len(days) > 1 else ''} (UTC)"),
    ]


def unsteady(cells: pd.DataFrame) -> str | None:
    """Return which rows' calls had not reached a stable time when they were timed, as plain text; None without any."""
    found = cells[cells["latency_unsteady_after"].notna()]
    if found.empty:
        return None
    calls = " or ".join(str(calls) for calls in sorted(set(found["latency_unsteady_after"])))
    return (
        f"{', '.join(sorted(set(found['strategy'])))}: after {calls} calls of warming up, the time of a call was not stable"
        " yet, and the latency is less sure"
    )


def _task(cells: pd.DataFrame) -> Iterator[str]:
    cell = cells.iloc[0]
    majority = ""
    if not pd.isna(cell["majority_score"]):
        majority = f" Always answering the most frequent label scores {percent(cell['majority_score'])}."
    yield (
        f"**Task.** {escape_markdown(cell['task_title'])}; data: {escape_markdown(_told(cells['source']))}. Scored on"
        f" {plural(cell['scored_examples'], 'example')} of the {escape_markdown(cell['scored_split'])} split."
        f" Validated during training on {plural(cell['validation_examples'], 'example')} of the"
        f" {escape_markdown(cell['validation_split'])} split.{majority}"
    )
    if cell["duplicates"]:
        yield f"**Duplicates.** {plural(cell['duplicates'], 'scored example')} stand in train, too."
    if cell["too_long_share"] > 0:
        kept = "split into several rows" if cell["kind"] == "token-classification" else "truncated"
        yield f"**Length.** {cell['too_long_share']:.1%} of the examples are too long for the budget and {kept}."
    if cell["licence"] or cell["citation"]:
        yield f"**Data.** {escape_markdown('; '.join(filter(None, (cell['citation'], cell['licence']))))}."


def _score(cells: pd.DataFrame) -> Iterator[str]:
    if cells.duplicated("strategy").any():
        over = (
            "a bootstrap over the scored examples with the spread of the row's seeds, to which the task's other rows"
            " lend theirs"
        )
    else:
        over = "a percentile bootstrap over the scored examples; one seed tells nothing of what others would score"
    yield f"**Score.** {escape_markdown(cells['metric'].iloc[0])} in percent; its 95% interval is {over}."


def _ranks(statistics: TaskStatistics) -> Iterator[str]:
    if statistics.pairs is None:
        yield "**Rank.** None: there are no predictions by which rows could be compared."
        return
    pairs = len(statistics.rows) * (len(statistics.rows) - 1) // 2
    if pairs:
        yield (
            f"**Rank.** All {plural(pairs, 'pair')} of rows are compared on the same examples (paired bootstrap, spread"
            f" of the seeds added); a difference is shown where p < {ALPHA:g} by Holm over all pairs. The best row leads"
            " a group, the next ones join it until one is shown to differ from its leader and leads the next; rows of"
            " one rank may still differ from each other. Fronts and `kdbench recommend` take each pair by itself."
        )
    if statistics.power is not None:
        power = statistics.power
        yield (
            "**Power.** With these examples and seeds the median pair of rows shows a true difference of"
            f" {_points(power.alone)} four times in five at the {ALPHA:.0%} level by itself, and of"
            f" {_points(power.among_all)} at the strictest step of the correction for {plural(power.pairs, 'pair')}:"
            " smaller ones mostly stay unseen."
        )


def _points(difference: float) -> str:
    return f"{100 * difference:.1f} points"


def _budget(cells: pd.DataFrame) -> Iterator[str]:
    cell = cells.iloc[0]
    training = ""
    if not pd.isna(cell["steps"]) and not pd.isna(cell["batch_size"]):
        training = f", {plural(cell['steps'], 'step')} of {plural(cell['batch_size'], 'example')}"
    yield (
        f"**Budget.** {escape_markdown(cell['budget'])}, the same for every row:"
        f" {plural(cell['train_examples'], 'training example')},"
        f" {plural(cell['validation_examples'], 'validation example')}{training}, texts of up to"
        f" {cell['max_length']} word pieces.{_longer(cell)}"
    )


def _longer(cell: pd.Series[Any]) -> str:
    if cell["teacher_factor"] == 1 or cell["given_teacher"]:
        return ""
    return (
        f" The teacher alone takes {cell['teacher_factor']:g} times as many steps, since who distils or compresses a"
        " model has one that is trained; what trains few weights is held against the training of all weights in as"
        " many steps as its own."
    )


def _strategies(cells: pd.DataFrame) -> Iterator[str]:
    """Tell what the strategies themselves have to say of their models."""
    told = cells[cells["note"].notna()].drop_duplicates("strategy").sort_values("strategy")
    for strategy, note in _pairs(told, "strategy", "note"):
        yield f"**{escape_markdown(strategy)}.** {escape_markdown(note)}"


def _latency(cells: pd.DataFrame) -> Iterator[str]:
    timed = cells[cells["latency_setting"].notna()]
    for setting, same in timed.groupby("latency_setting"):
        rounds = " or ".join(f"{rounds:,}" for rounds in sorted(set(same["latency_rounds"])))
        yield (
            f"**Latency.** {escape_markdown(str(setting))}; {rounds} calls of each model, in rounds that all of them"
            " share."
        )
    for repeat in timed["latency_repeat"].dropna().unique():
        yield f"**Repeatability.** In the same rounds {escape_markdown(str(repeat))}."
    shares = sorted(timed["latency_busy_share"].dropna().unique())
    if shares:
        yield f"**Other processes** took {' or '.join(f'{share:.0%}' for share in shares)} of the cores' time meanwhile."
    for warning in timed["latency_warning"].dropna().unique():
        yield f"**Latency is in doubt.** {escape_markdown(str(warning))}"
    if (told := unsteady(cells)) is not None:
        yield f"**Not warm.** {escape_markdown(told)}."
    if timed.empty:
        yield "**Latency.** Not measured yet."


def _told(values: Iterable[object]) -> str:
    """Return the distinct `values` as text; where there are several, with the number of cells of each."""
    counts = pd.Series([value or "not recorded" for value in values], dtype="object").value_counts()
    if len(counts) == 1:
        return str(counts.index[0])
    return "; ".join(f"{value} ({plural(counts[value], 'cell')})" for value in sorted(counts.index))


def _pairs(cells: pd.DataFrame, first: str, second: str) -> Iterable[tuple[str, str]]:
    return zip(cells[first], cells[second], strict=True)


def rerun_command(cells: pd.DataFrame) -> list[str]:
    """Return the command that gives `cells` again from their records, its flags in lines.

    What a flag does not tell stands for the user to fill in: the folder of local data, as ``DIR``, and the settings
    that a budget of the user's own is described in, as ``FILE``.
    """
    first = cells.iloc[0]
    head = [["kdbench", "run"], ["--budget", first["budget"]], ["--seeds", str(cells["seed"].max() + 1)]]
    if first["budget"] not in BUDGETS:
        head.append(["--config", "FILE"])
    if first["model"] != EMBEDDED_NAME:
        head.append(["--model", first["model"]])
    head += [["--teacher", given] for given in sorted(cells["given_teacher"].dropna().unique())]
    if cells["source"].str.startswith("local ").any():
        head.append(["--data-dir", "DIR"])
    tasks = [["--task", task] for task in sorted(set(cells["task"]))]
    strategies = [["--strategy", strategy] for strategy in sorted(set(cells["strategy"]))]
    lines = [_joined(part) for part in (head, tasks, strategies)]
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def _joined(flags: list[list[str]]) -> str:
    return " ".join(shlex.quote(on_one_line(word)) for flag in flags for word in flag)

"""Generate the site's pages that follow from the code and from committed boards.

Each strategy has a page of its section in strategies.md, its parameters as registered, and its rows on the committed board;
each task one of what `kdbench describe` prints; each command one of its help.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from tabulate import tabulate

from kdbench.cli.description import listing
from kdbench.cli.main import cli
from kdbench.plugins import load_plugins

ROOT = Path(__file__).parents[2]
_SOURCE = ROOT / "docs" / "strategies.md"
BOARD = ROOT / "leaderboards" / "standard"
Row = Mapping[str, Any]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the pages of strategies, by family, and of tasks in the navigation."""
    registry = load_plugins()
    families: dict[str, list[str]] = {}
    for strategy in listing(registry, "strategies"):
        families.setdefault(strategy["family"], []).append(f"strategies/{strategy['name']}.md")
    strategies = [{family.capitalize(): pages} for family, pages in families.items()]
    tasks = [f"tasks/{name}.md" for name in registry.tasks]
    sections = {"Strategies": ["strategies.md", *strategies], "Tasks": ["tasks.md", *tasks]}
    config.nav = [
        {name: sections.get(name, pages) for name, pages in section.items()} for section in config.nav or []
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and copies of what stands outside of docs/."""
    for path, text in _pages():
        files.append(File.generated(config, path, content=text))
    for picture in BOARD.glob("pictures/*.png"):
        files.append(
            File.generated(config, f"boards/standard/pictures/{picture.name}", content=picture.read_bytes())
        )
    page = BOARD / "index.html"
    files.append(File.generated(config, "boards/standard/index.html", content=page.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to a section of strategies.md lead to the strategy's page, and those out of docs/ to the repository."""
    if page.file.src_path == "strategies.md":
        return _overview(markdown)
    up = "../" * page.file.src_path.count("/")
    return _linked(markdown, up)


def _pages() -> Iterator[tuple[str, str]]:
    """Yield path and Markdown of each generated page."""
    registry = load_plugins()
    source = _SOURCE.read_text(encoding="utf-8")
    for strategy in listing(registry, "strategies"):
        yield f"strategies/{strategy['name']}.md", _strategy_page(strategy, source)
    tasks = listing(registry, "tasks")
    yield "tasks.md", _tasks_page(tasks)
    for task in tasks:
        yield f"tasks/{task['name']}.md", _task_page(task)
    yield "reference/commands.md", _commands_page()
    yield "boards/index.md", _board_page()
    for name in ("CONTRIBUTING", "CHANGELOG"):
        text = (ROOT / f"{name}.md").read_text(encoding="utf-8")
        yield (
            f"{name.lower()}.md",
            re.sub(r"\[([^\]]+)\]\((?:LICENSE|SECURITY\.md)\)", r"\1", text.replace("](docs/", "](")),
        )


# --- strategies


def _strategy_page(strategy: Row, source: str) -> str:
    name = strategy["name"]
    section = _section(source, name)
    trains = any(parameter["name"] == "learning_rate" for parameter in strategy["parameters"])
    rates = ", ".join(f"{rate:g} ({kind})" for kind, rate in strategy["learning_rates"].items())
    facts = {
        "family": strategy["family"],
        "kinds of task": ", ".join(strategy["kinds"]),
        "learns from a teacher": "yes" if strategy["uses_teacher"] else "no",
        **({"learning rate": rates} if trains else {}),
        "paper": strategy["citation"],
    }
    parts = [f"# {name}", f"*{strategy['title']}*", _facts(facts), section]
    parts += ["## All parameters", _table(*_parameters(strategy["parameters"]))]
    rows = list(_measured(strategy=name))
    if rows:
        parts += ["## Measured", _BOARD_NOTE, _table(["row", "task", *_FIGURES.values()], rows)]
    parts += ["## Run it", f"```console\n$ kdbench describe {name}\n$ kdbench run --strategy {name}\n```"]
    return "\n\n".join(parts) + "\n"


def _section(source: str, name: str) -> str:
    """Return the text below the heading that names the strategy (``### fp16 and bf16`` names two)."""
    for heading, text in re.findall(r"^### ([^\n]+)\n(.*?)(?=^##|\Z)", source, re.MULTILINE | re.DOTALL):
        if name in heading.split(" and "):
            return str(text).strip()
    raise ValueError(f"docs/strategies.md has no section {name!r}")


def _parameters(parameters: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    rows = []
    for parameter in parameters:
        default = "none" if parameter["default"] is None else f"`{parameter['default']}`"
        rows.append(
            [
                f"`{parameter['name']}`",
                parameter["type"],
                default,
                parameter["constraints"],
                parameter["meaning"],
            ]
        )
    return ["parameter", "type", "default", "allowed", "meaning"], rows


def _overview(source: str) -> str:
    """Return what strategies.md says of all strategies, with links to their pages, and what it says of stacks."""
    introduction, _, rest = source.partition("\n## ")
    _, _, stacks = rest.partition("\n## Stacks\n")
    return f"{_to_pages(introduction)}\n\n## Stacks\n{_to_pages(stacks)}"


# --- tasks


def _tasks_page(tasks: Sequence[Row]) -> str:
    rows = [
        [
            f"[{task['name']}](tasks/{task['name']}.md)",
            task["title"],
            task["kind"],
            ", ".join(task["metrics"]),
        ]
        for task in tasks
    ]
    text = "Each comes as a plugin; [your own data](guides/own-data.md) needs none."
    return f"# Tasks\n\n{text}\n\n{_table(['task', '', 'kind', 'metrics'], rows)}\n"


def _task_page(task: Row) -> str:
    facts = {
        "kind": task["kind"],
        "labels": ", ".join(task["labels"]) or "a number",
        "metrics": ", ".join(task["metrics"]),
        "scored split": task["eval_split"],
        "sources": "; ".join(task["sources"]),
        "licence": task["licence"],
        "paper": task["citation"],
    }
    parts = [f"# {task['name']}", f"*{task['title']}*", _facts(facts)]
    rows = list(_measured(task=task["name"]))
    if rows:
        parts += ["## Measured", _BOARD_NOTE, _table(["row", "task", *_FIGURES.values()], rows)]
    parts += ["## Run it", f"```console\n$ kdbench run --task {task['name']}\n```"]
    return "\n\n".join(parts) + "\n"


# --- the committed board

_FIGURES = {
    "score": "score",
    "share_kept": "retained",
    "total_parameters": "parameters",
    "artifact_bytes": "size",
    "p50_ms": "p50 ms",
    "speedup": "speed-up",
}
_BOARD_NOTE = (
    "On the [committed board](../boards/index.md), which version 0.1 made: the mean over three seeds with its 95% interval, in"
    " percent; p50 and speed-up in PyTorch, one thread, on the processor that the board names."
)


@cache
def _board() -> tuple[Mapping[str, str], ...]:
    found: list[Mapping[str, str]] = []
    for path in sorted(BOARD.glob("*.csv")):
        if (BOARD / f"{path.stem}.md").exists():  # a task's page and its table
            with path.open(encoding="utf-8", newline="") as file:
                found += csv.DictReader(file)
    return tuple(found)


def _measured(*, strategy: str | None = None, task: str | None = None) -> Iterator[list[str]]:
    """Yield the rows of a strategy, with whatever parameters, or of a task."""
    for row in _board():
        name = re.split(r"[\[ ]", row["strategy"])[0]
        if row["status"] == "ok" and strategy in (None, name) and task in (None, row["task"]):
            yield [row["strategy"], row["task"], *(_figure(row, column) for column in _FIGURES)]


def _figure(row: Mapping[str, str], column: str) -> str:
    if not row[column]:
        return "-"
    value = float(row[column])
    if column == "score":
        return (
            f"{100 * value:.1f} [{100 * float(row['score_low']):.1f}, {100 * float(row['score_high']):.1f}]"
        )
    forms = {
        "share_kept": f"{value:.1%}",
        "total_parameters": f"{value / 1e6:.1f}M",
        "artifact_bytes": f"{value / 1e6:.1f} MB",
    }
    return forms.get(column, f"{value:.2f}")


def _board_page() -> str:
    text = (ROOT / "leaderboards" / "README.md").read_text(encoding="utf-8")
    text = text.replace("](../docs/", "](../")
    # The tables, records and pages of tasks stand in the repository; the site has the one page and the pictures.
    text = re.sub(r"\]\(standard/(README\.md|records\.jsonl|pictures/)\)", "](standard/index.html)", text)
    scores = sorted((BOARD / "pictures").glob("scores-*.png"))
    pictures = "\n\n".join(f"![{path.stem}](standard/pictures/{path.name})" for path in scores)
    return f"{text}\n\n## Pictures\n\n{pictures}\n"


# --- commands


def _commands_page() -> str:
    parts = [
        "# Commands",
        "Generated from `--help`. [Settings](../settings.md) says more about each flag of a run.",
    ]
    context = click.Context(cli, info_name="kdbench")
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        text = command.get_help(
            click.Context(command, info_name=f"kdbench {name}", max_content_width=100, terminal_width=100)
        )
        parts.append(f"## kdbench {name}\n\n```text\n{text}\n```")
    return "\n\n".join(parts) + "\n"


# --- Markdown


def _facts(facts: Mapping[str, str]) -> str:
    first, *others = facts.items()
    return _table(first, others)


def _table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return tabulate(cells, headers=headers, tablefmt="pipe", disable_numparse=True)


def _to_pages(markdown: str) -> str:
    """Return text of strategies.md with links to its own sections leading to the pages of strategies."""
    pages = _pages_by_anchor()

    def link(found: re.Match[str]) -> str:
        words, anchor = found.groups()
        if anchor in pages:
            return f"[{words}](strategies/{pages[anchor]}.md)"
        return found[0] if anchor == "stacks" else words  # a family's heading is not on the overview

    return re.sub(r"\[([^\]]+)\]\(#([a-z0-9-]+)\)", link, markdown)


def _linked(markdown: str, up: str) -> str:
    """Return a page's text with links to sections of strategies.md leading to pages; `up` leads to the folder of docs."""
    pages = _pages_by_anchor()
    anchors = "|".join(sorted(map(re.escape, pages), key=len, reverse=True))

    def link(found: re.Match[str]) -> str:
        return f"]({up}strategies/{pages[found[1]]}.md)"

    markdown = re.sub(rf"\]\((?:(?:\.\./)*strategies\.md)?#({anchors})\)", link, markdown)
    return re.sub(r"\[([^\]]+)\]\((?:\.\./)+(?:examples|benchmarks|plugins)/[^)]*\)", r"\1", markdown)


@cache
def _pages_by_anchor() -> Mapping[str, str]:
    """Return the strategy whose page has the text below each heading of strategies.md."""
    headings = re.findall(r"^### (.+)$", _SOURCE.read_text(encoding="utf-8"), re.MULTILINE)
    return {heading.replace(" ", "-"): heading.split(" and ")[0] for heading in headings}

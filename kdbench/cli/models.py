"""Commands that take a model out of the results, and use it."""

from __future__ import annotations

from pathlib import Path

import click

from kdbench.cli.options import json_flag, out, print_json, registry_of, settings
from kdbench.config import RunConfig
from kdbench.errors import UsageError
from kdbench.utils.formatting import plural


@click.command()
@settings
@click.option(
    "--out", "folder", type=click.Path(path_type=Path), required=True, metavar="DIR", help="a new folder"
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["hf", "onnx", "onnx-int8", "kdbench"]),
    help="what it shall be loaded by; by default transformers (hf), or else ONNX Runtime",
)
@click.option(
    "--seed", type=int, metavar="N", help="of which seed; by default the first whose model was kept"
)
@click.option(
    "--best-under",
    metavar="LIMITS",
    help="in the place of --strategy: what to ship within limits such as latency_ms=5,parameters=12M,bytes=50MB",
)
@click.option(
    "--adapter-only", is_flag=True, help="of LoRA and its kind: the adapter alone, in peft's format"
)
def export(
    config: RunConfig,
    folder: Path,
    form: str | None,
    seed: int | None,
    best_under: str | None,
    adapter_only: bool,
) -> int:
    """Write one row's model into a folder that others load, with a card and an example that was run.

    Name the row by --task and --strategy; what was exported is checked against the benchmarked model and scored.
    """
    from kdbench.board.recommend import parse_limits

    if adapter_only and form is not None:
        raise UsageError("--adapter-only is a form of its own; leave --format out")
    if best_under is not None and config.strategy != ["*"]:
        raise UsageError("--best-under chooses the strategy; leave --strategy out")
    limits = None if best_under is None else parse_limits(best_under)
    from kdbench.export.export import export_and_tell

    for line in export_and_tell(
        config,
        registry_of(config),
        folder,
        form="adapter" if adapter_only else form,
        seed=seed,
        limits=limits,
    ):
        out.print(line, soft_wrap=True)
    return 0


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("--file", "source", type=click.Path(path_type=Path), help="a .csv, .tsv or .jsonl of texts")
@click.option(
    "--out", "target", type=click.Path(path_type=Path), help="where --file's rows go, answers beside"
)
@click.option(
    "--text-column",
    multiple=True,
    metavar="NAME",
    help="of --file; text by default; twice where texts are pairs",
)
@click.option(
    "--plugin",
    multiple=True,
    metavar="MODULE",
    help="a plugin that is not installed and brings the kind of task of DIR's model",
)
@json_flag
def predict(
    folder: Path,
    texts: tuple[str, ...],
    source: Path | None,
    target: Path | None,
    text_column: tuple[str, ...],
    plugin: tuple[str, ...],
    as_json: bool,
) -> int:
    """Answer texts, or a file of them, with a model that 'kdbench export' wrote into DIR."""
    from kdbench.export import predict

    predict.check_arguments(texts, source, target)
    if source is not None and target is not None:
        done = predict.predict_rows(folder, source, target, text_column, plugin)
        out.print(f"{plural(done, 'row')} with answers: {target}", soft_wrap=True)
        return 0
    answers = predict.predict_texts(folder, texts, plugin)
    if as_json:
        print_json(predict.predictions_data(answers))
    else:
        out.print(predict.predictions_table(answers))
    return 0

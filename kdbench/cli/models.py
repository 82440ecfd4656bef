"""Define the commands that export a model from the results and predict with it."""

from __future__ import annotations

from pathlib import Path

import click

from kdbench.cli.options import PATH, json_flag, out, plugin_flag, print_json, registry_of, settings
from kdbench.config import RunConfig, named_delimiter
from kdbench.errors import UsageError
from kdbench.utils.formatting import plural


@click.command()
@settings
@click.option("--out", "folder", type=PATH, required=True, metavar="DIR", help="the new folder to write")
@click.option(
    "--format",
    "form",
    type=click.Choice(["hf", "onnx", "onnx-int8", "kdbench"]),
    help="format to write; by default hf (transformers) if the model allows it, or else onnx",
)
@click.option(
    "--seed", type=int, metavar="N", help="seed of the model; by default the first whose model was kept"
)
@click.option(
    "--best-under",
    metavar="LIMITS",
    help="instead of --strategy: choose the best row within limits such as latency_ms=5,parameters=12M,bytes=50MB",
)
@click.option(
    "--adapter-only", is_flag=True, help="for LoRA and similar: export only the adapter, in peft's format"
)
def export(
    config: RunConfig,
    folder: Path,
    form: str | None,
    seed: int | None,
    best_under: str | None,
    adapter_only: bool,
) -> int:
    """Export a model with a model card and a tested example.

    Select the row by --task and --strategy. The exported model is checked against the benchmarked one and scored.
    """
    from kdbench.board.limits import parse_limits

    if adapter_only and form is not None:
        raise UsageError("--adapter-only implies its own format; leave --format out")
    if best_under is not None and config.strategy != ["*"]:
        raise UsageError("--best-under chooses the strategy; leave --strategy out")
    limits = None if best_under is None else parse_limits(best_under)
    from kdbench.export.export import export_and_report

    form = "adapter" if adapter_only else form
    for line in export_and_report(config, registry_of(config), folder, form=form, seed=seed, limits=limits):
        out.print(line, soft_wrap=True)
    return 0


@click.command()
@click.argument("folder", type=PATH, metavar="DIR")
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("--file", "source", type=PATH, help="a .csv, .tsv or .jsonl file of texts")
@click.option("--out", "target", type=PATH, help="the file to write: the rows of --file with predictions")
@click.option(
    "--text-column",
    multiple=True,
    metavar="NAME",
    help="column of the texts in --file, text by default; give it twice for pairs",
)
@click.option(
    "--delimiter",
    metavar="NAME",
    help="delimiter of values in --file, such as ';' or tab; by its suffix otherwise",
)
@click.option("--quotes/--no-quotes", default=True, help='whether values in --file may be quoted by "')
@plugin_flag("a plugin that is not installed and provides the kind of task of DIR's model")
@json_flag
def predict(
    folder: Path,
    texts: tuple[str, ...],
    source: Path | None,
    target: Path | None,
    text_column: tuple[str, ...],
    delimiter: str | None,
    quotes: bool,
    plugin: tuple[str, ...],
    as_json: bool,
) -> int:
    """Predict texts or a file of texts with an exported model."""
    from kdbench.export import predict

    predict.check_arguments(texts, source, target)
    if source is not None and target is not None:
        dialect = predict.Dialect(named_delimiter(delimiter), quotes)
        count = predict.predict_rows(folder, source, target, text_column, plugin, dialect)
        out.print(f"{plural(count, 'row')} with predictions: {target}", soft_wrap=True)
        return 0
    predictions = predict.predict_texts(folder, texts, plugin)
    if as_json:
        print_json(predict.predictions_data(predictions))
    else:
        out.print(predict.predictions_table(predictions))
    return 0

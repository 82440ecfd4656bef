"""Export a benchmarked model into a folder that other programs can load."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from transformers import PreTrainedTokenizerBase

from kdbench.api.kinds import TaskKind
from kdbench.api.metric import get_metric
from kdbench.api.params import default_rate
from kdbench.api.predictions import Predictions
from kdbench.board.limits import Limit
from kdbench.config import RunConfig
from kdbench.data import PreparedTask, load_task, prepare
from kdbench.data.batches import Collator
from kdbench.data.loading import TaskData
from kdbench.errors import UsageError
from kdbench.export.answers import Answered, ask, compare
from kdbench.export.card import Facts, model_card
from kdbench.export.check import Checked, check_export
from kdbench.export.choose import Choice, choose
from kdbench.export.example import FILE as EXAMPLE
from kdbench.export.example import run_example, write_example
from kdbench.export.formats import (
    chosen_format,
    open_model,
    quantizes,
    write_model,
    write_tokenizer_as_scored,
)
from kdbench.export.manifest import Format, Manifest, write_manifest
from kdbench.models.artifacts import load_artifact, stored_parameters
from kdbench.models.base import BaseModel, resolve_base_model
from kdbench.models.cost import count_parameters
from kdbench.models.foreign import load_tokenizer
from kdbench.models.onnx import OnnxModel, example_inputs
from kdbench.registry import Registry
from kdbench.results.paths import CellFiles, read_fit
from kdbench.results.records import Record
from kdbench.training.experiment import quiet_libraries
from kdbench.utils.files import folder_atomically, folder_bytes
from kdbench.utils.formatting import percent, plural, size, with_interval


@dataclass(frozen=True)
class Exported:
    """The result of `export_model`."""

    folder: Path
    manifest: Manifest
    checked: Checked
    model_bytes: int
    answered: Answered | None
    """How the example answers scored texts; None for a plugin's kind of task."""


def export_model(
    config: RunConfig,
    registry: Registry,
    out: Path,
    *,
    form: Format | None = None,
    seed: int | None = None,
    limits: list[Limit] | None = None,
) -> Exported:
    """Export the model that `config` names by task and strategy, or the best within `limits`, into the new folder `out`.

    The folder appears only after the exported model was loaded, compared with the artifact and scored.

    Args:
        form: by default the most portable one.
        seed: by default the first whose model was kept.

    Raises:
        UsageError: there is no such model, it does not support the format, or `out` exists already.
        KdbenchError: the artifact is damaged, the exported model differs from it, or its example fails.
    """
    quiet_libraries()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} exists already; name a new folder, or remove it first")
    choice = choose(config, registry, seed, limits)
    choice.files.check_model()
    artifact = choice.files.artifact
    tokenizer = load_tokenizer(artifact)
    data, task = _task(config, registry, choice, tokenizer)
    collate = Collator(tokenizer, task.task.kind, choice.record.budget.window_pooling)
    source = _Source(
        choice, load_artifact(artifact), task, data, collate, registry, int(tokenizer.model_max_length)
    )
    if form is Format.ADAPTER:
        base = _base_of(config, choice)
    else:
        form, base = chosen_format(source.model, form, choice.record.strategy.label), None
    with folder_atomically(out) as partial:
        if base is None:
            example = example_inputs(task.train, source.collate)
            write_model(source.model, form, artifact, partial, tokenizer, example, task.task)
        else:
            shutil.copytree(choice.files.adapter, partial, dirs_exist_ok=True)
            tokenizer.save_pretrained(partial)
        if form is not Format.KDBENCH:  # the artifact unchanged
            write_tokenizer_as_scored(partial, task.task.kind)
        facts = _finish(partial, form, source, base)
    return Exported(out, facts.manifest, facts.checked, facts.model_bytes, facts.answered)


def manifest_of(
    form: Format, record: Record, files: CellFiles, task: PreparedTask, model_max_length: int
) -> Manifest:
    """Return the manifest of the model of `record`, a cell with a score, whose tokenizer allows so many tokens."""
    assert record.quality is not None
    return Manifest(
        format=form,
        task=task.task.name,
        kind=task.task.kind,
        labels=task.task.labels,
        paired=task.paired,
        max_length=min(record.budget.max_length, model_max_length),
        window_stride=record.budget.window_stride,
        window_pooling=record.budget.window_pooling,
        strategy=record.strategy.label,
        key=record.key,
        base_model=record.model.name,
        base_sha256=record.model.weights_sha256,
        thresholds=read_fit(files).thresholds,
        metric=record.task.metric,
        score=record.quality.score,
    )


@dataclass(frozen=True)
class _Source:
    """A benchmarked model and the data that it was scored on."""

    choice: Choice
    model: nn.Module
    """The artifact."""
    task: PreparedTask
    data: TaskData
    collate: Collator
    registry: Registry
    model_max_length: int
    """The number of tokens that its tokenizer allows."""


def _finish(folder: Path, form: Format, source: _Source, base: BaseModel | None) -> Facts:
    """Check the model's files in `folder`, and add manifest, example and card."""
    record, task, kind = source.choice.record, source.task, source.task.task.kind
    assert record.quality is not None  # `choose` returns only cells with a score
    model_bytes = folder_bytes(folder)
    manifest = manifest_of(form, record, source.choice.files, task, source.model_max_length)
    is_built_in = kind in list(TaskKind)
    if form is Format.KDBENCH and not is_built_in:
        raise UsageError(
            f"--format kdbench: the example of an exported folder cannot load the plugin of the kind {str(kind)!r}; "
            "choose a strategy whose model transformers or ONNX Runtime can load"
        )
    exported = open_model(folder, manifest, kind, str(base.path) if base else None)
    checked = check_export(
        exported,
        source.model,
        task,
        source.collate,
        Predictions.load(source.choice.files.probe),
        record.quality,
        metrics=source.registry.metrics,
        exact=not quantizes(source.model, form),
        thresholds=manifest.thresholds,
    )
    manifest = manifest.model_copy(update={"score": checked.quality.score})
    write_manifest(manifest, folder)
    write_example(manifest, kind, folder)
    examples = source.data.splits[task.task.eval_split]
    asked = ask(exported, task, examples, source.collate, manifest)
    printed, answers = run_example(
        manifest, folder, *([str(base.path)] if base else []), texts=asked.texts if is_built_in else ()
    )
    facts = Facts(
        choice=source.choice,
        manifest=manifest,
        checked=checked,
        parameters=count_parameters(exported) if base is None else stored_parameters(folder),
        model_bytes=model_bytes,
        is_converted=form in (Format.ONNX, Format.ONNX_INT8, Format.ADAPTER)
        and not isinstance(source.model, OnnxModel),
        learning_rate=_learning_rate(source.registry, source.choice),
        kind=kind,
        example=(folder / EXAMPLE).read_text(encoding="utf-8"),
        printed=printed,
        answered=compare(
            asked,
            answers,
            task,
            get_metric(task.task.metric, source.registry.metrics),
            exported,
            exact=checked.exact,
        ),
    )
    (folder / "README.md").write_text(model_card(facts), encoding="utf-8")
    return facts


def _task(
    config: RunConfig, registry: Registry, choice: Choice, tokenizer: PreTrainedTokenizerBase
) -> tuple[TaskData, PreparedTask]:
    """Return the data that the model was scored on, as text and encoded by the model's own tokenizer."""
    name = choice.record.task.name
    data = load_task(registry.task(name), config.data)
    if data.fingerprint != choice.record.task.fingerprint:
        raise UsageError(
            f"the data of {name} is not the data that {choice.record.strategy.label} was scored on; use the --data-dir "
            "or --task-file of the run"
        )
    return data, prepare(data, choice.record.budget, tokenizer, config.cache_dir)


def _learning_rate(registry: Registry, choice: Choice) -> float | None:
    strategy, kind = choice.record.strategy, choice.record.task.kind
    rate: float | None = strategy.params.get("learning_rate")
    if rate is not None or strategy.name not in registry.strategies:
        return rate
    return default_rate(registry.strategies[strategy.name].item.learning_rates, registry.kind(kind))


def _base_of(config: RunConfig, choice: Choice) -> BaseModel:
    """Return the base model of the adapter that was saved beside the artifact."""
    record = choice.record
    if not choice.files.adapter.is_dir():
        raise UsageError(
            f"no adapter of {record.strategy.label} is in {choice.files.folder}: peft trained none, or an earlier "
            "version did not save it; export the merged model without --adapter-only, or train it again with "
            "'kdbench run --overwrite all'"
        )
    base = resolve_base_model(config.model, config.cache_dir)
    if base.sha256 != record.model.weights_sha256:
        raise UsageError(
            f"the base model {base.name} is not the one of {record.strategy.label} ({record.model.name}, "
            f"{record.model.weights_sha256[:8]}); name that one with --model"
        )
    return base


def export_and_report(
    config: RunConfig,
    registry: Registry,
    folder: Path,
    *,
    form: str | None,
    seed: int | None,
    limits: list[Limit] | None,
) -> list[str]:
    """Call `export_model` and return its result as lines for the terminal."""
    exported = export_model(
        config, registry, folder, form=None if form is None else Format(form), seed=seed, limits=limits
    )
    manifest, quality = exported.manifest, exported.checked.quality
    return [
        f"{manifest.strategy} on {manifest.task} as {manifest.format}, {size(exported.model_bytes)}: {manifest.metric} "
        f"{with_interval(quality.score, quality.low, quality.high)}, scored with the exported files",
        f"logits differ from the benchmarked model's by up to {exported.checked.drift:.1e}",
        *_answered(exported.answered),
        f"Folder: {folder} (README.md is its card, example.py was run)",
    ]


def _answered(answered: Answered | None) -> Iterator[str]:
    if answered is None:
        return
    line = f"example.py gives the scored answer to {answered.same} of {plural(answered.texts, 'scored text')}"
    if answered.score is None or answered.scored is None:
        yield line
    else:
        scores = f"its answers score {percent(answered.score)}, the scored ones {percent(answered.scored)}"
        hint = "" if answered.same == answered.texts else "; kdbench.load predicts words as scored"
        yield f"{line}: {scores}{hint}"

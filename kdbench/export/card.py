"""The model card of an exported folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from kdbench.api.kinds import TaskKind
from kdbench.export.check import Checked
from kdbench.export.choose import Choice
from kdbench.export.manifest import Format, Manifest
from kdbench.results.records import Record
from kdbench.utils.formatting import (
    count,
    difference,
    escape_markdown,
    milliseconds,
    percent,
    plural,
    ratio,
    seconds,
    size,
    with_interval,
)

_LIBRARIES = {Format.HF: "transformers", Format.ADAPTER: "peft"}
_TEMPLATE = Path(__file__).with_name("card.md.jinja")
_FUNCTIONS: dict[str, Any] = {
    "text": escape_markdown,
    **{
        written.__name__: written
        for written in (count, difference, fmean, milliseconds, percent, plural, ratio, seconds, size, stdev)
    },
    "with_interval": with_interval,
}
"""What the template writes numbers with."""
_FORMS = {
    Format.HF: "Weights in safetensors, loaded by transformers alone: no code of the benchmark's, no pickle.",
    Format.ONNX: "An ONNX graph, run by ONNX Runtime.",
    Format.ONNX_INT8: "An ONNX graph whose weights are 8-bit integers, quantized per output channel; what a layer "
    "reads is quantized anew in each call. Run by ONNX Runtime on a CPU.",
    Format.KDBENCH: "The benchmark's own form of a network that transformers has no class for; `kdbench.load` "
    "answers from it.",
    Format.ADAPTER: "An adapter alone, in peft's format: it needs the base model, and holds the head.",
}


@dataclass(frozen=True)
class Facts:
    """All that a card says beside the record."""

    choice: Choice
    manifest: Manifest
    kind: TaskKind
    """Of the task."""
    checked: Checked
    parameters: int
    """In the exported files."""
    model_bytes: int
    """Of all exported files that a model is loaded from."""
    is_converted: bool
    """Whether the files hold another form of the model than the artifact that was timed."""
    learning_rate: float | None
    """The peak, where the strategy is here to tell its default; a stack has several."""
    example: str
    """The example's code."""
    printed: str
    """What the example printed at export."""


def model_card(facts: Facts) -> str:
    """Return a README.md with metadata as `huggingface_hub.ModelCard` reads it."""
    record = facts.choice.record
    assert record.quality is not None  # a row without a score is not exported
    card: ModelCard = ModelCard.from_template(
        _metadata(facts),
        str(_TEMPLATE),
        record=record,
        title=_title(record),
        form=_FORMS[facts.manifest.format],
        params={name: value for name, value in record.strategy.params.items() if value is not None},
        seed_scores=[seed.quality.score for seed in facts.choice.seeds if seed.quality],
        **vars(facts),
        **_FUNCTIONS,
    )
    return f"{card}\n"


def _metadata(facts: Facts) -> ModelCardData:
    record, manifest = facts.choice.record, facts.manifest
    results = [
        EvalResult(
            task_type=facts.kind.pipeline,
            dataset_type=record.task.name,
            dataset_name=record.task.title,
            dataset_split=record.task.eval_split,
            metric_type=name,
            metric_name=name,
            metric_value=round(value, 6),
        )
        for name, value in facts.checked.quality.metrics.items()
    ]
    # A name of the hub's is told apart from a folder's by its slash.
    base = record.model.name if record.model.name.count("/") == 1 else None
    return ModelCardData(
        library_name=_LIBRARIES.get(
            manifest.format, "onnx" if "onnx" in manifest.format.value else "kdbench"
        ),
        pipeline_tag=facts.kind.pipeline,
        base_model=base,
        tags=["kdbench", record.strategy.name, manifest.format.value],
        model_name=_title(record),
        eval_results=results,
    )


def _title(record: Record) -> str:
    return f"{record.model.name}, {record.strategy.label}, {record.task.name}".replace("\n", " ")

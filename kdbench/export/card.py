"""Write the model card of an exported folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from kdbench.api.kinds import TaskKind
from kdbench.export.answers import Answered
from kdbench.export.check import Checked
from kdbench.export.choose import Choice
from kdbench.export.manifest import Format, Manifest
from kdbench.results.records import Record
from kdbench.utils import formatting

_LIBRARIES = {
    Format.HF: "transformers",
    Format.ONNX: "onnx",
    Format.ONNX_INT8: "onnx",
    Format.KDBENCH: "kdbench",
    Format.ADAPTER: "peft",
}
_TEMPLATE = Path(__file__).with_name("card.md.jinja")
_FUNCTIONS: dict[str, Any] = {
    name: getattr(formatting, name)
    for name in [
        "count",
        "difference",
        "milliseconds",
        "percent",
        "plural",
        "ratio",
        "seconds",
        "size",
        "with_interval",
    ]
} | {"fmean": fmean, "stdev": stdev}
"""The functions that the template formats values with."""
_FORMS = {
    Format.HF: "Weights in safetensors, loaded by transformers: no code of the benchmark, no pickle.",
    Format.ONNX: "An ONNX graph, run by ONNX Runtime.",
    Format.ONNX_INT8: "An ONNX graph whose weights are 8-bit integers, quantized per output channel; activations are "
    "quantized dynamically. Run by ONNX Runtime on a CPU.",
    Format.KDBENCH: "The benchmark's own format, for a network that transformers has no class for; load it with "
    "`kdbench.load`.",
    Format.ADAPTER: "Only the adapter, in peft's format: it needs the base model, and includes the head.",
}


@dataclass(frozen=True)
class Facts:
    """The contents of a card beyond those of the record."""

    choice: Choice
    manifest: Manifest
    kind: TaskKind
    """Of the task."""
    checked: Checked
    parameters: int
    """In the exported files."""
    model_bytes: int
    """Of all exported files that the model is loaded from."""
    is_converted: bool
    """Whether the files have another format than the artifact that was timed."""
    learning_rate: float | None
    """The peak rate; None if it is the default of a strategy that is not installed, or of a stack, which has several."""
    example: str
    """The example's code."""
    printed: str
    """The output of the example at export."""
    answered: Answered | None = None
    """How the example answers scored texts; None for a plugin's kind of task."""


def model_card(facts: Facts) -> str:
    """Return the text of a README.md with metadata that `huggingface_hub.ModelCard` reads."""
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
        text=formatting.escape_markdown,
        **vars(facts),
        **_FUNCTIONS,
    )
    return f"{card}\n"


def _metadata(facts: Facts) -> ModelCardData:
    record, form = facts.choice.record, facts.manifest.format
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
    # A hub id has exactly one slash; a folder's recorded name has none.
    base = record.model.name if record.model.name.count("/") == 1 else None
    return ModelCardData(
        library_name=_LIBRARIES[form],
        pipeline_tag=facts.kind.pipeline,
        base_model=base,
        tags=["kdbench", record.strategy.name, form.value],
        model_name=_title(record),
        eval_results=results,
    )


def _title(record: Record) -> str:
    return f"{record.model.name}, {record.strategy.label}, {record.task.name}".replace("\n", " ")

"""The model card of an exported folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from kdbench.api.kinds import TaskKind
from kdbench.export.check import Checked
from kdbench.export.choose import Choice
from kdbench.export.manifest import Format, Manifest
from kdbench.results.records import Quality, Record
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
    sections = [
        _what(facts),
        "## Use",
        f"```python\n{facts.example}```",
        "`example.py` printed this when the folder was written:",
        f"```\n{facts.printed}```",
        "## Scores",
        _scores(facts),
        "## How it was made",
        _making(facts),
        "## Size and speed",
        _size_and_speed(facts),
        "## Data",
        _data(facts.choice.record),
        "## Limits",
        _limits(facts),
    ]
    front = f"---\n{_metadata(facts).to_yaml()}\n---\n"
    return front + f"\n# {_text(_title(facts.choice.record))}\n\n" + "\n\n".join(sections) + "\n"


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


def _what(facts: Facts) -> str:
    record, manifest = facts.choice.record, facts.manifest
    lines = [
        f"A {manifest.kind} model for {_text(record.task.title)}, made from {_text(record.model.name)} by "
        f"**{_text(record.strategy.title)}** ({_text(record.strategy.citation)}). {_FORMS[manifest.format]}",
        f"Its {record.task.metric} on {plural(record.task.scored_examples, 'example')} of {_text(record.task.eval_split)} "
        f"is **{_interval(facts.checked.quality)}** (95% interval over the examples).",
    ]
    if record.task.labels:
        lines.append(f"Labels: {', '.join(_text(label) for label in record.task.labels)}.")
    if facts.choice.reason:
        lines.append(f"It was chosen as the {facts.choice.reason}.")
    return "\n\n".join(lines)


def _scores(facts: Facts) -> str:
    record, checked = facts.choice.record, facts.checked
    assert record.quality is not None  # a row without a score is not exported
    names = list(checked.quality.metrics)
    rows = [
        ["", *names],
        ["this folder's files, at export", *_cells(names, checked.quality)],
        ["the model in its run", *_cells(names, record.quality)],
    ]
    lines = [_table(rows)]
    if not checked.exact:
        lost = checked.quality.score - record.quality.score
        lines.append(
            f"What quantization changed, measured on the whole of {_text(record.task.eval_split)}: {record.task.metric} "
            f"{difference(lost)} points; on {plural(checked.probe_examples, 'text')} a logit by up to "
            f"{checked.drift:.2g}."
        )
    else:
        lines.append(
            f"On {plural(checked.probe_examples, 'text')} from the shortest to the longest, the exported files' logits "
            f"and the benchmarked model's differ by {checked.drift:.1e} at most."
        )
    scores = [one.quality.score for one in facts.choice.seeds if one.quality]
    if len(scores) > 1:
        lines.append(
            f"Of {len(scores)} seeds ({', '.join(percent(score) for score in scores)}; mean "
            f"{percent(fmean(scores))}, standard deviation {percent(stdev(scores))}) this is seed {record.seed}."
        )
    if record.task.majority_score is not None:
        lines.append(
            f"Always answering the most frequent training label scores {percent(record.task.majority_score)}."
        )
    lines.append("Scores are in percent points.")
    return "\n\n".join(lines)


def _cells(names: Iterable[str], quality: Quality) -> list[str]:
    headline = next(iter(quality.metrics))
    return [_interval(quality) if name == headline else percent(quality.metrics.get(name)) for name in names]


def _interval(quality: Quality) -> str:
    return with_interval(quality.score, quality.low, quality.high)


def _making(facts: Facts) -> str:
    record = facts.choice.record
    budget, kind = record.budget, record.task.kind
    made = [
        (
            "strategy",
            f"{_text(record.strategy.label)} of {record.strategy.distribution} {record.strategy.version}",
        ),
        ("parameters", _parameters(record.strategy.params)),
        ("learning rate", f"{facts.learning_rate:g}" if facts.learning_rate else None),
        ("base model", f"{_text(record.model.name)} (SHA-256 {record.model.weights_sha256[:16]})"),
        ("teacher", _text(record.model.teacher) if record.model.teacher else None),
        (
            "budget",
            f"`{budget.name}`: {plural(record.task.train_examples, 'training example')}, at most "
            f"{plural(budget.steps_for(kind, record.task.train_examples), 'step')} of "
            f"{plural(budget.batch_size_for(kind), 'example')}, {budget.max_length} word pieces a text",
        ),
        ("seed", str(record.seed)),
        ("steps taken", f"{record.cost.steps:,}" if record.cost else None),
        ("training", seconds(record.cost.train_s) if record.cost else None),
        ("trained on", _listing(record.environment.hardware)),
        ("libraries", _listing(record.environment.libraries)),
        ("note", _text(record.strategy.note) or None),
    ]
    return _table([["what", "value"], *([name, value] for name, value in made if value)])


def _size_and_speed(facts: Facts) -> str:
    lines = [
        f"{count(facts.parameters)} parameters ({facts.parameters:,}), {size(facts.model_bytes)} of files."
    ]
    if facts.choice.timing is None:
        return f"{lines[0]} Its latency was not measured."
    timing, timed = facts.choice.timing
    lines.append(
        f"Latency of a call: p50 {milliseconds(timed.p50_ms)} ms, p95 {milliseconds(timed.p95_ms)} ms, "
        f"{ratio(timed.speedup)} the teacher's speed; batch {timing.batch_size}, "
        f"{plural(timing.threads, 'thread')}, on {_text(_listing(timing.environment.hardware))}."
    )
    if facts.is_converted:
        lines.append("That was measured before the conversion to the form here; these files were not timed.")
    return "\n\n".join(lines)


def _data(record: Record) -> str:
    task = record.task
    lines = [
        f"{_text(task.title)} from {_text(task.source)}, scored on {_text(task.eval_split)}; contents' SHA-256 "
        f"{task.fingerprint[:16]}.",
        f"Licence of the data: {_text(task.licence) or 'not stated by the task'}.",
    ]
    if task.citation:
        lines.append(f"Citation: {_text(task.citation)}")
    if task.duplicates:
        lines.append(
            f"{plural(task.duplicates, 'scored example')} of the whole split stand in the training data, too."
        )
    return "\n\n".join(lines)


def _limits(facts: Facts) -> str:
    record = facts.choice.record
    lines = [
        f"Texts are cut at {record.budget.max_length} word pieces in training and scoring"
        f" ({percent(record.task.too_long_share)}% of examples were longer)."
        if not facts.kind.per_word
        else f"Sentences are split between words at {record.budget.max_length} word pieces in training and scoring.",
        "Scored on one data set alone: of other kinds of text, languages and groups of people nothing was measured.",
        "A probability is a softmax of logits; it was not calibrated.",
        "The licence of these weights follows from the base model's and the data's; this card states neither for them.",
        *(_text(warning) for warning in record.warnings),
    ]
    if facts.kind not in (TaskKind.SEQUENCE_CLASSIFICATION, TaskKind.TOKEN_CLASSIFICATION):
        lines.pop(2)
    return "\n".join(f"- {line}" for line in lines)


def _parameters(params: Mapping[str, Any]) -> str:
    """Return what was set or is a default; None is what another line of the card says, or nothing."""
    return ", ".join(_text(f"{name}={value}") for name, value in params.items() if value is not None)


def _table(rows: list[list[str]]) -> str:
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body])


def _listing(facts: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(facts.items()))


def _text(text: str) -> str:
    return escape_markdown(text)

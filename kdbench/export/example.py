"""Write the example script of an exported folder, and run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kdbench.api.kinds import TaskKind
from kdbench.errors import KdbenchError
from kdbench.export.manifest import Format, Manifest

FILE = "example.py"
_TIMEOUT_S = 600
_LAUNCHER = """
import json, runpy, sys
needs_kdbench, given, *sys.argv = sys.argv[1:]
if needs_kdbench == "False":
    sys.modules["kdbench"] = None
predict = runpy.run_path(sys.argv[0], run_name="__main__")["predict"]
with open(given, encoding="utf-8") as file:
    answers = [predict(text) for text in json.load(file)]
with open(given, "w", encoding="utf-8") as file:
    json.dump(answers, file, default=lambda value: value.item() if hasattr(value, "item") else vars(value))
"""
"""Runs a script, with kdbench made impossible to import, and lets its function ``predict`` answer further texts."""

_TEXTS = ["It was a good film.", "The music was awful and the story boring."]
_SENTENCES = ["Anna Schmidt moved from Oslo to Paris in May ."]
_PAIRS = [("A man plays a guitar.", "Someone makes music."), ("A man plays a guitar.", "Nobody is there.")]

_PREDICT = """

def predict(text):
    encoding = tokenizer({given}, truncation=True, max_length={length}, return_tensors="pt")
    logits = model(**encoding).logits[0].detach().numpy()
    return {prediction}


for text in {texts!r}:
    print(text, "->", predict(text))
"""
_PIPELINE = '''"""Predict texts; needs transformers and torch."""
from pathlib import Path

from transformers import pipeline

folder = str(Path(__file__).parent)
predict = pipeline({task!r}, model=folder, {option})
for text in {texts!r}:
    print(text, "->", predict(text))
'''
_LABELS_PIPELINE = '''"""Predict the labels of texts, with their probabilities; needs transformers and torch."""
from pathlib import Path

from transformers import pipeline

folder = str(Path(__file__).parent)
thresholds = {thresholds!r}
classify = pipeline({task!r}, model=folder, {option})


def predict(text):
    scores = {{answer["label"]: answer["score"] for answer in classify(text, top_k=None)}}
    return {{label: score for label, score in scores.items() if score > thresholds[label]}}


for text in {texts!r}:
    print(text, "->", predict(text))
'''
_LOGITS = '''"""Predict texts; needs transformers and torch."""
from pathlib import Path

from transformers import AutoTokenizer, {auto_class}

folder = Path(__file__).parent
model, tokenizer = {auto_class}.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
'''
_ONNX = '''"""Predict texts; needs onnxruntime and transformers, no torch."""
import json
from pathlib import Path

import onnxruntime
from transformers import AutoTokenizer

folder = Path(__file__).parent
labels = json.loads((folder / "config.json").read_text(encoding="utf-8"))["id2label"]
tokenizer = AutoTokenizer.from_pretrained(folder)
session = onnxruntime.InferenceSession(folder / "model.onnx")


def predict(text):
    encoding = tokenizer({given}, truncation=True, max_length={length}, return_tensors="np")
    logits = session.run(["logits"], {{item.name: encoding[item.name] for item in session.get_inputs()}})[0][0]
    return {prediction}


for text in {texts!r}:
    print(text, "->", predict(text))
'''
_KDBENCH = '''"""Predict texts; needs kdbench and the plugin that made the model."""
from pathlib import Path

import kdbench

model = kdbench.load(Path(__file__).parent)


def predict(text):
    return model.predict([text])[0]


for text in {texts!r}:
    print(text, "->", predict(text))
'''
_ADAPTER = '''"""Predict texts: python example.py BASE, the base model's folder or hub id; needs peft."""
import json
import sys
from pathlib import Path

from peft import PeftModel
from transformers import AutoTokenizer, {auto_class}

folder = Path(__file__).parent
labels = json.loads((folder / "kdbench_export.json").read_text(encoding="utf-8"))["labels"] or ["value"]
base = {auto_class}.from_pretrained(sys.argv[1], num_labels=len(labels))
model, tokenizer = PeftModel.from_pretrained(base, folder).eval(), AutoTokenizer.from_pretrained(folder)
'''


def write_example(manifest: Manifest, kind: TaskKind, folder: Path) -> None:
    """Write the example for the model in `folder`, which serves a task of `kind`."""
    (folder / FILE).write_text(_script(manifest, kind), encoding="utf-8")


def run_example(
    manifest: Manifest, folder: Path, *arguments: str, texts: Sequence[Any] = ()
) -> tuple[str, list[Any]]:
    """Run the example in a process of its own, without kdbench unless it needs that.

    Returns:
        Its output, and what its function ``predict`` answers to each of `texts`, as plain JSON.

    Raises:
        KdbenchError: it failed.
    """
    with TemporaryDirectory() as temporary:
        given = Path(temporary, "texts.json")
        given.write_text(json.dumps([_as_taken(text, manifest) for text in texts]), encoding="utf-8")
        needs_kdbench = manifest.format is Format.KDBENCH
        script = str((folder / FILE).resolve())
        done = subprocess.run(
            [sys.executable, "-c", _LAUNCHER, str(needs_kdbench), str(given), script, *arguments],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason was printed"])[-1]
            raise KdbenchError(f"the exported folder's example fails: {reason}; nothing was written")
        return done.stdout, json.loads(given.read_text(encoding="utf-8"))


def _as_taken(text: Any, manifest: Manifest) -> Any:
    """Return a scored text, or two, as the example takes it."""
    if not manifest.paired or manifest.format is not Format.HF:
        return text
    return {"text": text[0], "text_pair": text[1]}


def _script(manifest: Manifest, kind: TaskKind) -> str:
    is_built_in = kind in list(TaskKind)
    if manifest.format is Format.HF and is_built_in:
        return _pipeline(manifest, kind)
    sentences = _SENTENCES if kind.per_word else _TEXTS
    texts: list[str] | list[tuple[str, str]] = _PAIRS if manifest.paired else sentences
    if manifest.format is Format.KDBENCH:
        return _KDBENCH.format(texts=texts)
    template = {Format.ADAPTER: _ADAPTER + _PREDICT, Format.HF: _LOGITS + _PREDICT}.get(
        manifest.format, _ONNX
    )
    return template.format(
        texts=texts,
        given="*text" if manifest.paired else "text",
        length=manifest.max_length,
        auto_class=kind.auto_class,
        prediction=_prediction(manifest, kind) if is_built_in else _logits(manifest, kind),
    )


def _pipeline(manifest: Manifest, kind: TaskKind) -> str:
    texts: list[str] | list[dict[str, str]] = _SENTENCES if kind.per_word else _TEXTS
    if manifest.paired:
        texts = [{"text": first, "text_pair": second} for first, second in _PAIRS]
    if kind.per_word:
        return _PIPELINE.format(task=kind.pipeline, option='aggregation_strategy="first"', texts=texts)
    option = f"truncation=True, max_length={manifest.max_length}"
    if kind.decides_by_thresholds:
        thresholds = manifest.probability_thresholds
        return _LABELS_PIPELINE.format(task=kind.pipeline, option=option, texts=texts, thresholds=thresholds)
    if kind is TaskKind.SEQUENCE_REGRESSION:
        option += ', function_to_apply="none"'
    return _PIPELINE.format(task=kind.pipeline, option=option, texts=texts)


def _prediction(manifest: Manifest, kind: TaskKind) -> str:
    """Return the Python expression for a prediction, given ``logits`` and ``labels``."""
    index = "str({})" if manifest.format in (Format.ONNX, Format.ONNX_INT8) else "{}"
    if kind is TaskKind.SEQUENCE_REGRESSION:
        return "logits[0]"
    if kind.decides_by_thresholds:
        labels = "labels.values()" if manifest.format in (Format.ONNX, Format.ONNX_INT8) else "labels"
        units = f"zip({labels}, logits, {list(manifest.logit_thresholds)})"
        return f"[label for label, logit, threshold in {units} if logit > threshold]"
    if kind.per_word:
        label = f"labels[{index.format('row.argmax()')}]"
        return f"[(piece, {label}) for piece, row in zip(encoding.tokens()[1:-1], logits[1:-1])]"
    return f"labels[{index.format('logits.argmax()')}]"


def _logits(manifest: Manifest, kind: TaskKind) -> str:
    """Return the Python expression for the logits of a plugin's kind, which only the plugin can interpret."""
    if kind.per_word:
        return "list(zip(encoding.tokens(), logits.tolist()))"
    labels = "labels.values()" if manifest.format in (Format.ONNX, Format.ONNX_INT8) else "labels"
    return f"dict(zip({labels}, logits.tolist()))"

"""The example that stands in an exported folder, and what it printed there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from kdbench.api.kinds import TaskKind
from kdbench.errors import KdbenchError
from kdbench.export.manifest import Format, Manifest

FILE = "example.py"
_PATIENCE_S = 600
_WITHOUT_KDBENCH = (
    "import runpy, sys; sys.modules['kdbench'] = None; sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
"""Runs a script that must do without kdbench."""

_TEXTS = ["It was a good film.", "The music was awful and the story boring."]
_SENTENCES = ["Anna Schmidt moved from Oslo to Paris in May ."]
_PAIRS = [("A man plays a guitar.", "Someone makes music."), ("A man plays a guitar.", "Nobody is there.")]

_PIPELINE = '''"""Answers texts; needs transformers and torch."""
from pathlib import Path

from transformers import pipeline

folder = str(Path(__file__).parent)
answer = pipeline({task!r}, model=folder, {option})
for text in {texts!r}:
    print(text, "->", answer(text))
'''
_LOGITS = '''"""Answers texts; needs transformers and torch."""
from pathlib import Path

from transformers import AutoTokenizer, {auto_class}

folder = Path(__file__).parent
model, tokenizer = {auto_class}.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
for text in {texts!r}:
    pieces = tokenizer({given}, truncation=True, max_length={length}, return_tensors="pt")
    logits = model(**pieces).logits[0].detach().numpy()
    print(text, "->", {answer})
'''
_ONNX = '''"""Answers texts; needs onnxruntime and transformers, no torch."""
import json
from pathlib import Path

import onnxruntime
from transformers import AutoTokenizer

folder = Path(__file__).parent
labels = json.loads((folder / "config.json").read_text(encoding="utf-8"))["id2label"]
tokenizer = AutoTokenizer.from_pretrained(folder)
session = onnxruntime.InferenceSession(folder / "model.onnx")
for text in {texts!r}:
    pieces = tokenizer({given}, truncation=True, max_length={length}, return_tensors="np")
    logits = session.run(["logits"], {{put.name: pieces[put.name] for put in session.get_inputs()}})[0][0]
    print(text, "->", {answer})
'''
_KDBENCH = '''"""Answers texts; needs kdbench and the plugin that made the model."""
from pathlib import Path

import kdbench

texts = {texts!r}
for text, answer in zip(texts, kdbench.load(Path(__file__).parent).predict(texts)):
    print(text, "->", answer)
'''
_ADAPTER = '''"""Answers texts: python example.py BASE, the base model's folder or hub id; needs peft."""
import json
import sys
from pathlib import Path

from peft import PeftModel
from transformers import AutoTokenizer, {auto_class}

folder = Path(__file__).parent
labels = json.loads((folder / "kdbench_export.json").read_text(encoding="utf-8"))["labels"] or ["value"]
base = {auto_class}.from_pretrained(sys.argv[1], num_labels=len(labels))
model, tokenizer = PeftModel.from_pretrained(base, folder).eval(), AutoTokenizer.from_pretrained(folder)
for text in {texts!r}:
    pieces = tokenizer({given}, truncation=True, max_length={length}, return_tensors="pt")
    logits = model(**pieces).logits[0].detach().numpy()
    print(text, "->", {answer})
'''


def write_example(manifest: Manifest, kind: TaskKind, folder: Path) -> None:
    """Write the example for the model in `folder`, of a task of `kind`."""
    (folder / FILE).write_text(_script(manifest, kind), encoding="utf-8")


def run_example(manifest: Manifest, folder: Path, *arguments: str) -> str:
    """Run the example in a process of its own, without kdbench where it needs none, and return what it printed.

    Raises:
        KdbenchError: it failed, and so would a user's.
    """
    needs_kdbench = manifest.format is Format.KDBENCH
    start = [] if needs_kdbench else ["-c", _WITHOUT_KDBENCH]
    done = subprocess.run(
        [sys.executable, *start, str((folder / FILE).resolve()), *arguments],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=_PATIENCE_S,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason was printed"])[-1]
        raise KdbenchError(f"the exported folder's example fails: {reason}; nothing was written")
    return done.stdout


def _script(manifest: Manifest, kind: TaskKind) -> str:
    is_own = kind in list(TaskKind)
    if manifest.format is Format.HF and is_own:
        return _pipeline(manifest, kind)
    texts: list[str] | list[tuple[str, str]] = _PAIRS if manifest.paired else _texts(kind)
    if manifest.format is Format.KDBENCH:
        return _KDBENCH.format(texts=texts)
    template = {Format.ADAPTER: _ADAPTER, Format.HF: _LOGITS}.get(manifest.format, _ONNX)
    return template.format(
        texts=texts,
        given="*text" if manifest.paired else "text",
        length=manifest.max_length,
        auto_class=kind.auto_class,
        answer=_answer(manifest, kind) if is_own else _logits(manifest, kind),
    )


def _texts(kind: TaskKind) -> list[str]:
    return _SENTENCES if kind.per_word else _TEXTS


def _pipeline(manifest: Manifest, kind: TaskKind) -> str:
    texts: list[str] | list[dict[str, str]] = _texts(kind)
    if manifest.paired:
        texts = [{"text": first, "text_pair": second} for first, second in _PAIRS]
    if kind.per_word:
        return _PIPELINE.format(task=kind.pipeline, option='aggregation_strategy="first"', texts=texts)
    option = f"truncation=True, max_length={manifest.max_length}"
    if kind is TaskKind.SEQUENCE_REGRESSION:
        option += ', function_to_apply="none"'
    return _PIPELINE.format(task=kind.pipeline, option=option, texts=texts)


def _answer(manifest: Manifest, kind: TaskKind) -> str:
    """Return the expression that says an answer, of ``logits`` and ``labels``."""
    index = "str({})" if manifest.format in (Format.ONNX, Format.ONNX_INT8) else "{}"
    if kind is TaskKind.SEQUENCE_REGRESSION:
        return "logits[0]"
    if kind.per_word:
        label = f"labels[{index.format('row.argmax()')}]"
        return f"[(piece, {label}) for piece, row in zip(pieces.tokens()[1:-1], logits[1:-1])]"
    return f"labels[{index.format('logits.argmax()')}]"


def _logits(manifest: Manifest, kind: TaskKind) -> str:
    """Return the expression that says the logits of a plugin's kind: what they mean takes the plugin."""
    if kind.per_word:
        return "list(zip(pieces.tokens(), logits.tolist()))"
    labels = "labels.values()" if manifest.format in (Format.ONNX, Format.ONNX_INT8) else "labels"
    return f"dict(zip({labels}, logits.tolist()))"

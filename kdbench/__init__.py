"""Benchmark ways of making a BERT-like model smaller or cheaper to adapt; exports everything a plugin imports.

Names that load torch (`losses`, `readers`, `structure`, ready-made models and what builds and saves them) are imported at first
use, so that listing plugins stays fast. `load` opens a model that ``kdbench export`` wrote.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Keeps ONNX Runtime from writing files into the user's folders and reporting usage over the network.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from kdbench.api.bench import (
    Batch,
    Bench,
    EncodedTask,
    Keep,
    Loss,
    TeacherOutput,
    TeacherOutputs,
    model_inputs,
)
from kdbench.api.metric import Answers, Metric, WholeMetric
from kdbench.api.params import Params, StudentParams, UntrainedParams, params_of
from kdbench.api.search import Choice, Range
from kdbench.api.sequence_classification import SequenceClassification
from kdbench.api.sequence_regression import SequenceRegression
from kdbench.api.spec import StrategySpec
from kdbench.api.strategy import JointStrategy, Strategy, Transform
from kdbench.api.task import (
    IGNORED,
    UNLABELLED,
    Example,
    HubSource,
    LocalSource,
    Opened,
    PackageSource,
    Source,
    Splits,
    Task,
    TaskKind,
)
from kdbench.api.token_classification import TokenClassification
from kdbench.errors import KdbenchError, UsageError
from kdbench.evaluation.evaluate_metric import EvaluateMetric
from kdbench.export.load import load
from kdbench.hookspecs import hookimpl
from kdbench.utils.plain_files import read_plain

if TYPE_CHECKING:
    from kdbench.api import losses
    from kdbench.api.models import FolderModel, architecture_of, build_architecture
    from kdbench.data import readers
    from kdbench.evaluation.metrics import METRICS
    from kdbench.models import structure
    from kdbench.models.foreign import load_tokenizer
    from kdbench.models.layers import keep_layers
    from kdbench.models.new_layers import new_layers
    from kdbench.models.onnx import OnnxModel, example_inputs, quantize
    from kdbench.training.multi_task import train_jointly

__all__ = [
    "IGNORED",
    "METRICS",
    "UNLABELLED",
    "Answers",
    "Batch",
    "Bench",
    "Choice",
    "EncodedTask",
    "EvaluateMetric",
    "Example",
    "FolderModel",
    "HubSource",
    "JointStrategy",
    "KdbenchError",
    "Keep",
    "LocalSource",
    "Loss",
    "Metric",
    "OnnxModel",
    "Opened",
    "PackageSource",
    "Params",
    "Range",
    "SequenceClassification",
    "SequenceRegression",
    "Source",
    "Splits",
    "Strategy",
    "StrategySpec",
    "StudentParams",
    "Task",
    "TaskKind",
    "TeacherOutput",
    "TeacherOutputs",
    "TokenClassification",
    "Transform",
    "UntrainedParams",
    "UsageError",
    "WholeMetric",
    "architecture_of",
    "build_architecture",
    "example_inputs",
    "hookimpl",
    "keep_layers",
    "load",
    "load_tokenizer",
    "losses",
    "model_inputs",
    "new_layers",
    "params_of",
    "quantize",
    "read_plain",
    "readers",
    "structure",
    "train_jointly",
]

_LAZY_IMPORTS = {
    "kdbench.api": ("losses",),
    "kdbench.api.models": ("FolderModel", "architecture_of", "build_architecture"),
    "kdbench.data": ("readers",),
    "kdbench.evaluation.metrics": ("METRICS",),
    "kdbench.models": ("structure",),
    "kdbench.models.layers": ("keep_layers",),
    "kdbench.models.foreign": ("load_tokenizer",),
    "kdbench.models.new_layers": ("new_layers",),
    "kdbench.models.onnx": ("OnnxModel", "example_inputs", "quantize"),
    "kdbench.training.multi_task": ("train_jointly",),
}
"""The names that each module or package provides."""


def __getattr__(name: str) -> Any:
    for module, names in _LAZY_IMPORTS.items():
        if name in names:
            is_module = name in ("losses", "readers", "structure")
            return import_module(f"{module}.{name}") if is_module else getattr(import_module(module), name)
    raise AttributeError(f"module 'kdbench' has no attribute {name!r}")

"""Benchmark every way of making a BERT-like model smaller or cheaper to adapt; all that a plugin imports.

`load` opens a model that ``kdbench export`` wrote.

`from kdbench import losses` brings the losses; they stand apart because they load torch.
"""

import os

# ONNX Runtime would keep files of its own in the user's folders and report its use over the network.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from kdbench.api.metric import Answers, Metric, WholeMetric
from kdbench.api.params import Params, StudentParams, UntrainedParams, params_of, student_params
from kdbench.api.spec import StrategySpec
from kdbench.api.strategy import JointStrategy, Strategy, Transform
from kdbench.api.task import (
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
from kdbench.errors import KdbenchError, UsageError
from kdbench.evaluation.evaluate_metric import EvaluateMetric
from kdbench.export.load import load
from kdbench.hookspecs import hookimpl

__all__ = [
    "Answers",
    "EvaluateMetric",
    "Example",
    "HubSource",
    "JointStrategy",
    "KdbenchError",
    "LocalSource",
    "Metric",
    "Opened",
    "PackageSource",
    "Params",
    "Source",
    "Splits",
    "Strategy",
    "StrategySpec",
    "StudentParams",
    "Task",
    "TaskKind",
    "Transform",
    "UntrainedParams",
    "UsageError",
    "WholeMetric",
    "hookimpl",
    "load",
    "params_of",
    "student_params",
]

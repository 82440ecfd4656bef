"""Train a student by torchdistill's DistillationBox on logits and labels.

    python torchdistill_peer.py JOB --threads N logits

torchdistill imports torchvision for its image models; here empty modules take its place during the import.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable

import torch
from job import Job, serve
from torch import nn


class Absent(types.ModuleType):
    """A module whose every name is `torch.nn.Module`."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> type[nn.Module]:
        if name.startswith("__"):
            raise AttributeError(name)
        return nn.Module


parts = ("", ".datasets", ".transforms", ".models", ".models.densenet", ".models.resnet")
absent = {f"torchvision{part}": Absent(f"torchvision{part}") for part in parts}
sys.modules.update(absent)

from torchdistill.core.distillation import DistillationBox  # noqa: E402  # needs the modules above

for module in absent:
    del sys.modules[module]  # transformers must not take them for torchvision


def make(job: Job) -> Callable[[], nn.Module]:
    teacher, student = job.load(job.teacher).eval(), job.load(job.student).train()
    batches = job.training_batches()
    head = {"forward_hook": {"output": ["classifier"]}, "forward_proc": "forward_batch_only_as_kwargs"}
    logits = {"module_path": "classifier", "module_io": "output"}
    settings = {
        "num_epochs": 1,
        "teacher": {**head, "requires_grad": False},
        "student": dict(head),
        "optimizer": {
            "key": "AdamW",
            "kwargs": {"lr": job.learning_rate, "weight_decay": job.weight_decay},
            "max_grad_norm": 1.0,
        },
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {
                "sub_terms": {
                    "kd": {
                        "criterion": {
                            "key": "KDLoss",
                            "kwargs": {
                                **{
                                    f"{side}_{key}": at
                                    for side in ("student", "teacher")
                                    for key, at in logits.items()
                                },
                                "temperature": job.temperature,
                                "alpha": 1 - job.alpha,
                            },
                        },
                        "weight": 1.0,
                    }
                }
            },
        },
    }

    def train() -> nn.Module:
        box = DistillationBox(teacher, student, {}, settings, torch.device("cpu"), None, False, 1)
        schedule = job.schedule(box.optimizer)
        for batch in batches:
            inputs = {name: value for name, value in batch.items() if name != "labels"}
            box.post_forward_process(box.forward_process(inputs, batch["labels"], {}))
            schedule.step()
        box.clean_modules()
        return student

    return train


if __name__ == "__main__":
    sys.argv.pop()  # logits is all that it trains on here
    serve(make)

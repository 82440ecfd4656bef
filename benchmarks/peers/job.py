"""Serve training rounds to the benchmark: read a job, train at every request, print what it took.

Imported by the peers' scripts, which run in environments without kdbench.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, get_linear_schedule_with_warmup

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Job:
    """What to train on, from which weights, and how; the same for every peer."""

    ids: list[list[int]]
    """The word pieces of every training text."""
    labels: list[int]
    batches: list[list[int]]
    """The texts of each step."""
    scored_ids: list[list[int]]
    scored_labels: list[int]
    """Texts to score the trained model on; without any, no accuracy is told."""
    teacher: str
    student: str
    """Folders of the models, the student before training."""
    learning_rate: float
    weight_decay: float
    temperature: float
    alpha: float
    """Weight of the soft loss; 1 - alpha is that of the hard loss."""
    seed: int

    @classmethod
    def read(cls, path: Path) -> Job:
        values = json.loads(path.read_text())
        return cls(**{field.name: values[field.name] for field in fields(cls)})

    def training_batches(self) -> list[Batch]:
        return [
            padded([self.ids[row] for row in rows], [self.labels[row] for row in rows])
            for rows in self.batches
        ]

    def load(self, folder: str, **settings: Any) -> nn.Module:
        model: nn.Module = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32, **settings
        )
        return model

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.AdamW(model.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)

    def warm_up(self) -> dict[str, int]:
        """Return the arguments of the linear schedule that every side follows."""
        steps = len(self.batches)
        return {"num_warmup_steps": round(0.1 * steps), "num_training_steps": steps}

    def schedule(self, optimizer: torch.optim.Optimizer) -> Any:
        return get_linear_schedule_with_warmup(optimizer, **self.warm_up())

    @torch.no_grad()
    def accuracy(self, model: nn.Module) -> float | None:
        model.eval()
        right = 0
        for start in range(0, len(self.scored_ids), 64):
            part = slice(start, start + 64)
            batch = padded(self.scored_ids[part], self.scored_labels[part])
            labels = batch.pop("labels")
            right += int((model(**batch).logits.argmax(dim=-1) == labels).sum())
        return right / len(self.scored_ids) if self.scored_ids else None


def padded(ids: list[list[int]], labels: list[int]) -> Batch:
    longest = max(map(len, ids))
    mask = [[1] * len(text) + [0] * (longest - len(text)) for text in ids]
    return {
        "input_ids": torch.tensor([text + [0] * (longest - len(text)) for text in ids]),
        "attention_mask": torch.tensor(mask),
        "labels": torch.tensor(labels),
    }


def serve(make: Callable[[Job], Callable[[], nn.Module]]) -> None:
    """Train once for each line on standard input, and print seconds and accuracy as one line of JSON.

    Args:
        make: loads the models anew and returns the training, which returns the trained student; only the training
            is timed.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("job", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    job, answers = Job.read(options.job), sys.stdout
    sys.stdout = sys.stderr  # what a library prints is no answer
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        random.seed(job.seed)
        np.random.seed(job.seed)
        torch.manual_seed(job.seed)
        train = make(job)
        started = time.perf_counter()
        student = train()
        seconds = time.perf_counter() - started
        print(json.dumps({"seconds": seconds, "accuracy": job.accuracy(student)}), file=answers, flush=True)

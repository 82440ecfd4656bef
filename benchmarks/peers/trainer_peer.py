"""Train by a plain `transformers.Trainer` script: on labels, or with a teacher that runs in every step.

python trainer_peer.py JOB --threads N labels|logits
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from job import Job, serve
from torch import nn
from torch.nn import functional
from transformers import Trainer, TrainingArguments


class PlainTrainer(Trainer):
    """Compute the textbook loss on given batches."""

    batches: Any
    teacher: nn.Module | None = None
    job: Job

    def get_train_dataloader(self) -> Any:
        return self.batches

    def compute_loss(self, model: nn.Module, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        outputs = model(**inputs)
        if self.teacher is None:
            return (outputs.loss, outputs) if return_outputs else outputs.loss
        with torch.no_grad():
            teacher = self.teacher(**inputs)
        temperature, alpha = self.job.temperature, self.job.alpha
        soft = functional.kl_div(
            functional.log_softmax(outputs.logits / temperature, dim=-1),
            functional.softmax(teacher.logits / temperature, dim=-1),
            reduction="batchmean",
        )
        loss = alpha * temperature**2 * soft + (1 - alpha) * outputs.loss
        return (loss, outputs) if return_outputs else loss


def make(job: Job, distils: bool) -> Callable[[], nn.Module]:
    teacher, student = job.load(job.teacher).eval() if distils else None, job.load(job.student)
    batches = job.training_batches()

    def train() -> nn.Module:
        with tempfile.TemporaryDirectory() as scratch:
            trainer = PlainTrainer(
                model=student,
                args=TrainingArguments(
                    output_dir=scratch,
                    max_steps=len(batches),
                    learning_rate=job.learning_rate,
                    weight_decay=job.weight_decay,
                    warmup_steps=job.warm_up()["num_warmup_steps"],
                    lr_scheduler_type="linear",
                    seed=job.seed,
                    save_strategy="no",
                    logging_strategy="no",
                    report_to="none",
                    disable_tqdm=True,
                    use_cpu=True,
                ),
                train_dataset=batches,
            )
            trainer.batches, trainer.teacher, trainer.job = batches, teacher, job
            trainer.train()
        return student

    return train


if __name__ == "__main__":
    wanted = sys.argv.pop()
    serve(lambda job: make(job, wanted == "logits"))

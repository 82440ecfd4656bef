"""Train a student by TextBrewer's GeneralDistiller: on logits and labels, or on hidden states and attentions, too.

    python textbrewer_peer.py JOB --threads N logits|layers

Batches are plain dicts, since TextBrewer does not know the tokenizer's BatchEncoding; hidden states and attentions are
asked for by the models' configurations, with eager attention. Its checkpoint after the last step is left out.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from typing import Any

from job import Job, serve
from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig
from torch import nn
from transformers import get_linear_schedule_with_warmup

LAYERS = (0, 2, 4, 6)
"""The teacher's hidden states that the student's embeddings and layers 1 to 3 are matched to."""


def matches() -> list[dict[str, Any]]:
    hidden = [
        {"layer_T": teacher, "layer_S": own, "feature": "hidden", "loss": "hidden_mse", "weight": 1}
        for own, teacher in enumerate(LAYERS)
    ]
    attention = [
        {"layer_T": teacher - 1, "layer_S": own, "feature": "attention", "loss": "attention_mse", "weight": 1}
        for own, teacher in enumerate(LAYERS[1:])
    ]
    return hidden + attention


def adaptor(batch: Any, outputs: Any) -> dict[str, Any]:
    results = {"logits": (outputs.logits,), "losses": (outputs.loss,), "inputs_mask": batch["attention_mask"]}
    if outputs.hidden_states is not None:
        results |= {"hidden": outputs.hidden_states, "attention": outputs.attentions}
    return results


def make(job: Job, layers: bool) -> Callable[[], nn.Module]:
    settings = {"output_hidden_states": True, "output_attentions": True, "attn_implementation": "eager"}
    teacher, student = (
        job.load(folder, **(settings if layers else {})) for folder in (job.teacher, job.student)
    )
    batches = job.training_batches()

    def train() -> nn.Module:
        with tempfile.TemporaryDirectory() as scratch:
            distiller = GeneralDistiller(
                TrainingConfig(output_dir=scratch, log_dir=scratch, device="cpu", ckpt_steps=len(batches)),
                DistillationConfig(
                    temperature=job.temperature,
                    kd_loss_weight=job.alpha * job.temperature**2,
                    hard_label_weight=1 - job.alpha,
                    intermediate_matches=matches() if layers else None,
                ),
                teacher,
                student,
                adaptor,
                adaptor,
            )
            distiller.save_and_callback = lambda *progress: None
            with distiller:
                distiller.train(
                    job.optimizer(student),
                    batches,
                    num_steps=len(batches),
                    scheduler_class=get_linear_schedule_with_warmup,
                    scheduler_args=job.warm_up(),
                    max_grad_norm=1.0,
                )
        return student

    return train


if __name__ == "__main__":
    wanted = sys.argv.pop()
    serve(lambda job: make(job, wanted == "layers"))

"""The weights that validated best, kept in memory while training goes on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class BestWeights(TrainerCallback):
    """Validate a few times on the way and keep the best weights in memory.

    Args:
        validate: the score of the model, higher is better.
        steps: of the training.
        evaluations: how often to validate, evenly spaced; the last step is one.
        patience: training stops after as many validations without a better score; None trains on.
    """

    def __init__(
        self, validate: Callable[[nn.Module], float], *, steps: int, evaluations: int, patience: int | None
    ) -> None:
        self._validate = validate
        self._due = {math.ceil(steps * i / evaluations) for i in range(1, evaluations + 1)}
        self._patience = patience
        self._weights: dict[str, Tensor] = {}
        self._waited = 0
        self.best_score = -math.inf
        self.scores: dict[int, float] = {}
        """By the step after which the model was validated."""
        self.log: Callable[[dict[str, float]], None] = lambda scores: None

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Validate where it is due, keep what is better than before, and stop where that no longer comes."""
        if state.global_step not in self._due:
            return
        model: nn.Module = kwargs["model"]
        score = self._validate(model)
        self.scores[state.global_step] = score
        log_loss = control.should_log
        self.log({"eval_score": score})
        control.should_log = log_loss  # which telling the score took back
        if score > self.best_score:
            self.best_score, self._waited = score, 0
            trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
            buffers = {name for name, _ in model.named_buffers()}
            self._weights = {
                name: value.detach().clone()
                for name, value in model.state_dict().items()
                if name in trained or name in buffers
            }
            return
        self._waited += 1
        if self._patience is not None and self._waited >= self._patience:
            control.should_training_stop = True

    def restore(self, model: nn.Module) -> None:
        """Put the best weights back."""
        with torch.no_grad():
            model.load_state_dict(self._weights, strict=False)

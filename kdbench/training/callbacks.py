"""Define callbacks of the Trainer: keep the weights with the best validation score, and report to trackers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tensorboardX import SummaryWriter
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import (
    TensorBoardCallback,
    get_available_reporting_integrations,
)

from kdbench.errors import UsageError, nearest


class BestWeights(TrainerCallback):
    """Validates during training and keeps the best weights in memory.

    Args:
        validate: returns the model's score, higher is better.
        steps: the number of training steps.
        evaluations: how often to validate, evenly spaced; the last time after the last step.
        patience: stop after this many validations without a better score; None never stops early.
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
        """Validation score by the step after which it was taken."""
        self.log: Callable[[dict[str, float]], None] = lambda scores: None

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Validate if it is due, keep the weights if they are better, and stop if patience has run out."""
        if state.global_step not in self._due:
            return
        model: nn.Module = kwargs["model"]
        score = self._validate(model)
        self.scores[state.global_step] = score
        log_loss = control.should_log
        self.log({"eval_score": score})
        control.should_log = log_loss  # logging the score has reset it
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
        """Load the best weights into `model`."""
        with torch.no_grad():
            model.load_state_dict(self._weights, strict=False)


_NOT_IN_FOLDER_NAMES = re.compile(r"[^\w.,+=\[\]-]")


@dataclass(frozen=True)
class Trackers:
    """The experiment trackers of one training loop, and the loop's name there."""

    folder: Path
    """The folder of all TensorBoard files."""
    run: tuple[str, ...]
    """The parts of the loop's name: task, strategy, seed, number of the loop."""
    report_to: tuple[str, ...] = ()
    """Further trackers, by their names in `transformers.Trainer`."""

    def tensorboard(self) -> TrainerCallback:
        """Return the callback that writes the loop's TensorBoard file without buffering: a full disk ends the cell."""
        folder = self.folder.joinpath(*(_NOT_IN_FOLDER_NAMES.sub("_", part) for part in self.run))
        return TensorBoardCallback(SummaryWriter(str(folder)))  # type: ignore[no-untyped-call]


def check_trackers(names: Sequence[str]) -> None:
    """Check that the Trainer supports these trackers and that their packages are installed.

    Raises:
        UsageError: a tracker is unknown or not installed.
    """
    installed = get_available_reporting_integrations()  # type: ignore[no-untyped-call]
    for name in names:
        if name not in installed:
            raise UsageError(
                f"--report-to {name}: no tracker of this name is installed{nearest(name, installed)}; install its "
                "package or leave it out: TensorBoard files are written anyway"
            )

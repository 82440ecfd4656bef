"""Callbacks of the Trainer: keep the weights that validated best, and write TensorBoard files."""

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


_UNFIT_FOR_FOLDERS = re.compile(r"[^\w.,+=\[\]-]")


@dataclass(frozen=True)
class Trackers:
    """Who is told of one training loop."""

    folder: Path
    """Of all TensorBoard files."""
    run: tuple[str, ...]
    """What the loop is called, part by part: task, strategy, seed, number of the loop."""
    report_to: tuple[str, ...] = ()
    """The trackers that `transformers.Trainer` tells, by its names."""

    @property
    def name(self) -> str:
        """The loop's name at the trackers."""
        return "/".join(self.run)

    def tensorboard(self) -> TrainerCallback:
        """Return what writes the loop's TensorBoard file, each log at once: a full disk ends the cell."""
        folder = self.folder.joinpath(*(_UNFIT_FOR_FOLDERS.sub("_", part) for part in self.run))
        return TensorBoardCallback(SummaryWriter(str(folder)))  # type: ignore[no-untyped-call]


def check_trackers(names: Sequence[str]) -> None:
    """Check that the Trainer knows these trackers and that their packages are installed.

    Raises:
        UsageError: it does not, or one is not installed.
    """
    installed = get_available_reporting_integrations()  # type: ignore[no-untyped-call]
    for name in names:
        if name not in installed:
            raise UsageError(
                f"--report-to {name}: no tracker of this name is installed{nearest(name, installed)}; install its "
                "package or leave it out: TensorBoard files are written anyway"
            )

"""Strategies that each break one promise; the name of each is that of the check that finds it, with a number if several do."""

import contextlib
import os
import random
import threading
from pathlib import Path

import numpy as np
from pydantic import ConfigDict, Field

from kdbench import Params, Range, Strategy, TaskKind, UsageError, hookimpl

ended = threading.Event()
"""Set by the test when what is left behind may end."""
started = []
"""The processes that are left behind."""


class Broken(Strategy):
    """Fine-tuning that is fine by itself.

    Citation: nobody.
    """

    kinds = frozenset({TaskKind.SEQUENCE_CLASSIFICATION})

    def fit(self, bench):
        return bench.train(bench.base())


class SearchesBeyondItsBounds(Broken):
    name = "contract"

    class Params(Params):
        rank: int = Field(2, ge=1, le=4, description="a rank")

    search = {"rank": Range(1, 8)}


class Undescribed(Broken):
    name = "describes-its-parameters"

    class Params(Params):
        rank: int = Field(2, ge=1)


class Unbounded(Broken):
    name = "describes-its-parameters-2"

    class Params(Params):
        rank: int = Field(2, description="a rank")


class TakesAnything(Broken):
    name = "rejects-wrong-parameters"

    class Params(Params):
        model_config = ConfigDict(extra="ignore", frozen=True)


class Raises(Broken):
    name = "fits"

    def fit(self, bench):
        return {}["no such key"]


class ReturnsNothing(Broken):
    name = "fits-2"

    def fit(self, bench):
        bench.train(bench.base())


class TrainsTwice(Broken):
    name = "trains-within-the-budget"

    def fit(self, bench):
        return bench.train(bench.train(bench.base()))


class TrainsOnItsOwn(Broken):
    name = "reports-its-training"

    def fit(self, bench):
        import torch

        model = bench.train(bench.base(), share=0.5)
        optimizer = torch.optim.SGD(model.classifier.parameters(), lr=0.1)
        batch = bench.collate([bench.task.train[0]])
        bench.kind.label_loss(model(input_ids=batch["input_ids"]).logits, batch["labels"]).backward()
        optimizer.step()
        return model


class LosesItsNumbers(Broken):
    name = "stays-finite"

    def fit(self, bench):
        model = bench.train(bench.base())
        model.classifier.weight.data[0, 0] = float("nan")
        return model


class DrawsAtRandom(Broken):
    name = "repeats-itself"

    def fit(self, bench):
        model = bench.base()
        model.classifier.bias.data += float(np.random.default_rng().normal())
        return bench.train(model)


class ReadsTheAnswers(Broken):
    name = "leaves-scored-examples-alone"

    def fit(self, bench):
        return bench.train(bench.base(), rows=bench.task.scored)


class ForgetsAWeight(Broken):
    name = "saves-and-loads"

    def finalize(self, model, bench):
        model.classifier.register_forward_hook(lambda module, inputs, output: output + 1)
        return model


class WritesAPickle(Broken):
    name = "saves-and-loads-2"

    def finalize(self, model, bench):
        save = model.save_pretrained

        def saving(folder):
            save(folder)
            (Path(folder) / "training.pkl").write_bytes(b"")

        model.save_pretrained = saving
        return model


class TakesTheWrongHead(Broken):
    name = "answers-every-input"

    def fit(self, bench):
        from transformers import BertForSequenceClassification

        base = bench.base()
        base.config.num_labels = 7
        return BertForSequenceClassification(base.config)


class IgnoresTheMask(Broken):
    name = "ignores-padding"

    def fit(self, bench):
        from helpers.unmasked_model import Unmasked

        return bench.train(Unmasked(bench.base().config))


class KeepsItsTeacher(Broken):
    name = "counts-its-weights"

    def finalize(self, model, bench):
        model.teacher = bench.teacher
        return model


class FreezesNothing(Broken):
    name = "freezes-the-base"
    freezes_base = True


class ChangesWhatItFreezes(Broken):
    name = "freezes-the-base-2"
    freezes_base = True

    def fit(self, bench):
        model = bench.train(bench.base())
        model.base_model.requires_grad_(False)
        return model


class AsksTheNet(Broken):
    name = "stays-offline"

    def fit(self, bench):
        import socket

        with contextlib.suppress(OSError):
            socket.create_connection(("kdbench.invalid", 80), timeout=1)
        return super().fit(bench)


class LeavesAThread(Broken):
    name = "leaves-nothing-behind"

    def fit(self, bench):
        threading.Thread(target=ended.wait, daemon=True, name="watcher").start()
        return super().fit(bench)


class LeavesAFile(Broken):
    name = "leaves-nothing-behind-2"

    def fit(self, bench):
        Path("notes.txt").write_text("done")
        return super().fit(bench)


class LeavesAProcess(Broken):
    name = "leaves-nothing-behind-3"

    def fit(self, bench):
        import subprocess

        started.append(subprocess.Popen(["sleep", "600"]))
        return super().fit(bench)


class SetsTheDtype(Broken):
    name = "leaves-global-state-alone"

    def finalize(self, model, bench):
        import torch

        torch.set_default_dtype(torch.float64)
        return model


class SetsAVariable(Broken):
    name = "leaves-global-state-alone-2"

    def fit(self, bench):
        os.environ["KDBENCH_BROKEN"] = "1"
        return super().fit(bench)


class SeedsThemAll(Broken):
    name = "leaves-global-state-alone-3"

    def fit(self, bench):
        random.seed(42)
        return super().fit(bench)


class RefusesAll(Broken):
    name = "fits-3"

    def fit(self, bench):
        raise UsageError("not today")


@hookimpl
def kdbench_model_classes():
    return {"unmasked": "helpers.unmasked_model:Unmasked"}


@hookimpl
def kdbench_strategies():
    return Broken.__subclasses__()

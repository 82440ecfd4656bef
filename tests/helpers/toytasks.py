"""Tasks over rows that a test gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdbench import LocalSource, Opened, Source, Splits, Task, TaskKind
from kdbench.data import DataSettings


class ToyTask(Task):
    """A task whose splits are written into its source code, so to speak; one file stands for its source."""

    name = "toy"
    title = "Toy"
    metric = "accuracy"
    sources: Mapping[str, Source] = {"local": LocalSource({"train": "toy/data"})}

    def __init__(
        self,
        splits: Mapping[str, Sequence[Mapping[str, Any]]],
        kind: TaskKind = TaskKind.SEQUENCE_CLASSIFICATION,
        labels: tuple[str, ...] = ("no", "yes"),
        eval_split: str = "test",
    ) -> None:
        self.splits = splits
        self.kind = kind
        self.labels = labels
        self.eval_split = eval_split

    def load(self, opened: Opened) -> Splits:
        """Return the splits as generators."""
        return {name: iter(rows) for name, rows in self.splits.items()}


def settings_in(folder: Path) -> DataSettings:
    """Return settings whose data folder holds the toy task's file and whose cache is new."""
    (folder / "data" / "toy").mkdir(parents=True, exist_ok=True)
    (folder / "data" / "toy" / "data").touch()
    return DataSettings(data_dir=folder / "data", cache_dir=folder / "cache")


def labelled(count: int, offset: int = 0, **columns: Any) -> list[dict[str, Any]]:
    """Return `count` different sentences, labelled no and yes in turn."""
    return [
        {"text": f"sentence number {i}", "label": ("no", "yes")[i % 2], **columns}
        for i in range(offset, offset + count)
    ]

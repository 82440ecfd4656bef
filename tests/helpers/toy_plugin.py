"""Toy tasks, one of each kind: small, learnable from single words, their rows drawn from a fixed seed."""

import random

from kdbench import LocalSource, Task, TaskKind, hookimpl

GOOD = ("good", "great", "lovely", "funny")
BAD = ("bad", "awful", "boring", "weak")
FILLER = ("the", "a", "film", "story", "actor", "music", "was", "and", "with", "very", "in", "it", "cats")
PEOPLE = ("anna", "bruno", "clara", "zoltan")
PLACES = ("paris", "oslo", "new york", "ouagadougou")
SIZES = {"train": 240, "test": 80}


class Toy(Task):
    """Rows that follow from this file alone, which is therefore the source."""

    sources = {"local": LocalSource({"rows": __file__})}
    licence = "none: made up"

    def load(self, opened):
        return {split: self.rows_of(split) for split in SIZES}

    def rows_of(self, split):
        draw = random.Random(f"{self.name}/{split}")
        return [self.row(draw) for _ in range(SIZES[split])]


class ToySentiment(Toy):
    """One or two words decide; they stand anywhere among up to twenty others."""

    name = "toy-sentiment"
    title = "Toy sentiment"
    kind = TaskKind.SEQUENCE_CLASSIFICATION
    labels = ("negative", "positive")
    metric = "accuracy"
    metrics = ("macro-f1",)

    def row(self, draw):
        label = draw.choice(self.labels)
        words = _filler(draw)
        words += draw.choices(GOOD if label == "positive" else BAD, k=draw.randint(1, 2))
        draw.shuffle(words)
        return {"text": " ".join(words), "label": label}


class ToyTags(Toy):
    """Names among other words; some are no word of the toy vocabulary and fall into many pieces."""

    name = "toy-tags"
    title = "Toy names"
    kind = TaskKind.TOKEN_CLASSIFICATION
    labels = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
    metric = "entity-f1"

    def row(self, draw):
        words = _filler(draw)
        tags = ["O"] * len(words)
        for names, kind in ((PEOPLE, "PER"), (PLACES, "LOC")):
            name = draw.choice(names).split()
            at = draw.choice([i for i in range(len(words)) if not tags[i].startswith("I-")])
            words[at:at] = name
            tags[at:at] = [f"B-{kind}"] + [f"I-{kind}"] * (len(name) - 1)
        return {"words": words, "tags": tags}


class ToyScore(Toy):
    """Good words less bad words, in quarters."""

    name = "toy-score"
    title = "Toy score"
    kind = TaskKind.SEQUENCE_REGRESSION
    metric = "pearson"
    metrics = ("spearman",)

    def row(self, draw):
        good, bad = draw.randint(0, 4), draw.randint(0, 4)
        words = _filler(draw) + draw.choices(GOOD, k=good) + draw.choices(BAD, k=bad)
        draw.shuffle(words)
        return {"text": " ".join(words), "label": (good - bad) / 4}


def _filler(draw):
    """Return a few words, seldom many: lengths are skewed, as those of real texts."""
    return draw.choices(FILLER, k=min(20, 2 + int(draw.expovariate(0.25))))


@hookimpl
def kdbench_tasks():
    return [ToySentiment(), ToyTags(), ToyScore()]

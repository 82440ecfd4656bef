"""Define tasks of named entity recognition, from the corpora's own column files or from the hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kdbench import Example, HubSource, LocalSource, Opened, Source, Splits, Task, TaskKind, readers

_SPLITS = ("train", "validation", "test")


@dataclass(kw_only=True, eq=False)
class EntityTask(Task):
    """A corpus of tagged sentences with its own split into train, validation and test."""

    name: str
    title: str
    labels: tuple[str, ...]
    files: tuple[tuple[str, ...], ...]
    """The files of train, validation and test under the data folder, each with its possible names."""
    hub_path: str
    licence: str
    citation: str
    kind: TaskKind = TaskKind.TOKEN_CLASSIFICATION
    metric: str = "entity-f1"
    sources: Mapping[str, Source] = field(init=False)

    def __post_init__(self) -> None:
        self.sources = {
            "local": LocalSource(dict(zip(_SPLITS, self.files, strict=True))),
            # The data sets are loading scripts; the hub stores their output on this branch.
            "hub": HubSource(self.hub_path, revision="refs/convert/parquet"),
        }

    def load(self, opened: Opened) -> Splits:
        """Return the corpus's three splits."""
        if opened.hub is not None:
            return {split: _hub_rows(opened, split) for split in _SPLITS}
        return {split: _file_rows(path) for split, path in opened.files.items()}


def _file_rows(path: Path) -> Iterator[Example]:
    for where, words, tags in readers.read_conll(path):
        yield {"words": words, "tags": tags, "where": where}


def _hub_rows(opened: Opened, split: str) -> Iterator[Example]:
    for where, row in readers.read_hub(opened, split, ("tokens", "ner_tags")):
        # A sentence without words has nothing to tag.
        if row["tokens"]:
            yield {"words": row["tokens"], "tags": row["ner_tags"], "where": where}


ENTITIES = (
    EntityTask(
        name="conll2003",
        title="CoNLL-2003: named entities in newswire, 4 types",
        labels=readers.iob2_labels("PER", "ORG", "LOC", "MISC"),
        files=(
            ("conll2003/eng.train", "conll2003/train.txt"),
            ("conll2003/eng.testa", "conll2003/valid.txt"),
            ("conll2003/eng.testb", "conll2003/test.txt"),
        ),
        hub_path="eriktks/conll2003",
        licence="research use (Reuters Corpus)",
        citation="Tjong Kim Sang and De Meulder 2003, 'Introduction to the CoNLL-2003 Shared Task' (W03-0419)",
    ),
    EntityTask(
        name="wnut17",
        title="WNUT-17: emerging entities in user-written text, 6 types",
        labels=readers.iob2_labels("corporation", "creative-work", "group", "location", "person", "product"),
        files=(
            ("wnut17/wnut17train.conll",),
            ("wnut17/emerging.dev.conll",),
            ("wnut17/emerging.test.annotated",),
        ),
        hub_path="leondz/wnut_17",
        licence="CC BY 4.0",
        citation="Derczynski et al. 2017, 'Results of the WNUT2017 Shared Task' (W17-4418)",
    ),
)
"""The named entity recognition tasks."""

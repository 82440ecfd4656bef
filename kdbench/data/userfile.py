"""A task made of the user's own files or of any data set of the hub, without code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import compress
from pathlib import Path

from kdbench.api.task import Example, HubSource, LocalSource, Opened, Source, Splits, Task, TaskKind
from kdbench.config import TaskTable
from kdbench.data.cache import build_once
from kdbench.data.checks import ExampleCheck
from kdbench.data.lines import readable
from kdbench.data.splitting import Mask, hold_out, numbered, strata_of, stratified_order
from kdbench.data.tagging import iob2_labels
from kdbench.data.userexamples import examples_of
from kdbench.data.userrows import Rows, file_rows, hub_rows
from kdbench.errors import UsageError
from kdbench.files import sha256
from kdbench.keys import content_hash

HELD_OUT = "held-out"
"""The scored split where the user names none."""
_HELD_OUT_SHARE = 5
_MOST_CLASSES = 1_000
_NAMES = "names.json"


class UserTask(Task):
    """A task that a ``[tasks.NAME]`` table describes; its classes are those of train unless the table lists them."""

    def __init__(self, name: str, table: TaskTable, folder: Path, cache_dir: Path) -> None:
        """Describe the task.

        Args:
            name: what the user calls it.
            table: what the user says of it.
            folder: what relative paths of files count from.
            cache_dir: where the classes found in train are kept.
        """
        self.name = name
        self.title = table.title or name
        self.kind = table.kind
        self.metric = table.headline
        self.metrics = table.metrics
        self.scored_split = "test" if table.test else HELD_OUT
        self._table = table
        self._cache_dir = cache_dir
        named = {"train": table.train or "train", "validation": table.validation, "test": table.test}
        self._splits = {split: place for split, place in named.items() if place}
        self.sources: Mapping[str, Source]
        if table.dataset:
            hub = HubSource(table.dataset, table.config or None, table.revision or None, self._splits)
            self.sources = {"hub": hub}
        else:
            files = {split: str((folder / place).resolve()) for split, place in self._splits.items()}
            self.sources = {"local": LocalSource(files)}

    @cached_property
    def labels(self) -> tuple[str, ...]:  # type: ignore[override]  # found when first asked for
        """The classes, in alphabetical order unless the table lists them; for tokens the IOB2 tags.

        Raises:
            UsageError: train cannot be read, or holds what are no classes.
        """
        if self.kind is TaskKind.SEQUENCE_REGRESSION:
            return ()
        names = self._table.labels or self._names_in_train()
        return iob2_labels(*names) if self.kind is TaskKind.TOKEN_CLASSIFICATION else names

    def load(self, opened: Opened) -> Splits:
        """Return the user's splits; without one to score, a fifth of train is held out, stratified or by group."""
        splits = {split: self._examples(split) for split in self._splits}
        if self.scored_split == HELD_OUT:
            held = self._held_out()
            splits["train"] = compress(self._examples("train"), (~held).tolist())
            splits[HELD_OUT] = compress(self._examples("train"), held.tolist())
        return splits

    def _held_out(self) -> Mask:
        """Return which examples of train are scored and not trained on."""
        label = "tags" if self.kind is TaskKind.TOKEN_CLASSIFICATION else "label"
        examples = ExampleCheck(self, "train").watch(self._examples("train"))
        order = stratified_order(strata_of(self.kind, (example[label] for example in examples)))
        groups = None
        if self._table.group:
            groups = numbered(example["group"] for example in self._examples("train"))
        wanted = len(order) // _HELD_OUT_SHARE
        held = hold_out(order, groups, wanted, wanted)
        if not held.any():
            raise UsageError(
                f"task {self.name!r}: of its {len(order)} examples no fifth (in whole groups) can be held out to "
                "score; add examples, or name a file as test"
            )
        return held

    def _names_in_train(self) -> tuple[str, ...]:
        """Return the classes or entity types of train; looked for once, then kept in the cache."""
        parts = [self._table.model_dump_json(), *self._file_hashes()]
        folder = build_once(
            self._cache_dir / "labels" / f"{self.name}-{content_hash(parts)}",
            lambda partial: (partial / _NAMES).write_text(json.dumps(self._find_names()), encoding="utf-8"),
        )
        return tuple(json.loads((folder / _NAMES).read_text(encoding="utf-8")))

    def _find_names(self) -> list[str]:
        found: set[str] = set()
        for example in self._examples("train"):
            if self.kind is TaskKind.TOKEN_CLASSIFICATION:
                found.update(tag[2:] for tag in example["tags"] if tag != "O")
            else:
                found.add(example["label"])
            if len(found) > _MOST_CLASSES:
                raise UsageError(
                    f"task {self.name!r}: {example['where']}: by here column {self._table.label_column!r} holds "
                    f"more than {_MOST_CLASSES:,} different values, so it is no class; name another as label"
                )
        if self.kind is TaskKind.SEQUENCE_CLASSIFICATION and len(found) == 1:
            raise UsageError(
                f"task {self.name!r}: column {self._table.label_column!r} of train holds one class only, "
                f"{found.pop()!r}; a classifier needs two or more"
            )
        if not found:
            raise UsageError(f"task {self.name!r}: train has no entity at all; check the column of the tags")
        return sorted(found)

    def _file_hashes(self) -> list[str]:
        local = self.sources.get("local")
        if not isinstance(local, LocalSource):
            return []
        path = Path(local.candidates()["train"][0])
        with readable(path):
            return [sha256(path)]

    def _examples(self, split: str) -> Iterator[Example]:
        return examples_of(self._table, lambda: self._rows(split))

    def _rows(self, split: str) -> Rows:
        source = next(iter(self.sources.values()))
        if isinstance(source, HubSource):
            return hub_rows(Opened("hub", hub=source), split, self._table)
        assert isinstance(source, LocalSource)
        return file_rows(Path(source.candidates()[split][0]), self._table)

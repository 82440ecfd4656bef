"""Define the nine tasks of GLUE (Wang et al. 2018, arXiv:1804.07461), from its official folders or from the hub."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kdbench import Example, HubSource, LocalSource, Opened, Source, Splits, Task, TaskKind, readers

_ENTAILMENT = ("entailment", "not_entailment")


@dataclass(kw_only=True, eq=False)
class GlueTask(Task):
    """A task of GLUE; scored on ``dev``, since the test labels of most tasks are not public."""

    name: str
    title: str
    folder: str
    """The task's folder below ``glue/``."""
    texts: tuple[str, ...]
    """The columns of the text or the two texts in the files."""
    metric: str
    citation: str
    labels: tuple[str, ...] = ()
    """The labels in the order of their class indices in some files."""
    metrics: tuple[str, ...] = ()
    label: str = "label"
    """The column of the label in the files."""
    header: tuple[str, ...] | None = None
    """The column names of files without a header."""
    files: tuple[str, str] = ("train.tsv", "dev.tsv")
    """The files of train and of the evaluation split."""
    hub_texts: tuple[str, ...] | None = None
    """The columns of the texts on the hub, if they have other names."""
    hub_name: str | None = None
    """The task's name on the hub, if it differs."""
    hub_splits: tuple[str, str] = ("train", "validation")
    eval_split: str = "dev"
    first_is_shared: bool = False
    """Whether several examples have the same first text, such as a premise: they are one group."""
    broken_lines: bool = False
    """Whether the official files contain incomplete lines, which are skipped by convention."""
    licence: str = "as the corpus's own, see gluebenchmark.com"
    kind: TaskKind = field(init=False)
    sources: Mapping[str, Source] = field(init=False)

    def __post_init__(self) -> None:
        self.kind = TaskKind.SEQUENCE_CLASSIFICATION if self.labels else TaskKind.SEQUENCE_REGRESSION
        splits = ("train", self.eval_split)
        files = (f"glue/{self.folder}/{file}" for file in self.files)
        self.sources = {
            "local": LocalSource(dict(zip(splits, files, strict=True))),
            "hub": HubSource(
                "nyu-mll/glue",
                self.hub_name or self.name,
                splits=dict(zip(splits, self.hub_splits, strict=True)),
            ),
        }

    def load(self, opened: Opened) -> Splits:
        """Return train and the evaluation split."""
        if opened.hub is not None:
            return {split: self._hub_rows(opened, split) for split in opened.hub.splits}
        return {split: self._file_rows(path) for split, path in opened.files.items()}

    def _file_rows(self, path: Path) -> Iterator[Example]:
        rows = readers.read_delimited(
            path,
            (*self.texts, self.label),
            delimiter="\t",
            quoted=False,
            names=self.header,
            skip_short=self.broken_lines,
        )
        for where, row in rows:
            yield self._example(where, [row[column] for column in self.texts], row[self.label])

    def _hub_rows(self, opened: Opened, split: str) -> Iterator[Example]:
        texts = self.hub_texts or self.texts
        for where, row in readers.read_hub(opened, split, (*texts, "label")):
            yield self._example(where, [row[column] for column in texts], row["label"])

    def _example(self, where: str, texts: list[str | None], label: object) -> Example:
        # Copies of the corpora differ in leading and trailing blanks.
        example = dict(zip(("text", "text_pair"), ((text or "").strip() for text in texts), strict=False))
        group = {"group": example["text"]} if self.first_is_shared else {}
        return {**example, **group, "label": self._label(label), "where": where}

    def _label(self, value: object) -> object:
        """Return the label that a file's `value` encodes; other values are returned unchanged and rejected later."""
        if not isinstance(value, str):
            return value
        if self.kind is TaskKind.SEQUENCE_REGRESSION:
            try:
                return float(value)
            except ValueError:
                return value
        return {str(number): label for number, label in enumerate(self.labels)}.get(value, value)


class Sst2(GlueTask):
    """SST-2, whose training examples are sentences and all their phrases: those of one sentence are a group."""

    def load(self, opened: Opened) -> Splits:
        """Return train, with the group of each phrase, and the evaluation split, which has whole sentences only."""
        splits = dict(super().load(opened))
        train = list(splits["train"])
        sentence = sentences_of([example["text"] for example in train])
        splits["train"] = ({**example, "group": sentence[example["text"]]} for example in train)
        return splits


def sentences_of(texts: Iterable[str]) -> dict[str, str]:
    """Return for each of `texts` the longest one that contains it, word by word; a sentence is its own.

    A short phrase of several sentences counts as the longest one's.
    """
    found: dict[str, str] = {}
    known = set(texts)
    for text in sorted(known, key=lambda text: (-len(text.split()), text)):
        if text in found:
            continue
        words = text.split()
        starts = range(len(words))
        spans = (" ".join(words[start:end]) for start in starts for end in range(start + 1, len(words) + 1))
        found |= {span: text for span in spans if span in known and span not in found}
        found.setdefault(text, text)
    return found


_PAIR = ("sentence1", "sentence2")
_MNLI_LABELS = ("entailment", "neutral", "contradiction")
_MNLI_CITATION = "Williams et al. 2018, 'A Broad-Coverage Challenge Corpus' (N18-1101)"

GLUE = (
    GlueTask(
        name="cola",
        title="CoLA: is the sentence acceptable English?",
        folder="CoLA",
        texts=("sentence",),
        header=("source", "label", "star", "sentence"),
        labels=("unacceptable", "acceptable"),
        metric="matthews",
        metrics=("accuracy",),
        citation="Warstadt et al. 2019, 'Neural Network Acceptability Judgments' (Q19-1040)",
    ),
    Sst2(
        name="sst2",
        title="SST-2: is the phrase of a film review negative or positive?",
        folder="SST-2",
        texts=("sentence",),
        labels=("negative", "positive"),
        metric="accuracy",
        citation="Socher et al. 2013, 'Recursive Deep Models for Semantic Compositionality' (D13-1170)",
    ),
    # The test labels are public; the corpus consists of these two files, and GLUE's dev is part of the first.
    GlueTask(
        name="mrpc",
        title="MRPC: do two sentences from the news mean the same?",
        folder="MRPC",
        texts=("#1 String", "#2 String"),
        label="Quality",
        files=("msr_paraphrase_train.txt", "msr_paraphrase_test.txt"),
        eval_split="test",
        hub_texts=_PAIR,
        hub_splits=("train+validation", "test"),
        labels=("not_equivalent", "equivalent"),
        metric="f1",
        metrics=("accuracy",),
        citation="Dolan and Brockett 2005, 'Automatically Constructing a Corpus of Sentential Paraphrases' (I05-5002)",
    ),
    GlueTask(
        name="stsb",
        title="STS-B: how similar are two sentences, from 0 to 5?",
        folder="STS-B",
        texts=_PAIR,
        label="score",
        metric="pearson",
        metrics=("spearman",),
        citation="Cer et al. 2017, 'SemEval-2017 Task 1: Semantic Textual Similarity' (S17-2001)",
    ),
    GlueTask(
        name="qqp",
        title="QQP: do two questions ask the same?",
        folder="QQP",
        texts=("question1", "question2"),
        label="is_duplicate",
        labels=("not_duplicate", "duplicate"),
        broken_lines=True,
        metric="f1",
        metrics=("accuracy",),
        citation="Quora Question Pairs (Iyer et al. 2017), as distributed with GLUE",
    ),
    GlueTask(
        name="mnli",
        first_is_shared=True,
        title="MNLI: does a premise entail a hypothesis? (dev: the genres of train)",
        folder="MNLI",
        texts=_PAIR,
        label="gold_label",
        files=("train.tsv", "dev_matched.tsv"),
        hub_texts=("premise", "hypothesis"),
        hub_splits=("train", "validation_matched"),
        labels=_MNLI_LABELS,
        metric="accuracy",
        citation=_MNLI_CITATION,
    ),
    GlueTask(
        name="mnli-mm",
        first_is_shared=True,
        title="MNLI: does a premise entail a hypothesis? (dev: genres that train lacks)",
        folder="MNLI",
        texts=_PAIR,
        label="gold_label",
        files=("train.tsv", "dev_mismatched.tsv"),
        hub_name="mnli",
        hub_texts=("premise", "hypothesis"),
        hub_splits=("train", "validation_mismatched"),
        labels=_MNLI_LABELS,
        metric="accuracy",
        citation=_MNLI_CITATION,
    ),
    GlueTask(
        name="qnli",
        title="QNLI: does a sentence hold the answer to a question?",
        folder="QNLI",
        texts=("question", "sentence"),
        labels=_ENTAILMENT,
        metric="accuracy",
        citation="Rajpurkar et al. 2016, 'SQuAD' (D16-1264), recast by GLUE",
    ),
    GlueTask(
        name="rte",
        title="RTE: does one text entail another?",
        folder="RTE",
        texts=_PAIR,
        labels=_ENTAILMENT,
        metric="accuracy",
        citation="Dagan et al. 2006 and the later PASCAL challenges RTE-2, RTE-3 and RTE-5",
    ),
    GlueTask(
        name="wnli",
        title="WNLI: does a sentence follow once its pronoun is replaced?",
        folder="WNLI",
        texts=_PAIR,
        labels=("not_entailment", "entailment"),
        metric="accuracy",
        citation="Levesque et al. 2012, 'The Winograd Schema Challenge', recast by GLUE",
    ),
)
"""GLUE's tasks in the benchmark's order; each of MNLI's two dev sets is a task."""

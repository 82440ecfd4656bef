"""What a plugin's strategies, tasks, kinds of task and metrics must be."""

import pytest
from pydantic import Field, model_validator

from kdbench import (
    Choice,
    HubSource,
    LocalSource,
    Metric,
    Params,
    Range,
    Strategy,
    Task,
    TaskKind,
    UntrainedParams,
)
from kdbench.errors import UsageError
from kdbench.plugin_checks import checked_kind, checked_metric, checked_strategy, checked_task


class Sound(Strategy):
    name = "sound-2"
    title = "A sound strategy"
    citation = "Nobody 2026"

    def fit(self, bench):
        return bench.train(bench.base())


class Corpus(Task):
    name = "corpus"
    title = "A corpus"
    kind = TaskKind.SEQUENCE_CLASSIFICATION
    labels = ("no", "yes")
    metric = "accuracy"
    sources = {"local": LocalSource({"train": "train.tsv"}), "hub": HubSource("nobody/corpus")}

    def load(self, opened):
        raise NotImplementedError


class Ranking(type(TaskKind.SEQUENCE_REGRESSION)):
    name = "ranking"


class Exact(Metric):
    name = "exact"
    kinds = frozenset({TaskKind.SEQUENCE_CLASSIFICATION})

    def unit_statistics(self, answers):
        raise NotImplementedError


class NoDefault(Params):
    r: int


class Impossible(Params):
    low: int = 2
    high: int = Field(1, description="more than low")

    @model_validator(mode="after")
    def _ordered(self):
        if self.low > self.high:
            raise ValueError("low is more than high")
        return self


def test_sound_ones_come_back_as_they_are():
    assert checked_strategy(Sound) is Sound
    corpus, ranking, exact = Corpus(), Ranking(), Exact()
    assert checked_task(corpus) is corpus
    assert checked_kind(ranking) is ranking
    assert checked_metric(exact) is exact


@pytest.mark.parametrize(
    ("attribute", "value", "fault"),
    [
        ("name", "Sound", "name must be lower-case letters, digits and single dashes, not 'Sound'"),
        ("name", "two--dashes", "name must be"),
        ("name", "-sound", "name must be"),
        ("name", "so und", "name must be"),
        ("name", "sound\n", "name must be"),
        ("name", None, "name must be"),
        ("title", "", "title must be one line of text, not ''"),
        ("title", "two\nlines", "title must be one line of text"),
        ("citation", None, "citation must be one line of text, not None"),
        ("family", 3, "family must be one line of text, not 3"),
        ("kinds", {"sequence-classification"}, "kinds must be a set of TaskKind, not {'sequence-classification'}"),
        ("kinds", [TaskKind.TOKEN_CLASSIFICATION], "kinds must be a set of TaskKind"),
        ("kinds", frozenset(), "kinds must be a set of TaskKind"),
        ("learning_rates", {TaskKind.SEQUENCE_REGRESSION: 1e-3, TaskKind.TOKEN_CLASSIFICATION: 0},
         "learning_rates must have a positive number for sequence-classification; "
         "learning_rates must have a positive number for token-classification"),
        ("learning_rates", 1e-3, "learning_rates must be a mapping from TaskKind to a number, not 0.001"),
        ("Params", dict, "Params must be a subclass of kdbench.Params, not <class 'dict'>"),
        ("Params", Params(), "Params must be a subclass of kdbench.Params"),
        ("Params", NoDefault, "Params() must work without arguments, every parameter needs a default: ValidationError: 1 validation"),
        ("Params", Impossible, "Params() must work without arguments, every parameter needs a default: ValidationError: 1 validation"),
    ],
)  # fmt: skip
def test_each_bad_attribute_of_a_strategy_is_named(attribute, value, fault):
    with pytest.raises(UsageError) as caught:
        checked_strategy(type("Bad", (Sound,), {attribute: value, "__module__": "somewhere"}))
    assert str(caught.value).startswith(f"strategy somewhere.Bad: {fault}")


def test_a_strategy_without_fit_and_attributes_is_told_all_at_once():
    with pytest.raises(UsageError) as caught:
        checked_strategy(type("Bare", (Strategy,), {}))
    for missing in ("name must be", "title must be", "citation must be", "does not implement fit"):
        assert missing in str(caught.value)


def test_classes_and_instances_are_taken_alike():
    assert checked_strategy(Sound(Params())) is Sound
    assert isinstance(checked_task(Corpus), Corpus)
    assert isinstance(checked_kind(Ranking), Ranking)
    assert isinstance(checked_metric(Exact), Exact)
    with pytest.raises(UsageError, match=r"Task'> does not implement load$"):
        checked_task(Task)
    with pytest.raises(UsageError, match=r"Metric'> does not implement unit_statistics$"):
        checked_metric(Metric)
    with pytest.raises(UsageError, match=r"Bare'> does not implement answer, collate_labels, .*stored_type$"):
        checked_kind(type("Bare", (TaskKind,), {"name": "bare", "metric": "accuracy"}))


@pytest.mark.parametrize(
    ("check", "candidate", "fault"),
    [
        (checked_metric, "accuracy", "'accuracy' is not a Metric"),
        (checked_kind, "ranking", "'ranking' is not a TaskKind"),
    ],
)
def test_what_is_no_kind_or_metric_is_told(check, candidate, fault):
    with pytest.raises(UsageError) as caught:
        check(candidate)
    assert str(caught.value).endswith(fault)


def test_sound_kinds_and_metrics_are_taken_as_they_are():
    for check, candidate in ((checked_metric, Exact()), (checked_kind, Ranking())):
        assert check(candidate) is candidate


@pytest.mark.parametrize(
    ("attribute", "value", "fault"),
    [
        ("name", "Recall 1", "name must be lower-case letters, digits and single dashes, not 'Recall 1'"),
        ("kinds", ["ranking"], "kinds must be a frozenset of TaskKind, not ['ranking']"),
        ("higher_is_better", False, "higher_is_better must be true; return 1 - error instead of an error"),
    ],
)
def test_a_metric_that_no_board_can_use_is_told(attribute, value, fault):
    with pytest.raises(UsageError) as caught:
        checked_metric(type("Bad", (Exact,), {attribute: value, "__module__": "somewhere"})())
    assert str(caught.value) == f"metric somewhere.Bad: {fault}"


def test_a_kind_without_its_methods_is_told_all_at_once():
    with pytest.raises(UsageError, match=r"does not implement .*encode_label.*soft_target_loss"):
        checked_kind(type("Bare", (TaskKind,), {"name": "bare", "metric": "accuracy"})())


class Described(Sound):
    """Match what is said.

    More of it.

    Citation: Nobody and Somebody 2026,
        A paper of two lines, arXiv:2601.00001.
    """

    name = "described"


def test_title_and_citation_come_from_the_docstring_where_the_class_states_none():
    assert Described.title == "Match what is said"
    assert Described.citation == "Nobody and Somebody 2026, A paper of two lines, arXiv:2601.00001"
    assert Sound.title == "A sound strategy"


def test_a_strategy_uses_the_teacher_when_it_names_the_outputs_that_it_reads():
    class Distilled(Sound):
        teacher_outputs = "logits"

    class Misspelled(Sound):
        teacher_outputs = "logit"

    assert (Sound.uses_teacher(), Distilled.uses_teacher()) == (False, True)
    with pytest.raises(
        UsageError, match="teacher_outputs must be one of logits, hidden_states, attentions or None"
    ):
        checked_strategy(Misspelled)


@pytest.mark.parametrize("found", [None, "lora", 3, dict, Params])
def test_other_things_are_neither(found):
    with pytest.raises(UsageError, match=r"is not a Strategy$"):
        checked_strategy(found)
    with pytest.raises(UsageError, match=r"is not a Task$"):
        checked_task(found)
    with pytest.raises(UsageError, match=r"is not a TaskKind$"):
        checked_kind(found)
    with pytest.raises(UsageError, match=r"is not a Metric$"):
        checked_metric(found)


@pytest.mark.parametrize(
    ("check", "candidate", "fault"),
    [
        (checked_kind, type("Bad", (Ranking,), {"name": "two words", "metric": ""}),
         "kind somewhere.Bad: name must be lower-case letters, digits and single dashes, not 'two words'; "
         "metric must be one line of text, not ''"),
        (checked_kind, type("Bad", (TaskKind,), {"name": "bare", "metric": "accuracy"})(),
         "kind somewhere.Bad: does not implement answer, collate_labels"),
        (checked_metric, type("Bad", (Exact,), {"kinds": {TaskKind.SEQUENCE_REGRESSION}}),
         "metric somewhere.Bad: kinds must be a frozenset of TaskKind, not {"),
        (checked_metric, type("Bad", (Exact,), {"higher_is_better": False}),
         "metric somewhere.Bad: higher_is_better must be true; return 1 - error instead of an error"),
    ],
)  # fmt: skip
def test_each_fault_of_a_kind_or_a_metric_is_named(check, candidate, fault):
    cls = candidate if isinstance(candidate, type) else type(candidate)
    cls.__module__ = "somewhere"
    with pytest.raises(UsageError) as caught:
        check(candidate)
    assert str(caught.value).startswith(fault)


@pytest.mark.parametrize(
    ("attributes", "fault"),
    [
        ({"name": "SST2"}, "name must be"),
        ({"title": None}, "title must be one line of text"),
        ({"metric": ""}, "metric must be one line of text, not ''"),
        ({"metrics": "accuracy"}, "metrics must be a tuple of names, not 'accuracy'"),
        ({"eval_split": "train"}, "eval_split must not be 'train'"),
        ({"kind": "sequence-classification"}, "kind must be a TaskKind, not 'sequence-classification'"),
        ({"labels": ["no", "yes"]}, "labels must be a tuple of names, not ['no', 'yes']"),
        ({"labels": (0, 1)}, "labels must be a tuple of names, not (0, 1)"),
        ({"labels": ("yes",)}, "labels must name two classes or more, not ('yes',)"),
        ({"labels": ("yes", "no", "yes")}, "labels has duplicates: ('yes', 'no', 'yes')"),
        ({"kind": TaskKind.SEQUENCE_REGRESSION}, "labels must be empty, since the task is a regression"),
        ({"kind": TaskKind.TOKEN_CLASSIFICATION}, "labels must be IOB2 tags, 'O' first, not ('no', 'yes')"),
        ({"kind": TaskKind.TOKEN_CLASSIFICATION, "labels": ("B-PER", "I-PER", "O")}, "labels must be IOB2 tags"),
        ({"kind": TaskKind.TOKEN_CLASSIFICATION, "labels": ("O",)}, "labels must be IOB2 tags"),
        ({"sources": {}}, "sources must map one or more of package, local, hub to a source, not {}"),
        ({"sources": None}, "sources must map one or more of"),
        ({"sources": {"web": HubSource("a")}}, "sources has the unknown key 'web'; the keys are package, local, hub"),
        ({"sources": {"local": HubSource("a")}}, "sources['local'] must be a LocalSource, not HubSource("),
    ],
)  # fmt: skip
def test_each_bad_attribute_of_a_task_is_named(attributes, fault):
    with pytest.raises(UsageError) as caught:
        checked_task(type("Bad", (Corpus,), {**attributes, "__module__": "somewhere"})())
    assert str(caught.value).startswith(f"task somewhere.Bad: {fault}")


@pytest.mark.parametrize(
    "attributes",
    [
        {"kind": TaskKind.SEQUENCE_REGRESSION, "labels": ()},
        {"kind": TaskKind.TOKEN_CLASSIFICATION, "labels": ("O", "B-PER", "I-PER")},
        {"metrics": ("macro-f1",), "eval_split": "dev"},
    ],
)
def test_every_kind_of_sound_task_is_taken(attributes):
    task = type("Good", (Corpus,), attributes)()
    assert checked_task(task) is task


@pytest.mark.parametrize(
    ("attributes", "fault"),
    [
        ({"search": ["learning_rate"]}, "search must map parameters to a Range or a Choice"),
        (
            {"search": {"rate": Range(0.1, 1.0)}},
            "search names 'rate', which is no parameter that has an effect",
        ),
        (
            {"search": {"weight_decay": Range(0.0, 0.1)}, "Params": UntrainedParams},
            "search names 'weight_decay', which is no parameter that has an effect",
        ),
        ({"search": {"warmup": (0.0, 0.5)}}, "search['warmup'] must be a Range or a Choice, not (0.0, 0.5)"),
        (
            {"search": {"warmup": Range(0.2, 0.5)}},
            "search['warmup'], 0.2 to 0.5, does not contain the default 0.1",
        ),
        ({"search": {"new_layers": Choice(("a", "b"))}}, "does not contain the default 'normal'"),
    ],
)
def test_each_fault_of_a_search_space_is_named(attributes, fault):
    with pytest.raises(UsageError) as caught:
        checked_strategy(type("Bad", (Sound,), attributes))
    assert fault in str(caught.value)


def test_a_default_that_depends_on_the_task_may_be_searched():
    searched = type("Good", (Sound,), {"search": {"learning_rate": Range(1e-4, 1e-2, log=True)}})
    assert checked_strategy(searched) is searched

"""Settings become cells: which rows are added, in which order, under which keys."""

from textwrap import dedent
from types import SimpleNamespace

import pytest

from kdbench.api.params import Params
from kdbench.api.spec import parse_spec
from kdbench.api.strategy import spec_of
from kdbench.api.task import TaskKind
from kdbench.budgets import BUDGETS
from kdbench.errors import UsageError
from kdbench.plugins import load_plugins
from kdbench.results.records import spelled_out
from kdbench.run.keys import cell_key
from kdbench.run.plan import cells_of, select_rows, select_tasks

CHOOSY = """
from kdbench import Strategy, TaskKind, hookimpl


class Choosy(Strategy):
    name = "choosy"
    title = "For texts, and not for all of them"
    citation = "Nobody 2026"
    kinds = frozenset({TaskKind.SEQUENCE_CLASSIFICATION, TaskKind.SEQUENCE_REGRESSION})

    def applies(self, task):
        return "needs two classes" if len(task.labels) != 2 else None

    def fit(self, bench):
        return bench.base()


@hookimpl
def kdbench_strategies():
    return [Choosy]
"""


@pytest.fixture(scope="module")
def with_choosy(tmp_path_factory, toy_plugin):
    """The installed plugins, the toy one, and one whose strategy does not serve every task."""
    path = tmp_path_factory.mktemp("plugins") / "choosy.py"
    path.write_text(dedent(CHOOSY), encoding="utf-8")
    return load_plugins([str(toy_plugin), str(path)])


@pytest.fixture
def rows(make_config, registry):
    """The rows of the strategies given, each as its label and why it was added."""

    def of(*strategies, **settings):
        config = make_config(strategy=list(strategies), **settings)
        return [(str(row.spec), row.added_for) for row in select_rows(config, registry)]

    return of


def test_the_teacher_s_own_row_and_the_control_are_added_and_say_why(rows):
    assert rows("vanilla-kd") == [
        ("finetune", "the teacher itself"),
        ("hard-labels", "the control of vanilla-kd"),
        ("hard-labels[init=base]", "the control of vanilla-kd"),
        ("vanilla-kd", None),
    ]


def test_a_row_that_was_asked_for_is_not_called_added(rows):
    assert rows("vanilla-kd", "hard-labels", "finetune") == [
        ("finetune", None),
        ("hard-labels", None),
        ("hard-labels[init=base]", "the control of vanilla-kd"),
        ("vanilla-kd", None),
    ]
    assert ("finetune", "the teacher itself") in rows("lora")


def test_the_control_has_the_student_of_its_row_and_two_rows_share_one(rows):
    assert rows("vanilla-kd[layers=2]", "vanilla-kd[layers=2,temperature=4]") == [
        ("finetune", "the teacher itself"),
        ("hard-labels[layers=2]", "the control of vanilla-kd[layers=2]"),
        ("hard-labels[init=base,layers=2]", "the control of vanilla-kd[layers=2]"),
        ("vanilla-kd[layers=2]", None),
        ("vanilla-kd[layers=2,temperature=4.0]", None),
    ]


def test_a_student_of_the_base_has_one_control(rows):
    assert rows("vanilla-kd[init=base]") == [
        ("finetune", "the teacher itself"),
        ("hard-labels[init=base]", "the control of vanilla-kd[init=base]"),
        ("vanilla-kd[init=base]", None),
    ]


@pytest.mark.parametrize(
    ("row", "controls"),
    [
        ("vanilla-kd[hidden_size=16]", ["hard-labels[hidden_size=16]"]),  # starts from random weights
        ("tinybert[intermediate_size=16]", ["hard-labels[intermediate_size=16]"]),
        ("bilstm-kd", ["bilstm"]),
        ("bilstm-kd[init=teacher]", ["bilstm[init=teacher]", "bilstm"]),
        ("lora", ["finetune[steps=budget]"]),
    ],
)
def test_only_a_control_that_starts_from_the_teacher_has_a_twin_that_does_not(rows, row, controls):
    assert [label for label, added in rows(row) if added == f"the control of {row}"] == controls


def test_a_tuned_reference_stands_beside_the_teacher_s_own_row(rows):
    assert rows("finetune[dropout=0.2]") == [
        ("finetune", "the teacher itself"),
        ("finetune[dropout=0.2]", None),
    ]


def test_a_grid_is_every_combination_beside_the_rows_asked_for(rows):
    grid = {"lora": {"r": [4, 16], "alpha": [8, 32]}, "vanilla-kd": {"layers": [2]}}
    assert [label for label, _ in rows("finetune", grid=grid)] == [
        "finetune",
        "finetune[steps=budget]",
        "lora[alpha=8.0,r=4]",
        "lora[alpha=32.0,r=4]",
        "lora[alpha=8.0,r=16]",
        "lora[alpha=32.0,r=16]",
        "hard-labels[layers=2]",
        "hard-labels[init=base,layers=2]",
        "vanilla-kd[layers=2]",
    ]


def test_a_default_that_is_spelled_out_makes_no_row_of_its_own(rows):
    assert rows("lora", "lora[r=8]", grid={"lora": {"r": [8], "alpha": [16]}}) == [
        ("finetune", "the teacher itself"),
        ("finetune[steps=budget]", "the control of lora"),
        ("lora", None),
    ]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"strategy": ["lorra"]}, "did you mean 'lora'?"),
        ({"strategy": ["lora[rank=4]"]}, "has no parameter 'rank'"),
        ({"strategy": [""]}, "cannot read strategy ''"),
        ({"grid": {"lorra": {"r": [4]}}}, "did you mean 'lora'?"),
        ({"grid": {"lora": {"r": [4, 0]}}}, "r must be greater than or equal to 1, got 0"),
        ({"task": ["toy-sentimental"]}, "did you mean 'toy-sentiment'?"),
    ],
)
def test_a_name_or_value_that_cannot_be_is_refused_before_anything_runs(
    make_config, registry, settings, told
):
    with pytest.raises(UsageError) as caught:
        cells_of(make_config(**settings), registry)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_seed_of_the_whole_matrix_comes_before_the_next_and_the_teacher_first_in_each_task(
    make_config, registry
):
    cells = cells_of(make_config(task=["toy-sentiment", "toy-tags"], strategy=["bilstm"], seeds=2), registry)
    assert [(cell.seed, cell.task.name, str(cell.row.spec)) for cell in cells] == [
        (0, "toy-sentiment", "finetune"),
        (0, "toy-sentiment", "bilstm"),
        (0, "toy-tags", "finetune"),
        (0, "toy-tags", "bilstm"),
        (1, "toy-sentiment", "finetune"),
        (1, "toy-sentiment", "bilstm"),
        (1, "toy-tags", "finetune"),
        (1, "toy-tags", "bilstm"),
    ]
    assert cells[-1].label == "bilstm on toy-tags, seed 1"


def test_a_cell_that_does_not_apply_says_why(make_config, with_choosy):
    config = make_config(task=["toy-*"], strategy=["choosy"])
    why = {
        cell.task.name: cell.reason
        for cell in cells_of(config, with_choosy)
        if cell.row.strategy.name == "choosy"
    }
    assert why == {
        "toy-sentiment": None,
        "toy-tags": "serves sequence-classification, sequence-regression, not token-classification",
        "toy-score": "needs two classes",
    }


def test_a_revised_strategy_runs_again(make_experiment, registry, monkeypatch):
    strategy, experiment = registry.strategy(parse_spec("vanilla-kd")), make_experiment()
    before = cell_key(strategy, experiment, 0)
    monkeypatch.setattr(type(strategy), "revision", 2)
    assert cell_key(strategy, experiment, 0) != before


def task_names(config, registry):
    return [task.name for task in select_tasks(config, registry)]


def test_without_a_name_the_embedded_tasks_of_a_default_run_are_taken(make_config, registry):
    assert task_names(make_config(task=[]), registry) == ["rotten-tomatoes", "twitter-ner"]
    assert "package" in registry.task("drug-reviews").sources


def test_with_a_data_folder_the_corpora_in_it_run(make_config, registry, tmp_path):
    folder = tmp_path / "data" / "glue" / "SST-2"
    folder.mkdir(parents=True)
    for name in ("train.tsv", "dev.tsv"):
        (folder / name).write_text("sentence\tlabel\nfine\t1\n", encoding="utf-8")
    names = task_names(make_config(task=[], data_dir=tmp_path / "data"), registry)
    assert "sst2" in names
    assert not {"cola", "mrpc", "conll2003", "rotten-tomatoes"} & set(names)


def test_a_data_folder_that_is_none_or_holds_nothing_known_is_refused(make_config, registry, tmp_path):
    with pytest.raises(UsageError, match=r"--data-dir .*gone is not a folder"):
        select_tasks(make_config(task=[], data_dir=tmp_path / "gone"), registry)
    plain = load_plugins()
    with pytest.raises(UsageError, match=r"contains none of the corpora .*sst2"):
        select_tasks(make_config(task=[], data_dir=tmp_path), plain)


@pytest.fixture
def key(make_config, registry):
    """The key of the last cell that the settings give: ``key(strategy="lora", data="another", …)``."""

    def of(strategy="lora", *, data="data", base="base", seed=0, together=(), **settings):
        config = make_config(strategy=[strategy], **settings)
        cells = [cell for cell in cells_of(config, registry) if cell.seed == seed]

        def experiment(task, fingerprint):
            return SimpleNamespace(
                task=SimpleNamespace(task=task, fingerprint=fingerprint),
                kind=task.kind,
                base=SimpleNamespace(sha256=base),
                budget=config.resolved_budget,
                external_teacher=None,
                answers=None,
            )

        partners = [experiment(registry.task(name), "data") for name in together]
        return cell_key(cells[-1].row.strategy, experiment(cells[-1].task, data), seed, partners)

    return of


def test_a_key_follows_from_all_that_quality_follows_from(key):
    keys = [
        key(),
        key("lora[r=4]"),
        key("lora[dropout=0.2]"),
        key("hard-labels"),
        key(seed=1, seeds=2),
        key(task=["toy-tags"]),
        key(data="other data"),
        key(base="another base"),
        key(budget="quick"),
        key(together=["toy-sentiment", "toy-tags"]),
        key(together=["toy-sentiment", "toy-score"]),
    ]
    assert len(set(keys)) == len(keys)


def test_a_key_does_not_follow_from_what_leaves_quality_alone(key, monkeypatch, tmp_path):
    same = key()
    assert key(seeds=5) == same
    assert key(workers=4, threads=2, timeout=5.0, executor="inline", overwrite="all") == same
    assert key(results=tmp_path / "elsewhere", board=tmp_path / "board") == same
    smoke = BUDGETS["smoke"]
    monkeypatch.setitem(BUDGETS, "smoke", smoke.model_copy(update={"seeds": 7, "latency_rounds": 99}))
    assert key() == same
    more_steps = {**smoke.steps, TaskKind.SEQUENCE_CLASSIFICATION: 7}
    monkeypatch.setitem(BUDGETS, "smoke", smoke.model_copy(update={"steps": more_steps}))
    assert key() != same


def test_a_default_that_is_spelled_out_changes_neither_key_nor_label(key, registry):
    assert key('lora[r=8,target=["query","value"]]') == key("lora")
    assert str(spec_of(registry.strategy(parse_spec("lora[r=8,alpha=16]")))) == "lora"
    assert str(spec_of(registry.strategy(parse_spec("lora[r=8,alpha=17]")))) == "lora[alpha=17.0]"


def test_the_default_learning_rate_is_part_of_the_key(key, registry, monkeypatch):
    default = key("lora")
    assert key("lora[learning_rate=0.002]") == default
    lora = registry.strategies["lora"].item
    monkeypatch.setattr(lora, "learning_rates", dict.fromkeys(TaskKind, 0.001))
    assert key("lora") != default


def test_parameters_that_came_later_change_keys_only_where_they_are_set(key):
    default = Params().model_dump(mode="json")
    before = {name: value for name, value in default.items() if name not in ("class_weights", "focal_gamma")}
    kind = TaskKind.SEQUENCE_CLASSIFICATION
    assert spelled_out(default, {}, kind) == spelled_out(before, {}, kind)
    assert Params().identity() == before
    assert len({key("lora"), key("lora[focal_gamma=2]"), key("lora[class_weights=balanced]")}) == 3

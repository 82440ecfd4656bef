"""What the registry answers; this module is itself the plugin that it is asked about."""

from typing import Literal

import pandas as pd
import pytest
from helpers.support import make_record
from pydantic import Field, field_validator

from kdbench import LocalSource, Params, Strategy, StrategySpec, StudentParams, Task, TaskKind, hookimpl
from kdbench.api.spec import parse_spec
from kdbench.errors import UsageError
from kdbench.plugins import load_plugins


class Tuned(Params):
    r: int = Field(8, ge=1)
    target: Literal["query", "value"] = "query"
    pairs: tuple[int, ...] = ()

    @field_validator("pairs")
    @classmethod
    def _even(cls, pairs):
        if len(pairs) % 2:
            raise ValueError("must have an even number of members")
        return pairs


class Sample(Strategy):
    name = "sample-b"
    title = "A sample"
    citation = "Nobody 2026"
    Params = Tuned

    def fit(self, bench):
        return bench.train(bench.base())


class Student(Sample):
    name = "sample-a"
    Params = StudentParams


class Corpus(Task):
    title = "A corpus"
    kind = TaskKind.SEQUENCE_CLASSIFICATION
    labels = ("no", "yes")
    metric = "accuracy"
    sources = {"local": LocalSource({"train": "train.tsv", "test": "test.tsv"})}

    def __init__(self, name):
        self.name = name

    def load(self, opened):
        raise NotImplementedError


@hookimpl
def kdbench_strategies():
    return [Sample, Student]


@hookimpl
def kdbench_tasks():
    return [Corpus("corpus-z"), Corpus("corpus-a")]


@pytest.fixture(scope="module")
def registry():
    return load_plugins([__name__])


@pytest.fixture
def with_observers(tmp_path):
    """Return a function that loads this module and plugins made of the sources of one hook each."""

    def load(*sources):
        paths = [tmp_path / f"observer_{number}.py" for number in range(len(sources))]
        for path, source in zip(paths, sources, strict=True):
            path.write_text(f"from kdbench import hookimpl\nseen = []\n@hookimpl\n{source}\n")
        return load_plugins([__name__, *map(str, paths)])

    return load


def test_a_strategy_is_made_with_the_parameters_that_were_set(registry):
    strategy = registry.strategy(parse_spec("sample-b[r=16,target=value,pairs=[1,2]]"))
    assert isinstance(strategy, Sample)
    assert strategy.params == Tuned(r=16, target="value", pairs=(1, 2))


def test_values_that_were_read_from_json_or_taken_from_params_are_the_same(registry):
    listed = registry.strategy(StrategySpec(name="sample-a", params={"layers": [0, 2]}))
    tupled = registry.strategy(StrategySpec(name="sample-a", params={"layers": (0, 2), "learning_rate": 1}))
    assert listed.params.layers == tupled.params.layers == (0, 2)
    assert tupled.params.learning_rate == 1.0


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("sampel-a", "unknown strategy 'sampel-a' (did you mean 'sample-a'?)"),
        ("sample-b[rr=16]", "strategy 'sample-b' has no parameter 'rr' (did you mean 'r'?); it has: class_weights, "
         "dropout, focal_gamma, learning_rate, max_grad_norm, new_layers, pairs, patience, r, target, warmup, weight_decay"),
        ("sample-b[temperature=2]", "strategy 'sample-b' has no parameter 'temperature'; it has: class_weights, dropout, "
         "focal_gamma, learning_rate, max_grad_norm, new_layers, pairs, patience, r, target, warmup, weight_decay"),
        ("sample-b[r=x]", "strategy 'sample-b': r must be a valid integer, got 'x'"),
        ("sample-b[r=0]", "strategy 'sample-b': r must be greater than or equal to 1, got 0"),
        ("sample-b[r=8.5]", "strategy 'sample-b': r must be a valid integer, got 8.5"),
        ("sample-b[r=true]", "strategy 'sample-b': r must be a valid integer, got True"),
        ('sample-b[r="8"]', "strategy 'sample-b': r must be a valid integer, got '8'"),
        ("sample-b[r=null]", "strategy 'sample-b': r must be a valid integer, got None"),
        ("sample-b[dropout=nan]", "strategy 'sample-b': dropout must be a valid number, got 'nan'"),
        ("sample-b[target=key]", "strategy 'sample-b': target must be 'query' or 'value', got 'key'"),
        ("sample-b[pairs=[1]]", "strategy 'sample-b': pairs must have an even number of members, got [1]"),
        ("sample-a[layers=x]", "strategy 'sample-a': layers must be a valid integer or a valid array, got 'x'"),
        ("sample-b[r=x,warmup=2]", "strategy 'sample-b': warmup must be less than 1, got 2; "
         "r must be a valid integer, got 'x'"),
    ],
)  # fmt: skip
def test_a_spec_that_cannot_be_met_is_told_in_one_line(registry, spec, told):
    with pytest.raises(UsageError) as caught:
        registry.strategy(parse_spec(spec))
    assert str(caught.value) == told


def test_tasks_are_found_by_name(registry):
    assert registry.task("corpus-a").name == "corpus-a"
    with pytest.raises(UsageError, match=r"^unknown task 'corpus-b' \(did you mean 'corpus-[az]'\?\)$"):
        registry.task("corpus-b")


@pytest.mark.parametrize(
    ("patterns", "hits"),
    [
        (["sample-a", "sample-b"], ["sample-b", "sample-a"]),
        (["sample-?"], ["sample-b", "sample-a"]),
        (["sample-*", "sample-a", "sample-a"], ["sample-b", "sample-a"]),
        (["sample-b[r=4]", "sample-b"], ["sample-b[r=4]", "sample-b"]),
        (["sample-*[dropout=0.5]"], ["sample-b[dropout=0.5]", "sample-a[dropout=0.5]"]),
        ([], []),
    ],
)
def test_matches_come_in_the_order_of_registration_each_once(registry, patterns, hits):
    assert [str(spec) for spec in registry.match_strategies(patterns)] == hits


def test_a_star_matches_everything_but_what_runs_on_request(registry):
    named = {name for name, registered in registry.strategies.items() if registered.item.on_request}
    assert "peft" in named
    expected = [name for name in registry.strategies if name not in named]
    assert [spec.name for spec in registry.match_strategies(["*"])] == expected
    assert [spec.name for spec in registry.match_strategies(["peft", "lora"])] == ["lora", "peft"]
    assert [task.name for task in registry.match_tasks(["*"])] == list(registry.tasks)


def test_a_glob_may_set_only_what_every_hit_has(registry):
    with pytest.raises(UsageError, match=r"^strategy 'sample-a' has no parameter 'r'"):
        registry.match_strategies(["sample-*[r=4]"])


def test_a_pattern_without_a_hit_is_refused(registry):
    with pytest.raises(UsageError, match=r"^no strategy matches 'sampl-a' \(did you mean 'sample-a'\?\)$"):
        registry.match_strategies(["sample-a", "sampl-a"])
    with pytest.raises(UsageError, match=r"^no task matches 'corpsu-\*'"):
        registry.match_tasks(["corpsu-*"])


def test_tasks_match_in_the_order_of_registration_each_once(registry):
    assert [task.name for task in registry.match_tasks(["corpus-a", "corpus-*"])] == ["corpus-z", "corpus-a"]


def test_every_observer_of_cells_is_called_though_one_raises(with_observers, tmp_path):
    told = tmp_path / "told"
    registry = with_observers(
        "def kdbench_cell_finished(record): raise OSError('no network')",
        "def kdbench_cell_finished(record): raise SystemExit(1)",
        f"def kdbench_cell_finished(record): open({str(told)!r}, 'a').write(record.strategy.name)",
        f"def kdbench_cell_finished(): open({str(told)!r}, 'a').write(' again')",
    )
    warnings = registry.cell_finished(make_record("lora"))
    assert told.read_text() == "lora again"
    plugins = [tmp_path / "observer_0.py", tmp_path / "observer_1.py"]
    assert warnings == [
        f"plugin '{plugins[0]}' of (module), kdbench_cell_finished: OSError: no network ({plugins[0]}, line 4)",
        f"plugin '{plugins[1]}' of (module), kdbench_cell_finished: SystemExit: 1 ({plugins[1]}, line 4)",
    ]


def test_sound_board_columns_are_kept_and_the_others_told(with_observers):
    registry = with_observers(
        "def kdbench_board_columns(table): return (table[['score']] * 100).add_prefix('percent_')",
        "def kdbench_board_columns(table): return None",
        "def kdbench_board_columns(table): return table['score']",
        "def kdbench_board_columns(table): return table[['score']]",
        "def kdbench_board_columns(table): return table.head(1).add_prefix('first_')",
        "def kdbench_board_columns(table): return (table[['score']] * 100).add_prefix('percent_')",
        "def kdbench_board_columns(table): return 1 / 0",
    )
    table = pd.DataFrame({"strategy": ["lora", "finetune"], "score": [0.5, 0.75]}, index=[7, 3])
    warnings = []
    (added,) = registry.board_columns(table, warn=warnings.append)
    assert added.to_dict("list") == {"percent_score": [50.0, 75.0]}
    assert [warning.partition("kdbench_board_columns: ")[2].partition(" (")[0] for warning in warnings] == [
        "returned Series, not a DataFrame",
        "returned columns that the board has: score",
        "returned a table with another index than the board's",
        "returned columns that the board has: percent_score",
        "ZeroDivisionError: division by zero",
    ]


def test_a_plugin_cannot_change_the_board_itself(with_observers):
    registry = with_observers(
        "def kdbench_board_columns(table): table['score'] = 1.0",
        "def kdbench_board_columns(table): return table[['score']].add_prefix('seen_')",
    )
    table = pd.DataFrame({"score": [0.5]})
    warnings = []
    (added,) = registry.board_columns(table, warn=warnings.append)
    assert (list(table["score"]), list(added["seen_score"]), warnings) == ([0.5], [0.5], [])

"""Settings: which source wins, what a file may say, and how a mistake in it is told."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from kdbench.api.task import TaskKind
from kdbench.budgets import BUDGETS, BackEnd
from kdbench.config import RunConfig, TaskTable, load_config, to_toml
from kdbench.errors import UsageError


@pytest.fixture
def file(tmp_path):
    """Write a config file and return its path."""

    def write(content, name="kdbench.toml"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def refused(file, flags=None):
    """Return the message with which the settings are refused."""
    with pytest.raises(UsageError) as caught:
        load_config(file, flags or {})
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_flag_beats_the_file_and_the_file_beats_the_default(file):
    path = file('budget = "smoke"\nseeds = 2\nworkers = 2\n')
    config = load_config(path, {"seeds": 5, "workers": None, "strategy": []})
    assert (config.budget, config.seeds, config.workers) == ("smoke", 5, 2)
    assert config.strategy == ["*"]


def test_the_number_of_seeds_is_the_budget_s_unless_it_is_named():
    assert load_config(None, {"budget": "standard"}).seed_count == 3
    assert load_config(None, {"budget": "standard", "seeds": 1}).seed_count == 1


def test_a_budget_of_the_user_s_own_differs_from_its_base_in_what_it_says(file):
    path = file(
        'budget = "long"\n[budgets.long]\nbase = "full"\nseeds = 2\nsteps = {sequence-classification = 7}\n'
    )
    config = load_config(path, {})
    steps = {**BUDGETS["full"].steps, TaskKind.SEQUENCE_CLASSIFICATION: 7}
    changed = {"name": "long", "seeds": 2, "steps": steps}
    assert config.resolved_budget == BUDGETS["full"].model_copy(update=changed)
    assert config.seed_count == 2
    assert config.board_folder == Path("leaderboards/long")
    assert list(config.known_budgets) == [*BUDGETS, "long"]
    assert load_config(path, {"budget": "smoke"}).resolved_budget == BUDGETS["smoke"]


def test_back_ends_are_added_to_those_of_the_budget_and_change_no_quality(file):
    config = load_config(file('back_end = ["openvino", "torch"]\n'), {})
    assert config.resolved_budget.latency_back_ends == (BackEnd.TORCH, BackEnd.OPENVINO)
    assert config.resolved_budget.identity() == BUDGETS["quick"].identity()
    assert config.requested_back_ends == {BackEnd.TORCH, BackEnd.OPENVINO}
    own = 'budget = "served"\n[budgets.served]\nlatency_back_ends = ["torch", "openvino"]\n'
    assert load_config(file(own), {}).requested_back_ends == {BackEnd.TORCH, BackEnd.OPENVINO}
    # What a budget of ours has is timed where it is installed; nobody has asked for it.
    assert load_config(None, {"budget": "full"}).requested_back_ends == set()
    with pytest.raises(UsageError, match=r"^--back-end: .*'openvino'.*got 'tensorrt'"):
        load_config(None, {"back_end": ["tensorrt"]})


def test_a_board_s_folder_follows_from_the_budget_unless_it_is_named():
    assert load_config(None, {"budget": "smoke"}).board_folder == Path("leaderboards/smoke")
    assert load_config(None, {"board": Path("here")}).board_folder == Path("here")


def test_relative_paths_in_a_file_count_from_its_folder_and_those_of_flags_do_not(file, tmp_path):
    path = file(
        'results = "out"\nboard = "../boards"\ndata_dir = "/data"\ncache_dir = "cache"\n'
        '[plugins]\nmodules = ["mine.py", "installed.module"]\n'
        '[tasks.tickets]\ntrain = "tickets.csv"\ntest = "/data/test.csv"\ntext = "body"\nlabel = "queue"\n'
    )
    config = load_config(path, {"board": Path("here")})
    assert config.results == tmp_path / "out"
    assert config.board == Path("here")
    assert config.data_dir == Path("/data")
    assert config.cache_dir == tmp_path / "cache"
    assert config.plugins.modules == [str(tmp_path / "mine.py"), "installed.module"]
    assert (config.tasks["tickets"].train, config.tasks["tickets"].test) == (
        str(tmp_path / "tickets.csv"),
        "/data/test.csv",
    )


def test_a_model_in_a_file_is_a_folder_beside_it_where_there_is_one_and_stays_as_written_otherwise(
    file, tmp_path
):
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    assert load_config(file('model = "models/tiny"'), {}).model == str(tmp_path / "models" / "tiny")
    assert load_config(file('model = "./models/tiny"'), {}).model == str(tmp_path / "models" / "tiny")
    assert load_config(file('teacher = "models/tiny"'), {}).teacher == str(tmp_path / "models" / "tiny")
    assert load_config(file('model = "google/bert_uncased"'), {}).model == "google/bert_uncased"


def test_the_home_folder_may_be_written_as_a_tilde(file, monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    assert load_config(file('results = "~/runs"'), {}).results == Path("/home/anna/runs")


def test_what_is_printed_gives_the_same_settings_when_read_again(file):
    given = {
        "strategy": ['lora[r=16,target=["query"]]', "vanilla-*"],
        "task": ["sst2"],
        "budget": "standard",
        "labels": [16, "all"],
        "seeds": 2,
        "until_decided": True,
        "max_seeds": 7,
        "model": "/models/bert",
        "teacher": "org/teacher",
        "data_dir": Path("/data"),
        "results": Path("/runs/results"),
        "board": Path("/runs/board"),
        "cache_dir": Path("/runs/cache"),
        "executor": "inline",
        "workers": 3,
        "threads": 1,
        "timeout": 1.5,
        "back_end": ["openvino"],
        "margin": 1.0,
        "overwrite": "failed",
        "serving": True,
        "drawings": False,
        "report_to": ["wandb"],
        "tasks": {"tickets": {"train": "/data/tickets.csv", "text": ["title", "body"], "label": "queue"}},
        "plugins": {"modules": ["/plugins/mine.py"]},
        "grid": {"lora": {"r": [4, 8], "target": [["query"], ["key"]]}},
        "budgets": {"long": {"base": "full", "steps": {"sequence-classification": 9}}},
    }
    config = load_config(None, given)
    assert load_config(file(to_toml(config)), {}) == config
    assert {name for name in type(config).model_fields if getattr(config, name) is not None} == set(given)


def test_models_serve_as_the_budget_says_unless_the_settings_do():
    def processes(**settings):
        return RunConfig(**settings).resolved_budget.serving_processes

    assert (processes(budget="quick"), processes(budget="standard")) == (0, 3)
    assert (processes(budget="quick", serving=True), processes(budget="full", serving=True)) == (3, 5)
    assert processes(budget="standard", serving=False) == 0
    served, not_served = (
        RunConfig(budget="quick", serving=serving).resolved_budget for serving in (True, False)
    )
    assert served.identity() == not_served.identity()  # nothing is trained again
    assert "serving_processes" not in not_served.model_dump()  # as records of earlier versions


def test_the_defaults_survive_the_same_way(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(None, {})
    Path("kdbench.toml").write_text(to_toml(config), encoding="utf-8")
    assert load_config(Path("kdbench.toml"), {}) == config


def test_a_byte_order_mark_is_no_part_of_the_first_name(file):
    assert load_config(file(b'\xef\xbb\xbfbudget = "full"\r\n'), {}).budget == "full"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('budget = "smoke"\n\nbugdet = "quick"\n', ["line 3", "'bugdet'", "did you mean 'budget'?"]),
        ('budget = "smok"\n', ["line 1", "unknown budget 'smok'", "did you mean 'smoke'?"]),
        ("# so\nseeds = 0\n", ["line 2", "seeds", "greater than or equal to 1", "got 0"]),
        ('seeds = "many"\n', ["line 1", "seeds", "integer", "got 'many'"]),
        ("timeout = -1\n", ["line 1", "timeout", "greater than 0"]),
        ('strategy = "lora"\n', ["line 1", "strategy", "list", "got 'lora'"]),
        ("strategy = []\n", ["line 1", "strategy", "at least 1"]),
        ('executor = "cloud"\n', ["line 1", "executor", "'process' or 'inline'", "got 'cloud'"]),
        ('[plugins]\nmodule = ["x"]\n', ["line 2", "plugins.module", "did you mean 'modules'?"]),
        ('[plugins]\nmodules = "x"\n', ["line 2", "plugins.modules", "list"]),
        ('[plugins]\nmodules = [\n  "x",\n  1]\n', ["line 2", "plugins.modules.1", "string", "got 1"]),
        ('plugins = "x"\n', ["line 1", "plugins"]),
        ('tasks = "x"\n', ["line 1", "tasks"]),
        ("[budgets]\nlong = 8\n", ["line 2", "budgets.long", "dictionary", "got 8"]),
        ('[budgets.long]\nbase = "ful"\n', ["line 1", "budgets.long.base", "did you mean 'full'?"]),
        ("[budgets.long]\nstep = 8\n", ["line 1", "unknown setting 'budgets.long.step'", "'steps'"]),
        (
            "[budgets.long]\nseeds = 0\n",
            ["line 1", "budgets.long.seeds", "greater than or equal to 1", "got 0"],
        ),
        (
            "[budgets.long]\nsteps.token-clasification = 8\n",
            ["line 1", "budgets.long.steps", "'token-classification'"],
        ),
        ("[budgets.full]\nseeds = 1\n", ["line 1", "a built-in budget"]),
        ('[budgets."../up"]\nseeds = 1\n', ["line 1", "lower-case letters"]),
        ('budget = "lon"\n[budgets.long]\nseeds = 1\n', ["line 1", "did you mean 'long'?"]),
        ("[grid]\nlora = 8\n", ["line 2", "grid.lora", "got 8"]),
        ("[grid.lora]\nr = 8\n", ["line 2", "grid.lora.r", "list", "got 8"]),
        ('[grid.lora]\n\n"r" = []\n', ["line 3", "grid.lora.r", "at least 1"]),
        ("workers = 2\ngrid.lora.r = 8\n", ["line 2", "grid.lora.r", "list"]),
        ("budget = smoke\n", ["line 1"]),
        ('budget = "smoke"\nseeds = \n', ["line 2"]),
        ('budget = "smoke"\nbudget = "quick"\n', ["budget"]),
        ("", ["is empty", "leave --config out"]),
        ("  \n\t\n", ["is empty"]),
        (b"budget = '\xff\xfe'", ["is not UTF-8"]),
        (b"\x00\x01\x02\x03", ["line 1"]),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_its_name_and_the_line(file, content, told):
    path = file(content)
    message = refused(path)
    assert message.startswith(f"config {path}")
    for part in told:
        assert part in message, message


def test_a_line_is_found_in_the_table_that_holds_the_mistake(file):
    path = file("[grid.hard-labels]\nlayers = [2, 3]\n\n[grid.lora]\nlayers = 2\n")
    assert "line 5" in refused(path)


@pytest.mark.parametrize("what", ["gone.toml", "."])
def test_a_file_that_cannot_be_read_is_told_with_the_flag(tmp_path, what):
    message = refused(tmp_path / what)
    assert str(tmp_path / what) in message
    assert "cannot be read" in message
    assert "--config" in message


def test_a_flag_s_mistake_is_told_by_the_flag_even_if_the_file_sets_the_same(file):
    message = refused(file("seeds = 3\n"), {"seeds": 0})
    assert message.startswith("--seeds: ")
    assert "kdbench.toml" not in message


def test_columns_and_metric_follow_the_kind_where_the_table_is_silent():
    table = TaskTable(train="a.csv")
    assert (table.kind, table.text_columns, table.label_columns, table.headline) == (
        TaskKind.SEQUENCE_CLASSIFICATION,
        ("text",),
        ("label",),
        "accuracy",
    )
    tokens = TaskTable(train="a.jsonl", kind="token-classification")
    assert (tokens.text_columns, tokens.label_columns, tokens.headline) == (
        ("tokens",),
        ("tags",),
        "entity-f1",
    )
    assert TaskTable(train="a.csv", kind="sequence-regression").headline == "pearson"


def test_two_columns_make_a_pair():
    assert TaskTable(train="a.csv", text=["title", "body"]).text_columns == ("title", "body")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "name the training file as train, or a hub data set as dataset"),
        ({"train": "a.csv", "text": ["a", "b", "c"]}, "text"),
        ({"train": "a.csv", "txt": "body"}, "Extra inputs are not permitted"),
        ({"train": "a.csv", "kind": "ranking"}, "'sequence-classification', 'sequence-regression'"),
        ({"train": "a.conll", "kind": "token-classification", "text": ["a", "b"]}, "one column of words"),
        ({"train": "a.csv", "kind": "sequence-regression", "labels": ["a"]}, "leave labels out"),
    ],
)
def test_an_impossible_table_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        TaskTable.model_validate(settings)


def test_label_counts_are_a_list_in_a_file_and_parted_by_commas_on_the_command_line(file):
    path = file('budget = "quick"\nlabels = [64, "all", 16]\n')
    assert load_config(path, {}).labels == [16, 64, "all"]
    config = load_config(path, {"labels": "256, 32,256"})
    assert config.labels == [32, 256]
    assert load_config(file(to_toml(config)), {}).labels == [32, 256]


def test_a_budget_with_a_label_count_is_chosen_instead_of_the_counts_of_the_file(file):
    path = file('budget = "quick"\nlabels = [16, 64]\n')
    config = load_config(path, {"budget": "quick@16"})
    assert (config.resolved_budget.labels, config.labels) == (16, [])


def test_each_label_count_is_a_run_with_a_budget_and_a_board_of_its_own():
    config = load_config(None, {"labels": "16,all", "board": "mine"})
    few, whole = config.by_labels.values()
    assert list(config.by_labels) == [16, "all"]
    assert (few.budget, few.resolved_budget) == ("quick@16", BUDGETS["quick"].at_labels(16))
    assert (few.board_folder, few.labels, few.drawings) == (Path("mine/labels/16"), [], False)
    assert whole == load_config(None, {"board": "mine"})
    assert type(few).model_validate_json(few.model_dump_json()) == few  # as the processes of a cell get it


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"labels": "16,4"}, "--labels: 4 labels are too few; name a count of at least 8"),
        ({"labels": "5000"}, "--labels: budget 'quick' has 2,000 labelled training examples; name a smaller"),
        ({"labels": "16,some"}, "--labels: "),
        ({"labels": ""}, "--labels: "),
        ({"budget": "quick@5000"}, "--budget: budget 'quick' has 2,000 labelled"),
    ],
)
def test_impossible_label_counts_are_refused_by_the_flag(flags, told):
    assert refused(None, flags).startswith(told)


def test_until_decided_every_row_begins_with_at_least_three_seeds():
    def seeds(**flags):
        return load_config(None, flags).seed_count

    assert (seeds(), seeds(until_decided=True)) == (1, 3)
    assert seeds(budget="full", until_decided=True) == 5
    assert seeds(seeds=2, until_decided=True) == 2


def test_a_most_of_seeds_without_until_decided_is_refused():
    assert load_config(None, {"until_decided": True}).most_seeds == 10
    assert load_config(None, {"until_decided": True, "max_seeds": 7}).most_seeds == 7
    with pytest.raises(UsageError, match="applies to until_decided alone"):
        load_config(None, {"max_seeds": 7})

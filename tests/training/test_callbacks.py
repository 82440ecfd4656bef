import resource
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event

from kdbench.errors import UsageError
from kdbench.training.callbacks import Trackers, check_trackers


@pytest.fixture
def trained(make_bench):
    """A bench whose strategy was trained under a row's name."""
    _, bench = make_bench("finetune[weight_decay=0.1]", "toy-tags")
    bench.row = "a/b [x=1]"
    bench.train(bench.base())
    return bench


def test_losses_and_validations_go_to_tensorboard_files(trained):
    (folder,) = (trained.experiment.results / "tensorboard").rglob("training_1")
    assert folder.relative_to(trained.experiment.results).parts == (
        "tensorboard",
        "toy-tags",
        "a_b_[x=1]",
        "seed_0",
        "training_1",
    )
    scalars = {}
    for event in events(folder):
        for value in event.summary.value:
            scalars.setdefault(value.tag, {})[event.step] = value.simple_value
    (run,) = trained.runs
    assert scalars["train/loss"] == pytest.approx(
        dict(zip(run.curve.steps, run.curve.losses, strict=True)), rel=1e-4
    )
    assert scalars["eval/score"] == pytest.approx(
        dict(zip(run.curve.validated, run.curve.scores, strict=True))
    )


def test_a_cell_without_a_name_writes_none(make_bench):
    _, bench = make_bench("finetune")
    bench.train(bench.base())
    assert not (bench.experiment.results / "tensorboard").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_ends_the_training(make_bench):
    _, bench = make_bench("finetune")
    bench.row = "finetune"
    no_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, no_limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            bench.train(bench.base())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, no_limit)


def test_trackers_asked_for_are_told_by_the_trainer(make_bench, monkeypatch, tmp_path):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "asked"))
    _, bench = make_bench("finetune")
    asked = Trackers(tmp_path / "own", ("task", "row"), ("tensorboard",))
    bench.trackers = lambda phase: asked
    bench.train(bench.base())
    for folder in (tmp_path / "asked", tmp_path / "own" / "task" / "row"):
        tags = {value.tag for event in events(folder) for value in event.summary.value}
        assert "train/loss" in tags


def test_a_tracker_that_is_not_installed_is_refused():
    check_trackers(["tensorboard"])
    with pytest.raises(UsageError, match=r"--report-to tensorbord: .*did you mean 'tensorboard'"):
        check_trackers(["tensorbord"])


def events(folder):
    """Read the events of the folder's only file: each is its length in 8 bytes, 4 of checksum, itself, 4 of checksum."""
    (file,) = folder.iterdir()
    content, place = file.read_bytes(), 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        yield Event.FromString(content[place + 12 : place + 12 + length])
        place += 16 + length

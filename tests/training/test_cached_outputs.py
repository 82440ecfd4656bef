import pytest
import torch
from helpers.training import changed_budget

from kdbench.training import bench as bench_module
from kdbench.training.cached_outputs import states_bytes
from kdbench.training.teacher import RunningTeacher, TeacherStore


def stored(bench):
    rows = bench.task.train
    states, _ = TeacherStore(bench.experiment, bench.seed).states(rows, bench.teacher_logits(rows))
    return states


@pytest.mark.parametrize("task", ["toy-sentiment", "toy-tags"])
def test_stored_states_are_those_of_a_running_teacher_rounded_to_bfloat16(make_bench, task):
    _, bench = make_bench("vanilla-kd", task)
    running = RunningTeacher(bench.teacher, bench.experiment, attentions=False)
    batch = bench.experiment.collate([bench.task.train[i] for i in (5, 0, 9, 3)])
    expected, outputs = running(batch), stored(bench)(batch)
    counted = batch["attention_mask"].bool()
    assert not counted.all()
    assert len(outputs.hidden_states) == len(expected.hidden_states) == 5
    for mine, theirs in zip(outputs.hidden_states, expected.hidden_states, strict=True):
        assert mine.dtype == torch.float32
        assert torch.equal(mine, mine.bfloat16().float())
        torch.testing.assert_close(mine[counted], theirs[counted], rtol=0.02, atol=0.02)
        assert not mine[~counted].any()
    torch.testing.assert_close(outputs.hidden_states[-1], outputs.hidden_states[4])
    assert len(outputs.hidden_states[1:3]) == 2


def test_their_size_is_known_before(make_bench):
    _, bench = make_bench("vanilla-kd")
    stored(bench)
    (folder,) = (
        path for path in TeacherStore(bench.experiment, bench.seed).folder.glob("states-*") if path.is_dir()
    )
    files = sum(path.stat().st_size for path in folder.glob("*.bin"))
    assert files == states_bytes(bench.task.train, bench.teacher.config)
    assert files == sum(bench.task.train["length"]) * 5 * 32 * 2


def test_unknown_rows_and_other_word_pieces_are_refused(make_bench):
    _, bench = make_bench("vanilla-kd")
    states = stored(bench)
    row = dict(bench.task.train[0])
    with pytest.raises(KeyError, match=r"no outputs for the rows \[987654\]"):
        states(bench.experiment.collate([{**row, "id": 987654}]))
    with pytest.raises(KeyError, match="other word pieces"):
        states(bench.experiment.collate([{**row, "input_ids": row["input_ids"][:-1]}]))


CLOSE = {"rel": 2e-3, "abs": 1e-4}
"""States are stored in bfloat16, of 8 significant bits, and computed in batches of other texts."""


@pytest.mark.parametrize(
    "spec", ["tinybert[layers=2]", "minilm[layers=2]", "pkd[layers=2]", "distilbert[layers=2]"]
)
def test_a_strategy_learns_the_same_from_stored_states_as_from_a_running_teacher(
    make_bench, monkeypatch, spec
):
    def losses(limit):
        monkeypatch.setattr(bench_module, "STATES_LIMIT_BYTES", limit)
        reported = []
        strategy, bench = make_bench(
            spec,
            budget=changed_budget(16, train_examples=16),  # several passes in each stage
            report=lambda phase, done, total, loss: phase == "training" and reported.append(loss),
        )
        strategy.fit(bench)
        folders = [
            path
            for path in TeacherStore(bench.experiment, bench.seed).folder.glob("states-*")
            if path.is_dir()
        ]
        return reported, len(folders)

    running, none = losses(0)
    cached, one = losses(10**9)
    again, _ = losses(10**9)
    assert (none, one) == (0, 1)
    assert cached == again  # whether this cell or another one has computed them
    assert len(running) == len(cached) == 16
    assert cached != running
    assert cached == pytest.approx(running, **CLOSE)


def test_rows_that_are_read_once_are_not_stored(make_bench):
    strategy, bench = make_bench("pkd[layers=2]", budget=changed_budget(4, train_examples=64))
    strategy.fit(bench)
    assert not list(TeacherStore(bench.experiment, bench.seed).folder.glob("states-*"))


def test_nothing_is_kept_of_states_that_were_cut_off(make_bench, tmp_path, monkeypatch):
    _, bench = make_bench("vanilla-kd", results=tmp_path)
    teacher, calls = bench.teacher, []
    store, rows = TeacherStore(bench.experiment, bench.seed), bench.task.train
    logits, _ = store.logits(rows)

    def fail(module, inputs):
        calls.append(1)
        raise KeyboardInterrupt

    teacher.register_forward_pre_hook(fail)
    monkeypatch.setattr(store, "load", lambda: teacher)
    with pytest.raises(KeyboardInterrupt):
        store.states(rows, logits)
    assert calls
    assert list(store.folder.glob("states*")) == []


@pytest.mark.parametrize("output", ["logits", "states"])
def test_outputs_that_are_damaged_are_computed_again(make_bench, tmp_path, output, caplog):
    _, bench = make_bench("vanilla-kd", results=tmp_path)
    batch = bench.collate([bench.task.train[i] for i in (5, 0)])
    outputs = stored(bench)(batch)
    logits, states = outputs.logits, outputs.hidden_states[2]  # read before the file changes under them
    folder = next(TeacherStore(bench.experiment, bench.seed).folder.glob(f"{output}-*"))
    (file,) = folder.glob("l*s.npy") if output == "logits" else folder.glob("layer-2.bin")
    file.write_bytes(bytes(file.stat().st_size))
    again = stored(bench)(batch)
    assert torch.equal(again.logits, logits)
    assert torch.equal(again.hidden_states[2], states)
    (line,) = caplog.messages
    assert (
        line
        == f"a file of the teacher's {output} is made again, since {file} has another content than was written"
    )

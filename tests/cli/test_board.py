"""`kdbench board --from` and `--diff` as a user calls them."""

import re

import pytest
from helpers.comparisons import put_row, right
from helpers.support import make_environment, make_record, make_timing, save_predictions

from kdbench.results.records import RecordStore
from kdbench.results.timings import put_timing


@pytest.fixture
def board(call, tmp_path, cache_dir, monkeypatch):
    """Run `kdbench board` in a folder of its own."""
    monkeypatch.setenv("KDBENCH_CACHE", str(cache_dir))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: call("board", "--no-drawings", "--board", "board", *arguments)


@pytest.fixture
def machines(tmp_path):
    """Two runs on two machines, which share the row `both`; each timed its own."""
    shares = {"one": {"finetune": 700, "both": 650}, "two": {"lora": 600, "both": 650}}
    for place, (name, rows) in enumerate(shares.items()):
        folder = tmp_path / "runs" / name
        environment = make_environment(f"CPU {name}")
        made = [
            put_row(folder, row, {0: right(count)}, environment=environment)[0] for row, count in rows.items()
        ]
        times = {record.key: 4.0 + place for record in made}
        put_timing(folder, make_timing(times, environment=environment, minutes=60 + place))
    return tmp_path / "runs"


def test_the_runs_of_many_machines_are_one_board(board, machines, tmp_path):
    (machines / "notes").mkdir()
    code, out, err = board("--from", "runs/*")
    assert code == 0
    assert err == "  ! skipped runs/notes: neither a results folder nor a board's\n"
    assert [name in out for name in ("finetune", "lora", "both")] == [True] * 3
    page = (tmp_path / "board" / "rotten-tomatoes.md").read_text()
    assert "not compared with other rows" not in page
    # Each list of latencies is of one machine; what was timed on the other stands apart.
    speed = page.partition("## Speed\n")[2].partition("\n## ")[0]
    assert "5.00" in speed
    assert "4.00" not in speed
    assert "timed in another setting, not to be compared: p50 4.00 ms" in page
    elsewhere = page.partition("## Speed in other settings\n")[2].partition("\n## ")[0]
    assert "on cores 2, cpu CPU one, torch 2.13.0:" in elsewhere
    assert "| both | torch | 4.00 |" in elsewhere


def test_a_conflict_is_named_in_the_terminal_and_on_the_board(board, machines, tmp_path):
    newest = make_record("both", score=0.5, minutes=7)
    RecordStore(machines / "two").put(newest)
    save_predictions(machines / "two", newest.key, right(500))
    code, _, err = board("--from", "runs/one", "--from", "runs/two")
    line = (
        f"conflict: both on rotten-tomatoes, seed 0 (record {newest.key}): accuracy 50 in two but accuracy 65 in one."
        " The newest, in two, counts here"
    )
    assert (code, err) == (0, f"  ! {line}\n")
    assert line in (tmp_path / "board" / "README.md").read_text()


def test_a_regression_fails_where_that_is_asked_for(board, machines, tmp_path):
    put_row(tmp_path / "main", "both", {0: right(750)}, minutes=-60)
    code, out, err = board("--from", "runs/*", "--diff", "main")
    assert (code, err) == (0, "")
    assert "What changed: 1 worse, 2 new" in out
    assert "Changes: board/changes.md" in out
    code, out, err = board("--from", "runs/*", "--diff", "main", "--fail-on-regression")
    assert "What changed: 1 worse, 2 new" in out
    assert (code, err) == (1, "kdbench: 1 regression: both on rotten-tomatoes: worse\n")


def test_no_regression_is_exit_code_0(board, machines, tmp_path):
    put_row(tmp_path / "main", "both", {0: right(550)}, minutes=-60)
    code, out, err = board("--results", "runs/one", "--diff", "main", "--fail-on-regression")
    assert (code, err) == (0, "")
    assert "What changed: 1 better, 1 new" in out


def test_a_board_is_held_against_the_one_that_it_replaces(board, machines):
    assert board("--results", "runs/one")[0] == 0
    code, out, _ = board("--results", "runs/two", "--diff", "board", "--fail-on-regression")
    assert code == 1
    assert "What changed: 1 gone, 1 new, 1 the same run" in out
    code, out, _ = board("--results", "runs/two", "--diff", "board/records.jsonl")
    assert "What changed: 2 the same run" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--from", "runs/three"], "--from: there is no runs/three; name a results folder"),
        (["--from", "nowhere/*"], r"--from nowhere/\*: no file or folder matches"),
        (
            ["--results", "runs/one", "--diff", "nowhere"],
            "--diff: there is no nowhere; name a results folder",
        ),
        (["--results", "runs/one", "--diff", "runs"], "--diff: runs holds neither records/ nor records"),
        (["--from", "runs/one", "runs/two"], "unexpected arguments runs/two; put a glob in quotes"),
        (["--results", "runs/one", "--fail-on-regression"], "--fail-on-regression needs older records"),
        (["--from", "runs/*", "--budget", "smoke"], "no record of budget 'smoke' in runs/one and runs/two"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(board, machines, arguments, told):
    code, out, err = board(*arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(rf"kdbench: {told}[^\n]*\n", err), err

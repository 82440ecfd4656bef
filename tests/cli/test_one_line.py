"""Whatever goes wrong is told in one line of bounded length."""

import errno
import os
import re
import signal
import subprocess
import sys
import time

import pytest


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("board", "--from", "~nosuch/x"), "~nosuch/x: the home folder is unknown; write the full path"),
        (("verify", "~nosuch/x"), "~nosuch/x: the home folder is unknown; write the full path"),
        (("config", "--results", "~nosuch/x"), "~nosuch/x: the home folder is unknown; write the full path"),
        (("plan", "--model", "~nosuch/x"), "~nosuch/x: the home folder is unknown; write the full path"),
        (("plan", "--strategy", "lora\udcff"), r"the argument 'lora\\udcff' is not text in UTF-8"),
        (("plan", "--strategy", "x" * 100_000), "x…"),
    ],
)
def test_a_word_that_names_nothing(call, words, told):
    code, _, errors = call(*words)
    assert code == 2
    (line,) = errors.splitlines()
    assert told.replace("\\\\", "\\") in line
    assert len(line) < 2100


def test_a_flag_knows_the_home_folder(call, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    _, output, _ = call("config", "--results=~/x", "--board=~/y")
    assert f'results = "{tmp_path}/x"' in output
    assert f'board = "{tmp_path}/y"' in output


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[budgets.mine]\nbase = {}\n", r"budgets\.mine\.base: unknown budget \{\}"),
        ('results = "a\\u0000b"\n', "has a NUL character"),
        ('model = "a\\u0000b"\n', "has a NUL character"),
    ],
)
def test_a_setting_that_no_file_can_have(call, tmp_path, text, told):
    (tmp_path / "kdbench.toml").write_text(text)
    code, _, errors = call("config", "--config", tmp_path / "kdbench.toml")
    assert code == 2
    (line,) = errors.splitlines()
    assert re.search(told, line)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ZeroDivisionError("a fault"), "a fault ("),
        (MemoryError(), "too little memory"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "too little memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "too little memory"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "too little memory"),
    ],
)
def test_what_nobody_expects_is_told_without_a_traceback(call, monkeypatch, error, told):
    def fail(*arguments):
        raise error

    monkeypatch.setattr("kdbench.cli.run.registry_of", fail)
    code, _, errors = call("plan")
    assert code == 1
    (line,) = errors.splitlines()
    assert told in line


def test_with_hardly_any_memory_nothing_is_loaded():
    line = f"ulimit -v 500000; exec {sys.executable} -m kdbench list"
    ended = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    (told,) = ended.stderr.splitlines()
    assert "this process may use 488 MB, as 'ulimit -v' says" in told


def test_a_locale_without_the_letters_of_a_path_is_named(tmp_path):
    variables = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    line = [sys.executable, "-m", "kdbench", "config", "--results", "é"]
    ended = subprocess.run(line, capture_output=True, env=variables, cwd=tmp_path, check=False, timeout=120)
    assert ended.returncode == 2
    assert b"cannot be read in this locale (ascii); set PYTHONUTF8=1" in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("wait_s", [0.2, 2.0])
def test_ctrl_c_in_the_first_seconds_and_again_and_again_is_quiet(tmp_path, wait_s):
    # It is born deaf to Ctrl-C, as what a background shell starts.
    line = f"trap '' INT; exec {sys.executable} -m kdbench run --budget smoke --no-drawings"
    with subprocess.Popen(
        ["sh", "-c", line],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as run:
        time.sleep(wait_s)
        give_up = time.monotonic() + 60
        while run.poll() is None and time.monotonic() < give_up:
            os.killpg(run.pid, signal.SIGINT)
            time.sleep(0.05)
        run.kill()
        errors = run.stderr.read()
    assert run.returncode == 130
    assert "Traceback" not in errors
    assert errors.count("interrupted") == 1

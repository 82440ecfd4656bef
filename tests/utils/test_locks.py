"""Locks of the operating system: they end with the process, whatever its number, and some file systems have none."""

import errno
import fcntl
import os
import subprocess
import sys
from textwrap import dedent

import pytest
from filelock import Timeout

from kdbench.errors import UsageError
from kdbench.run.lock import lock_results
from kdbench.utils.locks import locked


def test_a_lock_excludes_another_process_and_ends_with_it(tmp_path):
    code = dedent(
        """
        import sys
        from pathlib import Path
        from kdbench.utils.locks import locked
        with locked(Path(sys.argv[1])):
            print("held", flush=True)
            sys.stdin.read()
        """
    )
    path = tmp_path / "new" / "run.lock"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Timeout), locked(path, wait=False):
            pass
        holder.kill()
        holder.wait()
        # What names the holder in its file, another process with its number say, would count for nothing.
        path.write_text(f"{os.getpid()}\n")
        with locked(path, wait=False):
            pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_the_user_is_told_and_the_work_goes_on(tmp_path, monkeypatch, caplog, number):
    def refuse(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with lock_results(tmp_path / "results"), locked(tmp_path / "results" / "other.lock"):
        pass
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        f"results folder {tmp_path / 'results'} is on a file system without locks; let no other run use it now"
    ]
    assert before in (0, len(os.listdir("/proc/self/fd")))


def test_another_problem_than_missing_locks_is_an_error(tmp_path, monkeypatch):
    def fail(file, operation):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(UsageError, match=r"cannot be written \(Input/output error\)"), lock_results(tmp_path):
        pass


def test_an_error_inside_is_not_taken_for_one_of_the_lock(tmp_path):
    with pytest.raises(OSError, match="mine"), locked(tmp_path / "lock"):
        raise OSError(errno.ENOLCK, "mine")
    with locked(tmp_path / "lock", wait=False):
        pass

"""A terminal shows what others wrote; it does not obey it."""

import json
import subprocess
import sys

import pytest
from helpers.support import make_record
from rich.table import Table
from rich.text import Text

from kdbench.cli.streams import PlainConsole, printable_json
from kdbench.results.records import RecordStore, Status

EVIL = "a\x1b[31mb\x1b]0;title\x9c\u202ec"
SHOWN = "a\ufffd[31mb\ufffd]0;title\ufffd\ufffdc"


@pytest.mark.parametrize("renderable", [EVIL, Text(EVIL)])
def test_escapes_are_shown_and_lines_and_brackets_stay(capsys, renderable):
    PlainConsole().print(renderable, "\nnext [bold]:smile:")
    assert capsys.readouterr().out == f"{SHOWN} \nnext [bold]:smile:\n"


def test_escapes_in_a_table_are_shown(capsys):
    table = Table(EVIL, title=EVIL)
    table.add_row(EVIL)
    PlainConsole().print(table)
    out = capsys.readouterr().out
    assert out.count("a\ufffd[31mb") == 3
    assert "\x1b" not in out


def test_json_means_the_same_and_has_no_escapes():
    text = printable_json(json.dumps(EVIL + "ä\udcff", ensure_ascii=False))
    assert json.loads(text) == EVIL + "ä\udcff"
    assert text.replace("\\", "").isprintable()


def test_names_and_texts_in_a_stranger_s_folder_are_shown_on_one_line(call, tmp_path):
    record = make_record("a", status=Status.FAILED, reason=EVIL)
    RecordStore(tmp_path).put(record)
    (tmp_path / "records" / f"{EVIL}\nNo problem found.").write_text("{")
    for command in (("verify", tmp_path), ("board", "--from", tmp_path, "--budget", "quick")):
        _, out, err = call(*command)
        assert "\x1b" not in out + err
        assert "\x9c" not in out + err
        assert f"{SHOWN} No problem found.: " in out + err
        assert "\nNo problem found." not in out + err


@pytest.mark.parametrize("redirected", ["stdout", "stderr", "stdin"])
def test_a_closed_stream_and_an_encoding_without_dots_are_no_errors(tmp_path, redirected):
    number = {"stdin": 0, "stdout": 1, "stderr": 2}[redirected]
    command = f"exec {sys.executable} -m kdbench describe lora {number}>&-"
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "HOME": str(tmp_path)}
    done = subprocess.run(["sh", "-c", command], env=plain, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert ("lora" in done.stdout) == (redirected != "stdout")

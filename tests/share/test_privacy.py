"""What names a machine, a folder or a user is taken out of text, and found in what is to be published."""

import getpass
import socket
import tempfile
from pathlib import Path

import pytest
from helpers.support import make_record, make_timing
from hypothesis import given
from hypothesis import strategies as st

from kdbench.budgets import BackEnd
from kdbench.results.records import RecordStore
from kdbench.results.serving import ModelServing, Serving
from kdbench.results.timings import load_timings, put_timing
from kdbench.share.privacy import Private, last_name, of_this_machine, write_scrubbed_results

HERS = Private(
    folders=("/home/alice", "/home/alice/My Docs/results", "/scratch7"), users=("alice",), hosts=("box17",)
)


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("no /home/alice/x/y.txt, line 3", "no <path>, line 3"),
        ("/home/alice/My Docs/results/a.log: gone", "<path>: gone"),
        ("(/opt/lib/python3.11/torch/nn.py, line 5)", "(<path>, line 5)"),
        ("File '/data/my stuff/a.csv' gone", "File '<path>' gone"),
        ("in /scratch7", "in <path>"),
        ("at C:\\Users\\bob\\x.txt now", "at <path> now"),
        ("\\\\server\\share\\x", "<path>"),
        ("file:///etc/passwd", "<path>"),
        ("smb://server/share/secret file.txt", "<path>"),
        ("/data/my stuff/a b.csv gone", "<path> gone"),
        ("in /home/alice/My Docs/x y.txt, line 3", "in <path>, line 3"),
        ("~/x/y and ~bob/z", "<path> and <path>"),
        (">/home/bob/x<", "><path><"),
        ("alice@box17 and BOX17", "<user>@<host> and <host>"),
        ("https://alice:pw@host/x", "https://<redacted>@host/x"),
    ],
)
def test_what_names_somebody_is_taken_out(text, scrubbed):
    assert HERS.scrub(text) == scrubbed
    assert HERS.scrub(scrubbed) == scrubbed
    assert HERS.leak(scrubbed) is None


@pytest.mark.parametrize(
    "text",
    [
        "see https://arxiv.org/abs/1503.02531 and org/name",
        "and/or, 1/2, ms/s, ~5/10, about ~5",
        '<td>1</td><br/> <a href="sst2.html">',
        "malice, alicea, box170, /",
        "lora[r=16]+int8",
        "a // b",
    ],
)
def test_what_names_nobody_stays(text):
    assert HERS.scrub(text) == text
    assert HERS.leak(text) is None


def test_of_what_tells_two_rows_apart_the_last_name_stays():
    label = 'bilstm[embeddings="/home/alice/vectors/glove 6B.txt"]'
    assert HERS.scrub(label, keep_name=True) == 'bilstm[embeddings="<path>/glove 6B.txt"]'


@given(
    st.lists(st.text("abcXYZ019_-.", min_size=1, max_size=8), min_size=1, max_size=4),
    st.sampled_from(["", "error: ", "'", "(", "=", "[Errno 2] ", "\n"]),
    st.sampled_from(["", ", line 3", "'", ")", ": no such file", "\n"]),
)
def test_no_path_below_a_known_folder_gets_through(names, before, after):
    path = "/".join(["/home/alice", *names])
    scrubbed = HERS.scrub(f"{before}{path}{after}")
    assert "alice" not in scrubbed
    assert "/home" not in scrubbed


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("x /home/alice/y", "/home/alice/y"),
        ("x /scratch7 y", "/scratch7"),
        ("<td>/usr/lib/x.py</td>", "/usr/lib/x.py"),
        ("by Alice", "Alice"),
        ("on box17", "box17"),
        ('"C:\\\\Users\\\\bob"', "C:\\\\Users"),
        ("https://a:b@c", "a token, password or address"),
    ],
)
def test_a_leak_is_found_with_its_line(line, found):
    assert HERS.leak(f"fine\n{line}\nfine") == (2, found)


def test_a_leak_in_bytes_needs_a_name_that_does_not_stand_there_by_chance():
    assert HERS.leak_in_bytes(b"\x89PNG\xff/home/alice/x") == "/home/alice"
    assert HERS.leak_in_bytes(b"\x89PNG\xffbox17") is None
    assert Private(users=("alexandra",)).leak_in_bytes(b"\xffalexandra\xff") == "alexandra"


def test_this_machine_s_folders_and_names_are_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/zebedee")
    monkeypatch.setenv("LOGNAME", "zeb-the-user")
    monkeypatch.setenv("SERVICE_API_KEY", "correct horse")
    private = of_this_machine([tmp_path])
    assert {"/home/zebedee", str(Path.cwd()), tempfile.gettempdir(), str(tmp_path)} <= set(private.folders)
    assert private.users == ("zeb-the-user", "zebedee")
    assert "correct horse" in private.secrets
    assert private.scrub("it said correct horse") == "it said <redacted>"
    assert private.leak("it said correct horse") == (1, "a token, password or address")
    assert str(Path.cwd()) not in private.secrets  # PWD is no password
    assert of_this_machine(allow=["Zebedee"]).users == ("zeb-the-user",)
    assert getpass.getuser() == "zeb-the-user"
    host = socket.gethostname()
    assert (host in private.hosts) == (len(host) >= 3 and not host.startswith("localhost"))


def test_accounts_that_are_everybody_s_are_nobody_s(monkeypatch):
    monkeypatch.setenv("HOME", "/root")
    monkeypatch.setenv("LOGNAME", "runner")
    assert of_this_machine().users == ()
    assert of_this_machine().leak("the root of the mean square, by a runner") is None


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("/data/models/tiny", "tiny"),
        ("~/tiny/", "tiny"),
        ("./tiny", "tiny"),
        ("C:\\models\\tiny", "tiny"),
        ("org/tiny", "org/tiny"),
        ("tiny", "tiny"),
    ],
)
def test_a_model_given_as_a_folder_goes_by_its_last_name(given, name):
    assert last_name(given) == name


def test_of_what_served_only_the_published_models_remain_and_reasons_are_scrubbed(tmp_path):
    record, other = make_record("lora"), make_record("secret")
    models = tuple(
        ModelServing(key=one.key, back_end=BackEnd.TORCH, reason="no /home/alice/model")
        for one in (record, other)
    )
    serving = Serving(processes=1, capacity_per_s=9, cores=2, models=models)
    timing = make_timing({record.key: 5.0, other.key: 6.0})
    RecordStore(tmp_path / "results").put(record)
    put_timing(tmp_path / "results", timing.model_copy(update={"serving": serving}))
    write_scrubbed_results(tmp_path / "results", {record.key}, tmp_path / "out", HERS)
    (published,) = load_timings(tmp_path / "out")[0]
    (served,) = published.serving.models
    assert (served.key, served.reason) == (record.key, "no <path>")

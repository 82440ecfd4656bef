"""The commands `publish` and `verify` as a user types them, on what a real run left."""

import json
import subprocess
import sys

import pytest
from helpers.commands import Command
from helpers.hub_server import serving

from kdbench.errors import UsageError
from kdbench.share.publish import Destinations, publish

pytestmark = pytest.mark.slow

TOKEN = "hf_nobodyshouldeverseethis"


@pytest.fixture
def command(tmp_path, small_run, toy_plugin, cache_dir):
    """The command line over the small run's results."""
    made = Command(tmp_path, model=small_run.model, plugins=[toy_plugin], cache=cache_dir)
    made.settings[made.settings.index("--results") + 1] = str(small_run.results)
    return made


@pytest.fixture
def bare(tmp_path):
    folder = tmp_path / "bare.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(folder)], check=True)
    return folder


def _verify(command, folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "kdbench", "verify", str(folder), *arguments],
        cwd=command.folder, env=command.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_run_is_published_everywhere_and_verifies(command, bare, tmp_path):
    site = tmp_path / "site"
    with serving(TOKEN) as hub:
        variables = {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
        arguments = ("--out", site, "--git", bare, "--hub", "lab/board")
        done = command.run(*arguments, verb="publish", **variables)
        assert (done.returncode, done.stderr) == (0, "")
        assert TOKEN not in done.stdout
    assert f"uploaded to {hub.address}/spaces/lab/board" in done.stdout
    names = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    listed = subprocess.run(
        ["git", "-C", str(bare), "ls-tree", "-r", "--name-only", "gh-pages"], capture_output=True, text=True, check=True
    ).stdout.split()  # fmt: skip
    assert set(listed) == names == set(hub.repositories["dataset", "lab/board"]) - {".gitattributes"}
    text = b"\n".join(path.read_bytes() for path in site.rglob("*") if path.is_file())
    assert str(tmp_path).encode() not in text

    checked = _verify(command, site, "--json")
    assert checked.returncode == 0, checked.stdout
    report = json.loads(checked.stdout)
    assert report["problems"] == []
    assert report["checked"]["scores"] == report["checked"]["keys"] == 4
    assert report["unchecked"] == {}


def test_a_dry_run_tells_and_sends_nothing(small_run, tmp_path):
    told = []
    to = Destinations(tmp_path / "site", "https://alice:s3cret@127.0.0.1:9/x", hub="lab/board")
    publish(small_run, to, dry_run=True, report=told.append)
    assert not (tmp_path / "site").exists()
    text = "\n".join(told)
    assert "s3cret" not in text
    assert "bytes  records.jsonl" in text
    assert "to gh-pages of https://127.0.0.1:9/x" in text
    assert "to the static Space lab/board" in text


def test_without_a_destination_one_is_told_what_there_is(small_run):
    with pytest.raises(UsageError, match="--out DIR, --git REMOTE or --hub ORG/NAME"):
        publish(small_run, Destinations(), report=print)


def test_a_changed_record_is_one_line_and_exit_code_1(command, small_results):
    path = next((small_results / "records").iterdir())
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    changed = _verify(command, small_results)
    assert changed.returncode == 1, changed.stdout
    assert f"! records/{path.name}: the key {path.stem} is not the hash of" in changed.stdout

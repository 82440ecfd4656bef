"""A site is pushed by the real git to a bare repository on disk."""

import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from kdbench.errors import KdbenchError, UsageError
from kdbench.share.git import parse_remote, push_site


@pytest.fixture
def bare(tmp_path):
    """A bare repository; ``bare("log", …)`` asks git in it."""
    folder = tmp_path / "bare.git"

    def git(*arguments):
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
        ).stdout

    subprocess.run(["git", "init", "--quiet", "--bare", str(folder)], check=True)
    git.folder = folder
    return git


@pytest.fixture
def site(tmp_path):
    """A folder of three files, one of which many users ignore."""
    folder = tmp_path / "site"
    (folder / "predictions").mkdir(parents=True)
    (folder / "README.md").write_text("board 1\n")
    (folder / "predictions" / "a.safetensors").write_bytes(bytes(range(256)))
    (folder / ".DS_Store").write_text("ignored by many")
    return folder


@pytest.fixture
def push(bare, site):
    return lambda branch="gh-pages": push_site(site, parse_remote(str(bare.folder)), branch, "a board")


def _hook(bare, script):
    hook = bare.folder / "hooks" / "pre-receive"
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)


def test_a_branch_that_is_not_there_starts_without_a_history(bare, push):
    commit = push()
    assert bare("log", "--format=%H %P %an %ae %s", "gh-pages").split() == [
        commit, "kdbench", "kdbench@invalid", "a", "board",
    ]  # fmt: skip
    assert bare("ls-tree", "-r", "--name-only", "gh-pages").split() == [
        ".DS_Store",
        "README.md",
        "predictions/a.safetensors",
    ]


def test_a_second_board_stands_on_the_first_and_an_equal_one_is_not_pushed(bare, push, site):
    first = push()
    assert push() is None
    (site / "README.md").write_text("board 2\n")
    (site / ".DS_Store").unlink()
    second = push()
    assert bare("log", "--format=%H", "gh-pages").split() == [second, first]
    assert bare("show", "gh-pages~1:README.md") == "board 1\n"
    assert ".DS_Store" not in bare("ls-tree", "-r", "--name-only", "gh-pages")


def test_bytes_arrive_as_they_are_whatever_the_user_s_git_does(bare, push, site, tmp_path, monkeypatch):
    settings = tmp_path / "gitconfig"
    (tmp_path / "attributes").write_text("* text eol=crlf\n*.safetensors filter=lfs\n")
    (tmp_path / "ignore").write_text("*\n")
    settings.write_text(
        f"[core]\nautocrlf = true\nexcludesFile = {tmp_path / 'ignore'}\nattributesFile = {tmp_path / 'attributes'}\n"
        '[filter "lfs"]\nclean = false\nrequired = true\n[user]\nname = Alice\nemail = alice@box17\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    (site / "crlf.csv").write_bytes(b"a\r\nb\n")
    push()
    raw = subprocess.run(
        ["git", "-C", str(bare.folder), "show", "gh-pages:crlf.csv"], capture_output=True, check=True
    ).stdout
    assert raw == b"a\r\nb\n"
    assert bare("cat-file", "-s", "gh-pages:predictions/a.safetensors").strip() == "256"
    assert "lice" not in bare("log", "--format=fuller", "gh-pages")


def test_the_domain_of_the_pages_stays(bare, push, site):
    push()
    tree = bare("write-tree").strip()
    blob = subprocess.run(
        ["git", "-C", str(bare.folder), "hash-object", "-w", "--stdin"],
        input="boards.example.org\n", capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    bare("update-index", "--add", "--cacheinfo", f"100644,{blob},CNAME")
    bare("update-index", "--add", "--cacheinfo", f"100644,{blob},old.md")
    tree = bare("write-tree").strip()
    bare("update-ref", "refs/heads/gh-pages", bare(
        "-c", "user.name=x", "-c", "user.email=x@y", "commit-tree", tree, "-p", "gh-pages", "-m", "domain"
    ).strip())  # fmt: skip
    push()
    names = bare("ls-tree", "-r", "--name-only", "gh-pages").split()
    assert "CNAME" in names
    assert "old.md" not in names


def test_who_pushed_meanwhile_keeps_their_commit(bare, push, site):
    theirs = push("other")
    (site / "README.md").write_text("board 2\n")
    # Inside the first push somebody else's commit lands on the branch.
    _hook(
        bare,
        "[ -e landed ] && exit 0\ntouch landed\n"
        "env -u GIT_QUARANTINE_PATH -u GIT_OBJECT_DIRECTORY -u GIT_ALTERNATE_OBJECT_DIRECTORIES "
        f"git update-ref refs/heads/gh-pages {theirs}",
    )
    mine = push()
    assert bare("log", "--format=%H", "gh-pages").split() == [mine, theirs]


def test_a_remote_that_rejects_twice_is_told_in_one_line(bare, push):
    _hook(bare, "echo x >> asked; echo protected >&2; exit 1")
    with pytest.raises(
        KdbenchError, match=r"rejects the push to gh-pages \(.*pre-receive hook declined"
    ) as caught:
        push()
    assert "\n" not in str(caught.value)
    assert (bare.folder / "asked").read_text() == "x\nx\n"
    assert bare("for-each-ref") == ""


def test_the_working_tree_that_one_stands_in_is_not_touched(bare, site, tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    subprocess.run(["git", "init", "--quiet", str(mine)], check=True)
    (mine / "new.txt").write_text("not yet added")
    subprocess.run(["git", "-C", str(mine), "remote", "add", "origin", str(bare.folder)], check=True)
    before = {path: path.read_bytes() for path in sorted(mine.rglob("*")) if path.is_file()}
    monkeypatch.chdir(mine)
    monkeypatch.setenv("GIT_DIR", str(mine / ".git"))  # as in a hook
    assert push_site(site, parse_remote("origin"), "gh-pages", "a board")
    assert {path: path.read_bytes() for path in sorted(mine.rglob("*")) if path.is_file()} == before


@pytest.mark.parametrize("branch", ["-x", "a..b", "", "a b"])
def test_what_is_no_branch_is_a_user_s_mistake(push, branch):
    with pytest.raises(UsageError, match="is not a valid branch name"):
        push(branch)


@pytest.mark.parametrize("remote", ["", "--upload-pack=x", "nosuchremote"])
def test_what_is_no_remote_is_a_user_s_mistake(remote):
    with pytest.raises(UsageError, match="--git"):
        parse_remote(remote)


def test_a_remote_that_is_not_there_is_told_in_one_line(site, tmp_path):
    with pytest.raises(KdbenchError, match="cannot reach") as caught:
        push_site(site, parse_remote(str(tmp_path / "nowhere" / "x.git")), "gh-pages", "a board")
    assert "\n" not in str(caught.value)


@pytest.fixture
def guarded():
    """A server that lets nobody in and remembers who asked: ``(port, headers)``."""
    asked = []

    class Guard(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Authorization")))
            self.send_response(403 if self.headers.get("Authorization") else 401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Guard)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.server_port, asked
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("user", "header"),
    [("alice:s3cr%2Fet99", "Basic YWxpY2U6czNjci9ldDk5"), ("tok3n9999", "Basic dG9rM245OTk5Og==")],
)
def test_a_token_in_the_url_reaches_the_server_and_nobody_else(site, guarded, user, header):
    port, asked = guarded
    remote = parse_remote(f"http://{user}@127.0.0.1:{port}/board.git")
    with pytest.raises(KdbenchError) as caught:
        push_site(site, remote, "gh-pages", "a board")
    told = f"{caught.value} {remote} {remote!r}"
    for secret in ("s3cr", "et99", "tok3n9999", "YWxpY2U6", "dG9rM24"):
        assert secret not in told
    assert asked[-1] == ("/board.git/info/refs?service=git-upload-pack", header)

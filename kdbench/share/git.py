"""A site on a branch of a git repository, by the `git` command in a repository of its own that vanishes again."""

from __future__ import annotations

import base64
import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from kdbench.errors import KdbenchError, UsageError
from kdbench.share.privacy import redact

_TIMEOUT_S = 600
_AUTHOR = "kdbench"
_KEPT = ("CNAME", ".nojekyll")
"""What GitHub Pages reads and no site brings: it stays on the branch."""


@dataclass(frozen=True)
class Remote:
    """Where to push, without the credentials that stood in the URL."""

    url: str
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What must not be shown: user and password as they stood there and unquoted."""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The environment that hands the credentials to git: neither a command line nor a file ever holds them."""

    def __str__(self) -> str:
        return redact(self.url, *self.secrets)


def parse_remote(text: str) -> Remote:
    """Return the remote that the user named: a URL, a path, or a remote of the repository here.

    Raises:
        UsageError: it is neither.
    """
    if not text or text.startswith("-"):
        raise UsageError(f"--git {text!r} is no remote; name a URL, a path, or a remote such as origin")
    if "/" not in text and ":" not in text and not Path(text).exists():
        text = _url_of(text)
    if Path(text).expanduser().exists():
        return Remote(str(Path(text).expanduser().resolve()))
    parts = urlsplit(text)
    user, at, host = parts.netloc.rpartition("@")
    if parts.scheme not in ("http", "https") or not at:
        return Remote(text)
    url = urlunsplit(parts._replace(netloc=host))
    name, colon, password = user.partition(":")
    secrets = tuple(part for raw in (user, name, password) for part in (raw, unquote(raw)) if len(part) > 3)
    place = f"{parts.scheme}://{host}/"
    if not colon:
        # A credential helper may know the password; where none does, a token can stand for the user alone.
        variables = _git_config({f"credential.{place}.username": unquote(name)}) | {"GIT_ASKPASS": "true"}
    else:
        basic = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
        variables = _git_config({f"http.{place}.extraHeader": f"Authorization: Basic {basic}"})
        secrets = (*secrets, basic)
    return Remote(url, secrets, variables)


def push_site(folder: Path, remote: Remote, branch: str, message: str) -> str | None:
    """Commit the files of `folder` on top of `branch` of `remote` and push; return the commit, or None where it equals.

    The branch then holds `folder` and nothing else (but for what GitHub Pages itself reads); earlier sites stay in its
    history. A branch that is not there yet starts without a history. Nothing is ever forced: where somebody else
    pushed meanwhile, the commit is made once more on top of theirs.

    Raises:
        UsageError: the branch's name is none.
        KdbenchError: git is missing, the remote cannot be reached, or it rejects the push twice.
    """
    with tempfile.TemporaryDirectory(prefix="kdbench-") as scratch:
        git = _Git(Path(scratch), folder, remote)
        if git.fails("check-ref-format", f"refs/heads/{branch}") or branch.startswith("-"):
            raise UsageError(f"--branch {branch!r} is no name of a branch; name one such as gh-pages")
        git("init", "--quiet")
        rejection = ""
        for _ in range(2):
            parent = git.fetch(branch)
            tree = git.tree(parent)
            if parent is not None and tree == git("rev-parse", f"{parent}^{{tree}}"):
                return None
            commit = git("commit-tree", tree, *(["-p", parent] if parent else []), "-m", message)
            rejection = git.push(commit, branch)
            if not rejection:
                return commit
    raise KdbenchError(
        f"{remote} rejects the push to {branch} ({rejection}); look for a rule that protects the branch, or for somebody "
        "who publishes at the same time, and run the same command again"
    )


class _Git:
    """The git command on a repository of its own whose working tree is the site."""

    def __init__(self, scratch: Path, folder: Path, remote: Remote) -> None:
        self._remote = remote
        own = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER_REPOSITORY}
        ssh = own.get("GIT_SSH_COMMAND") or "ssh -o BatchMode=yes"
        self._environment = {
            **own,
            "LC_ALL": "C",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": ssh,
            "GIT_DIR": str(scratch / "repository"),
            "GIT_WORK_TREE": str(folder),
            "GIT_AUTHOR_NAME": _AUTHOR,
            "GIT_AUTHOR_EMAIL": f"{_AUTHOR}@invalid",  # the user's own would tell who they are
            "GIT_COMMITTER_NAME": _AUTHOR,
            "GIT_COMMITTER_EMAIL": f"{_AUTHOR}@invalid",
            **remote.variables,
        }

    def __call__(self, *arguments: str, given: str | None = None) -> str:
        """Run git and return what it printed."""
        done = self._run(*arguments, given=given)
        if done.returncode:
            raise KdbenchError(f"git {arguments[0]} failed: {self._reason(done)}")
        return done.stdout.strip()

    def fails(self, *arguments: str) -> bool:
        return self._run(*arguments).returncode != 0

    def fetch(self, branch: str) -> str | None:
        """Return the commit that `branch` stands at, fetched without its history, or None where there is none."""
        listed = self._run("ls-remote", "--", self._remote.url, f"refs/heads/{branch}")
        if listed.returncode:
            raise KdbenchError(
                f"cannot reach {self._remote} ({self._reason(listed)}); correct --git, or look after network and "
                "permissions"
            )
        if not listed.stdout.strip():
            return None
        self("fetch", "--quiet", "--depth", "1", "--no-tags", "--", self._remote.url, f"refs/heads/{branch}")
        return self("rev-parse", "FETCH_HEAD")

    def tree(self, parent: str | None) -> str:
        """Return the tree of the site, with what stays of `parent`."""
        self("read-tree", "--empty")
        # The user's own ignored files, filters and line endings have no say in what is published.
        self("add", "--all", "--force", "--", ".")
        if parent is not None:
            kept = self("ls-tree", parent, "--", *_KEPT)
            there = set(self("ls-files", "--", *_KEPT).splitlines())
            lines = [line for line in kept.splitlines() if line.split("\t")[-1] not in there]
            if lines:
                self("update-index", "--add", "--index-info", given="\n".join(lines) + "\n")
        return self("write-tree")

    def push(self, commit: str, branch: str) -> str:
        """Push without force; return why it was rejected, or nothing where it was not."""
        target = f"{commit}:refs/heads/{branch}"
        done = self._run("push", "--porcelain", "--", self._remote.url, target)
        if done.returncode == 0:
            return ""
        rejected = [line for line in done.stdout.splitlines() if line.startswith("!")]
        if not rejected:
            raise KdbenchError(
                f"cannot push to {self._remote} ({self._reason(done)}); look after network and permissions"
            )
        return self._hidden(rejected[0].split("\t")[-1])

    def _run(self, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                ["git", *_PLAIN, *arguments],
                env=self._environment,
                cwd=self._environment["GIT_WORK_TREE"],
                input=given if given is not None else "",
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=_TIMEOUT_S,
                check=False,
            )
        except FileNotFoundError:
            raise KdbenchError("there is no git command here; install git, or publish with --out") from None
        except subprocess.TimeoutExpired:
            raise KdbenchError(
                f"git {arguments[0]} took longer than {_TIMEOUT_S} s with {self._remote}; look after the network"
            ) from None

    def _reason(self, done: subprocess.CompletedProcess[str]) -> str:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        telling = [line for line in lines if line.startswith(("fatal:", "error:", "remote:"))]
        return self._hidden((telling or lines or [f"exit code {done.returncode}"])[0])

    def _hidden(self, text: str) -> str:
        return redact(text, *self._remote.secrets)


_PLAIN = [
    word
    for setting in (
        "core.autocrlf=false",
        "core.attributesFile=/dev/null",
        "core.hooksPath=/dev/null",
        "push.gpgSign=false",
    )
    for word in ("-c", setting)
]

_OF_ANOTHER_REPOSITORY = {
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_NAMESPACE"),
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_QUARANTINE_PATH"),
    *("GIT_TRACE", "GIT_TRACE_CURL", "GIT_CURL_VERBOSE", "GIT_TRACE_PACKET"),  # they would print headers
}
"""Set where kdbench itself runs out of a hook of git."""


def _git_config(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that give git `settings` beside those that variables give it already."""
    first = int(os.environ.get("GIT_CONFIG_COUNT", "0"))
    variables = {"GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (key, value) in enumerate(settings.items(), start=first):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def _url_of(name: str) -> str:
    try:
        done = subprocess.run(
            ["git", "remote", "get-url", "--push", "--", name],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        raise UsageError(
            f"--git {shlex.quote(name)} is neither a URL nor a path nor a remote of the repository here; correct it"
        ) from None
    return done.stdout.strip()

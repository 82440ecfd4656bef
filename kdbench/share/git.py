"""Push a site to a branch of a git repository, using the `git` command in a temporary repository."""

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
from kdbench.share.secrets import redact
from kdbench.utils.files import user_path

_TIMEOUT_S = 600
_AUTHOR = "kdbench"
_PAGES_FILES = ("CNAME", ".nojekyll")
"""Files that configure GitHub Pages and are not part of a site: they stay on the branch."""


@dataclass(frozen=True)
class Remote:
    """The repository to push to, without the credentials of its URL."""

    url: str
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Texts that must not be printed: user and password, as written in the URL and unquoted."""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Environment variables that pass the credentials to git, which keeps them out of command lines and files."""

    def __str__(self) -> str:
        return redact(self.url, *self.secrets)


def parse_remote(text: str) -> Remote:
    """Return the remote that the user named: a URL, a path, or a remote of the current repository.

    Raises:
        UsageError: it is none of these.
    """
    if not text or text.startswith("-"):
        raise UsageError(f"--git {text!r} is not a remote; name a URL, a path, or a remote such as origin")
    if "/" not in text and ":" not in text and not Path(text).exists():
        text = _url_of(text)
    if user_path(text).exists():
        return Remote(str(user_path(text).resolve()))
    parts = urlsplit(text)
    user, at, host = parts.netloc.rpartition("@")
    if parts.scheme not in ("http", "https") or not at:
        return Remote(text)
    url = urlunsplit(parts._replace(netloc=host))
    name, colon, password = user.partition(":")
    secrets = tuple(part for raw in (user, name, password) for part in (raw, unquote(raw)) if len(part) > 3)
    base_url = f"{parts.scheme}://{host}/"
    if not colon:
        # A credential helper may know the password; otherwise the user name may be a token.
        variables = _git_config({f"credential.{base_url}.username": unquote(name)}) | {"GIT_ASKPASS": "true"}
    else:
        basic = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
        variables = _git_config({f"http.{base_url}.extraHeader": f"Authorization: Basic {basic}"})
        secrets = (*secrets, basic)
    return Remote(url, secrets, variables)


def push_site(folder: Path, remote: Remote, branch: str, message: str) -> str | None:
    """Commit the files of `folder` on top of `branch` of `remote` and push; return the commit, or None if nothing changed.

    The branch then contains only `folder` and the files that configure GitHub Pages; earlier sites stay in its history.
    A new branch starts without a history. Pushes are never forced: if somebody else pushed meanwhile, the commit is
    made once more on top of theirs.

    Raises:
        UsageError: `branch` is not a valid name.
        KdbenchError: git is missing, the remote cannot be reached, or it rejects the push twice.
    """
    with tempfile.TemporaryDirectory(prefix="kdbench-") as scratch:
        git = _Git(Path(scratch), folder, remote)
        if git.fails("check-ref-format", f"refs/heads/{branch}") or branch.startswith("-"):
            raise UsageError(f"--branch {branch!r} is not a valid branch name; name one such as gh-pages")
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
        f"{remote} rejects the push to {branch} ({rejection}); check whether a rule protects the branch or somebody else "
        "publishes at the same time, and run the same command again"
    )


class _Git:
    """Runs git on a temporary repository whose working tree is the site."""

    def __init__(self, scratch: Path, folder: Path, remote: Remote) -> None:
        self._remote = remote
        inherited = {name: value for name, value in os.environ.items() if name not in _EXCLUDED_VARIABLES}
        ssh = inherited.get("GIT_SSH_COMMAND") or "ssh -o BatchMode=yes"
        self._environment = {
            **inherited,
            "LC_ALL": "C",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": ssh,
            "GIT_DIR": str(scratch / "repository"),
            "GIT_WORK_TREE": str(folder),
            "GIT_AUTHOR_NAME": _AUTHOR,
            "GIT_AUTHOR_EMAIL": f"{_AUTHOR}@invalid",  # the user's own address is private
            "GIT_COMMITTER_NAME": _AUTHOR,
            "GIT_COMMITTER_EMAIL": f"{_AUTHOR}@invalid",
            **remote.variables,
        }

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Run git and return its output."""
        done = self._run(*arguments, stdin=stdin)
        if done.returncode:
            raise KdbenchError(f"git {arguments[0]} failed: {self._reason(done)}")
        return done.stdout.strip()

    def fails(self, *arguments: str) -> bool:
        return self._run(*arguments).returncode != 0

    def fetch(self, branch: str) -> str | None:
        """Fetch the latest commit of `branch` without its history and return it, or None if there is no such branch."""
        listed = self._run("ls-remote", "--", self._remote.url, f"refs/heads/{branch}")
        if listed.returncode:
            problem = f"cannot reach {self._remote} ({self._reason(listed)})"
            raise KdbenchError(f"{problem}; correct --git, or check the network and permissions")
        if not listed.stdout.strip():
            return None
        self("fetch", "--quiet", "--depth", "1", "--no-tags", "--", self._remote.url, f"refs/heads/{branch}")
        return self("rev-parse", "FETCH_HEAD")

    def tree(self, parent: str | None) -> str:
        """Write the tree of the site, including the GitHub Pages files of `parent`, and return its hash."""
        self("read-tree", "--empty")
        # The user's ignore rules, filters and line endings must not affect what is published.
        self("add", "--all", "--force", "--", ".")
        if parent is not None:
            kept = self("ls-tree", parent, "--", *_PAGES_FILES)
            existing = set(self("ls-files", "--", *_PAGES_FILES).splitlines())
            lines = [line for line in kept.splitlines() if line.split("\t")[-1] not in existing]
            if lines:
                self("update-index", "--add", "--index-info", stdin="\n".join(lines) + "\n")
        return self("write-tree")

    def push(self, commit: str, branch: str) -> str:
        """Push without force; return why the push was rejected, or an empty string if it was not."""
        target = f"{commit}:refs/heads/{branch}"
        done = self._run("push", "--porcelain", "--", self._remote.url, target)
        if done.returncode == 0:
            return ""
        rejected = [line for line in done.stdout.splitlines() if line.startswith("!")]
        if not rejected:
            problem = f"cannot push to {self._remote} ({self._reason(done)})"
            raise KdbenchError(f"{problem}; check the network and permissions")
        return self._redacted(rejected[0].split("\t")[-1])

    def _run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                ["git", *_DEFAULT_CONFIG, *arguments],
                env=self._environment,
                cwd=self._environment["GIT_WORK_TREE"],
                input=stdin,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=_TIMEOUT_S,
                check=False,
            )
        except FileNotFoundError:
            problem = "the git command is not installed; install git, or publish with --out"
        except subprocess.TimeoutExpired:
            problem = (
                f"git {arguments[0]} took longer than {_TIMEOUT_S} s with {self._remote}; check the network"
            )
        raise KdbenchError(problem)

    def _reason(self, done: subprocess.CompletedProcess[str]) -> str:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(("fatal:", "error:", "remote:"))]
        return self._redacted((errors or lines or [f"exit code {done.returncode}"])[0])

    def _redacted(self, text: str) -> str:
        return redact(text, *self._remote.secrets)


_DEFAULT_CONFIG = [
    *("-c", "core.autocrlf=false"),
    *("-c", "core.attributesFile=/dev/null"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "push.gpgSign=false"),
]

_EXCLUDED_VARIABLES = {
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_NAMESPACE"),
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_QUARANTINE_PATH"),
    *("GIT_TRACE", "GIT_TRACE_CURL", "GIT_CURL_VERBOSE", "GIT_TRACE_PACKET"),  # they would print headers
}
"""Git sets most of these when kdbench runs inside a git hook; they name the wrong repository."""


def _git_config(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that pass `settings` to git, in addition to those set already."""
    first = int(os.environ.get("GIT_CONFIG_COUNT", "0"))
    variables = {"GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (key, value) in enumerate(settings.items(), start=first):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def _url_of(name: str) -> str:
    command = ["git", "remote", "get-url", "--push", "--", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        raise UsageError(
            f"--git {shlex.quote(name)} is neither a URL nor a path nor a remote of the current repository; correct it"
        ) from None
    return done.stdout.strip()

"""Remove and detect names of the user's machine, folders and account in texts to be published."""

from __future__ import annotations

import getpass
import os
import re
import socket
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from kdbench.results.records import Record, RecordStore
from kdbench.results.timings import load_timings, put_timing
from kdbench.share.secrets import redact, secrets_of_environment
from kdbench.utils.files import JsonModel, user_path

PATH = "<path>"
USER = "<user>"
HOST = "<host>"

# Names found on thousands of machines identify none; a name shorter than three letters occurs in any text.
_COMMON_USERS = {
    *("root", "user", "users", "admin", "administrator", "ubuntu", "debian", "runner", "docker", "jovyan"),
}
_COMMON_HOSTS = {"localhost", "localdomain", "local"}
_MIN_NAME_LENGTH = 3
_MIN_NAME_LENGTH_IN_BYTES = 6  # a shorter word occurs in compressed bytes by chance

# Top-level folders of Linux, macOS and common images; this machine's own are added.
_TOP_FOLDERS = {
    *("home", "root", "tmp", "var", "usr", "etc", "opt", "mnt", "media", "srv", "proc", "dev", "run"),
    *("data", "work", "workspace", "scratch", "content", "Users", "Volumes", "private", "Library"),
}

_SEGMENT = r"[^/\s\"'`<>|:;,()\[\]{}*?\\]+"
# A name may contain blanks if a slash follows it, or if it ends the path with an extension.
_WORDS = r"(?: \w[\w.()&+-]{0,50}){1,6}"
_REST = rf"(?:{_WORDS}(?=/)|/{_SEGMENT})*(?:/|(?<!/){_WORDS}\.[A-Za-z]\w{{0,9}}(?!\w))?"
# After a word, a dot or a slash it is part of a URL or of a relative path; after < it closes an HTML tag.
_START = rf"(?<!{PATH})(?<![\w.~/\\<-])"
_SHARES = "smb|cifs|nfs|afp|sftp"
"""Schemes of addresses that name a place in a network."""
_QUOTED = rf"(?P<quote>[\"'`])(?P<inside>(?:(?:file|{_SHARES}):/+|/(?=[^\s/\"'`])|~\w*/|[A-Za-z]:\\)[^\"'`\n]*)(?P=quote)"
_POSIX = (
    rf"{_START}(?:(?:file:/+|(?:{_SHARES})://){_SEGMENT}|~(?:[A-Za-z_][\w-]*)?/{_SEGMENT}|/{_SEGMENT}){_REST}"
)
_WINDOWS = r"(?<!\w)(?:[A-Za-z]:|\\)\\[^\s\"'<>|*?:]+"
_HOME_ON_WINDOWS = r"(?<!\w)[A-Za-z]:\\{1,2}(?:Users|Documents|Windows|Program|ProgramData|home|temp|tmp)\b"


@dataclass(frozen=True)
class Private:
    """What must not be published: this machine's folders, user names, host names and secrets."""

    folders: tuple[str, ...] = ()
    """Absolute, without a trailing slash."""
    users: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    """Passwords and tokens, whatever their format."""

    def scrub(self, text: str, *, keep_name: bool = False) -> str:
        """Return `text` with every absolute path, user name, host name and credential replaced.

        Args:
            keep_name: whether the last part of a path is kept (``<path>/glove.txt``), where it distinguishes two rows.
        """
        text = self._paths.sub(lambda match: _replacement(match, keep_name), redact(text, *self.secrets))
        for pattern, placeholder in self._names:
            text = pattern.sub(placeholder, text)
        return text

    def leak(self, text: str) -> tuple[int, str] | None:
        """Return the first line (from 1) and the text on it that must not be published, or None.

        Only paths below typical top-level folders count, not everything that begins with a slash: a page may contain a
        regular expression.
        """
        for number, line in enumerate(text.splitlines(), start=1):
            for pattern in self._leaks:
                if match := pattern.search(line):
                    return number, match[0]
            if redact(line, *self.secrets) != line:
                return number, "a token, password or address"
        return None

    def leak_in_bytes(self, content: bytes) -> str | None:
        """Return a folder, name or secret of this machine found in a binary file, or None; short names, found by chance, are ignored."""
        names = [name for name in (*self.users, *self.hosts) if len(name) >= _MIN_NAME_LENGTH_IN_BYTES]
        leaks = (word for word in (*self.folders, *names, *self.secrets) if word.encode() in content)
        return next(leaks, None)

    @cached_property
    def _paths(self) -> re.Pattern[str]:
        return re.compile("|".join([_QUOTED, *self._known, _POSIX, _WINDOWS]))

    @cached_property
    def _leaks(self) -> list[re.Pattern[str]]:
        return [*map(re.compile, self._known), _typical_paths(), *(pattern for pattern, _ in self._names)]

    @property
    def _known(self) -> list[str]:
        return [rf"(?:{_any_of(self.folders)})(?![\w-]){_REST}"] if self.folders else []

    @cached_property
    def _names(self) -> list[tuple[re.Pattern[str], str]]:
        groups = ((self.users, USER), (self.hosts, HOST))
        return [
            (re.compile(rf"(?<![A-Za-z0-9])(?:{_any_of(names)})(?![A-Za-z0-9])", re.IGNORECASE), placeholder)
            for names, placeholder in groups
            if names
        ]


def of_this_machine(folders: Iterable[Path] = (), allow: Collection[str] = ()) -> Private:
    """Return the private names and folders of this machine.

    Args:
        folders: the run's folders, in addition to the home, working and temporary folder.
        allow: words that the user declares not to be private.
    """
    home = user_path("~")
    known = [home, Path.cwd(), Path(tempfile.gettempdir()), *folders]
    absolute = {form for folder in known for form in (folder.expanduser().absolute(), folder.resolve())}
    allowed = {word.lower() for word in allow}
    host = socket.gethostname()
    return Private(
        # A folder of a single segment, such as /root, is private too; / itself is not.
        tuple(sorted(str(folder) for folder in absolute if len(folder.parts) > 1)),
        _identifying({_user(), home.name}, _COMMON_USERS | allowed),
        _identifying({host, host.partition(".")[0]}, _COMMON_HOSTS | allowed),
        tuple(secret for secret in secrets_of_environment() if secret.lower() not in allowed),
    )


def last_name(text: str) -> str:
    """Return the last part of the path `text`, POSIX or Windows; return any other text unchanged."""
    if text.startswith(("/", "~", ".")):
        return PurePosixPath(text).name
    windows = PureWindowsPath(text)
    return windows.name if windows.drive else text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return ""


def _identifying(names: set[str], others: Collection[str]) -> tuple[str, ...]:
    long = (name for name in sorted(names) if len(name) >= _MIN_NAME_LENGTH)
    rare = (name for name in long if name.lower() not in others)
    return tuple(name for name in rare if name.lower().split(".")[0] not in _COMMON_HOSTS)


def _any_of(words: Collection[str]) -> str:
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


@cache
def _typical_paths() -> re.Pattern[str]:
    top = _any_of(_TOP_FOLDERS | {name for name in os.listdir("/") if len(name) > 1})
    return re.compile(
        rf"{_START}(?:/(?:{top})/{_SEGMENT}|(?:file|{_SHARES})://\S|~/{_SEGMENT}){_REST}|{_HOME_ON_WINDOWS}"
    )


def _replacement(match: re.Match[str], keep_name: bool) -> str:
    groups = match.groupdict()
    quote = groups.get("quote") or ""
    path = groups.get("inside") or match[0]
    name = re.split(r"[/\\]", path.rstrip("/"))[-1]
    return f"{quote}{PATH}/{name}{quote}" if keep_name else f"{quote}{PATH}{quote}"


_T = TypeVar("_T", bound=JsonModel)


def scrubbed_record(record: Record, private: Private) -> Record:
    """Return `record` with every text scrubbed; models given as folders are named by the folder's last part."""
    name, teacher = record.model.name, record.model.teacher
    model = record.model.model_copy(
        update={"name": last_name(name), "teacher": teacher and last_name(teacher)}
    )
    strategy = record.strategy
    # Two rows may differ only in the file that a parameter names: its last part is kept.
    row = {
        "params": _scrubbed(strategy.params, private, keep_name=True),
        "label": private.scrub(strategy.label, keep_name=True),
        "control": strategy.control and private.scrub(strategy.control, keep_name=True),
        "base_control": strategy.base_control and private.scrub(strategy.base_control, keep_name=True),
    }
    renamed = record.model_copy(update={"model": model, "strategy": strategy.model_copy(update=row)})
    return _scrubbed_item(renamed, private)


def write_scrubbed_results(
    results: Path, keys: set[str], folder: Path, private: Private
) -> tuple[list[Record], list[str]]:
    """Write the scrubbed records of `keys` and their timings as a results folder, and return the records.

    The second value has a line for each label that several rows share after scrubbing.
    """
    records = [record for record in RecordStore(results).load()[0] if record.key in keys]
    published = [scrubbed_record(record, private) for record in records]
    store = RecordStore(folder)
    for record in published:
        store.put(record)
    for timing in load_timings(results)[0]:
        models = tuple(model for model in timing.models if model.key in keys)
        if models:
            chosen = {"models": models, "serving": timing.serving and timing.serving.only(keys)}
            put_timing(folder, _scrubbed_item(timing.model_copy(update=chosen), private))
    return published, _merged_rows(records, published)


def _merged_rows(records: list[Record], published: list[Record]) -> list[str]:
    labels: dict[str, set[str]] = {}
    for before, after in zip(records, published, strict=True):
        labels.setdefault(after.strategy.label, set()).add(before.strategy.label)
    return [
        f"{len(before)} rows would have the same name {after!r}: they differ in a path that is not published"
        for after, before in labels.items()
        if len(before) > 1
    ]


def _scrubbed_item(item: _T, private: Private) -> _T:
    return type(item).model_validate(_scrubbed(item.model_dump(mode="json"), private))


def _scrubbed(value: Any, private: Private, *, keep_name: bool = False) -> Any:
    """Return JSON data with every text scrubbed, including keys of objects."""
    match value:
        case str():
            return private.scrub(value, keep_name=keep_name)
        case dict():
            scrubbed = _scrubbed(list(value.values()), private, keep_name=keep_name)
            return dict(zip(map(private.scrub, value), scrubbed, strict=True))
        case list() | tuple():
            return [_scrubbed(item, private, keep_name=keep_name) for item in value]
    return value

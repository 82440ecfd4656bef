"""Folders of JSON files, each of which holds one model of a schema."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from kdbench.collecting import no_collecting
from kdbench.files import is_temporary


class Part(BaseModel):
    """A part of what a JSON file holds: nothing unknown, nothing infinite, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def misplaced(self, path: Path) -> str | None:
        """Return why this cannot stand in the file at `path`, or None where it can."""
        return None


_T = TypeVar("_T", bound=Part)


def load_json_files(kind: type[_T], folder: Path) -> tuple[list[_T], list[str]]:
    """Return what every readable file of `folder` holds, by name, and a line for each file that is no `kind`."""
    found, problems = [], []
    with no_collecting():
        for path in sorted(folder.glob("*")):
            item, problem = read_json_file(kind, path)
            if item is not None:
                found.append(item)
            elif problem is not None:
                problems.append(f"skipped {path}: {problem}")
    return found, problems


def read_json_file(kind: type[_T], path: Path) -> tuple[_T | None, str | None]:
    """Return what the file at `path` holds, or why it holds no such thing; a file half written is neither."""
    if is_temporary(path):
        return None, None
    try:
        content = path.read_bytes()
    except OSError as error:
        return None, f"cannot be read ({error.strerror})"
    item, problem = parse_json(kind, content)
    misplaced = None if item is None else item.misplaced(path)
    return (item, problem) if misplaced is None else (None, misplaced)


def parse_json(kind: type[_T], content: bytes) -> tuple[_T | None, str | None]:
    """Return what the JSON text `content` holds, or why it holds no such thing."""
    try:
        return kind.model_validate_json(content), None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        version = kind.model_fields["schema_version"].default
        return None, f"no {kind.__name__.lower()} of schema {version} ({place or 'file'}: {first['msg']})"

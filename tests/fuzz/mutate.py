"""Damage valid files: bytes blindly, JSON by its structure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

_PIECES = (
    *(bytes([code]) for code in (*range(32), 34, 35, 39, 44, 45, 46, 48, 58, 61, 91, 92, 93, 123, 125, 127)),
    *(b"\x80", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85", b"\xc2\xa0"),
    *(b"\r\n", b"\n\n", b'""', b"\t\t", b"\x1b[31m", b"\\ud800", b"\\u0000", b"-DOCSTART-", b"# text = a\n"),
    *(
        b"NaN",
        b"1e999",
        b"-1",
        b"9" * 5000,
        b"0x" + b"f" * 5000,
        b"a" * 5000,
        b" " * 5000,
        b"[" * 5000,
        b"{" * 5000,
    ),
)
"""What parsers stumble over, short and long."""

_ODD_NUMBERS = (
    *("0", "-0.0", "1", "-1", "2", "0.5", "1.5", "-1e-9", "5e-324", "1e17", "1e18", "1e19", "1e308"),
    *(
        "1e999",
        "-1e999",
        "NaN",
        "Infinity",
        "-Infinity",
        str(2**31),
        str(2**63 - 1),
        str(2**63),
        f"1{'0' * 5000}",
    ),
)
_ODD_STRINGS = (
    *(
        "",
        " ",
        "0",
        "1",
        "a",
        "-",
        "+",
        "b+a",
        "nan",
        "1e999",
        "ok",
        "failed",
        "é",
        "\n",
        "\0",
        "\x1b[31mred",
    ),
    *("\u202eabc", "\ud800", "<script>alert(1)</script>", "../../x", "/etc/passwd", "~nosuch/x", "a" * 5000),
    *(
        "2026-11-03T12:00:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59Z",
        "1e9",
        "README",
        "con",
        "a|b`c",
    ),
)
_ODD_STRUCTURES = ("[]", "{}", "[null]", '{"a": 1}', '{"": {}}', "[" * 300 + "]" * 300, "[" * 100_000)
_ODD = (
    *("null", "true", "false", *_ODD_NUMBERS, *_ODD_STRUCTURES),
    *(json.dumps(text) for text in _ODD_STRINGS),
)


def damaged(seeds: Sequence[bytes], *, most: int = 4) -> st.SearchStrategy[bytes]:
    """Return one of `seeds`, unchanged at times, or with up to `most` edits of its bytes."""
    position = st.integers(0, 1 << 20)
    edit = st.one_of(
        st.tuples(
            st.just(_insert), position, st.one_of(st.sampled_from(_PIECES), st.binary(min_size=1, max_size=4))
        ),
        st.tuples(
            st.just(_replace),
            position,
            st.one_of(st.sampled_from(_PIECES), st.binary(min_size=1, max_size=4)),
        ),
        st.tuples(st.just(_delete), position, st.integers(1, 40)),
        st.tuples(st.just(_repeat), position, st.integers(1, 40)),
        st.tuples(st.just(_truncate), position, st.none()),
        st.tuples(st.just(_splice), position, st.sampled_from(list(seeds))),
    )
    return st.builds(_edited, st.sampled_from(list(seeds)), st.lists(edit, max_size=most))


_Edit = tuple[Callable[[bytes, int, Any], bytes], int, Any]


def _edited(content: bytes, edits: list[_Edit]) -> bytes:
    for apply, position, argument in edits:
        content = apply(content, position % (len(content) + 1), argument)
    return content


def _insert(content: bytes, at: int, piece: bytes) -> bytes:
    return content[:at] + piece + content[at:]


def _replace(content: bytes, at: int, piece: bytes) -> bytes:
    return content[:at] + piece + content[at + len(piece) :]


def _delete(content: bytes, at: int, length: int) -> bytes:
    return content[:at] + content[at + length :]


def _repeat(content: bytes, at: int, length: int) -> bytes:
    return content[: at + length] + content[at:]


def _truncate(content: bytes, at: int, _: None) -> bytes:
    return content[:at]


def _splice(content: bytes, at: int, other: bytes) -> bytes:
    return content[:at] + other[at:]


_RAW = re.compile(r'"\\u0000<(\d+)>"')
"""Stands in the text for what `json.dumps` does not write: by its number in a list."""


def odd_json(seeds: Sequence[str], *, most: int = 3) -> st.SearchStrategy[str]:
    """Return one of the JSON texts `seeds`, unchanged at times, or with up to `most` parts that are odd.

    A part becomes another value (mostly one of its own kind), is removed, doubled, renamed or moved, or an object has
    one of its keys twice.
    """
    change = st.tuples(
        st.integers(0, 1 << 20),
        st.sampled_from(["alike", "alike", "alike", "any", "remove", "double", "rename", "move", "twice"]),
        st.integers(0, 1 << 20),
    )
    return st.builds(_changed, st.sampled_from(list(seeds)), st.lists(change, max_size=most))


def _changed(text: str, changes: list[tuple[int, str, int]]) -> str:
    root = [json.loads(text)]  # in a list, so that the whole can be replaced, too
    raw: list[str] = []
    for where, kind, choice in changes:
        places = list(_places(root))
        _change(*places[where % len(places)], kind, choice, raw, places)
    return _RAW.sub(
        lambda match: raw[int(match[1])], json.dumps(root[0], ensure_ascii=choice_of_ascii(changes))
    )


def choice_of_ascii(changes: list[tuple[int, str, int]]) -> bool:
    """Return whether the text is to be written in ASCII."""
    return not changes or changes[0][0] % 2 == 0


def _places(parent: Any) -> Any:
    keys = list(parent) if isinstance(parent, dict) else range(len(parent))
    for key in keys:
        yield parent, key
        if isinstance(parent[key], dict | list):
            yield from _places(parent[key])


def _change(parent: Any, key: Any, kind: str, choice: int, raw: list[str], places: list[Any]) -> None:
    def mark(text: str) -> str:
        raw.append(text)
        return f"\0<{len(raw) - 1}>"

    if kind == "alike":
        odd = _alike(parent[key])
        parent[key] = mark(odd[choice % len(odd)])
    elif kind == "any":
        parent[key] = mark(_ODD[choice % len(_ODD)])
    elif kind == "move":
        other, name = places[choice % len(places)]
        parent[key] = json.loads(json.dumps(other[name]))
    elif isinstance(parent, list):
        parent[key : key + 1] = [] if kind == "remove" and len(parent) > 1 else [parent[key]] * 2
    elif kind == "remove":
        del parent[key]
    elif kind == "rename":
        parent[_ODD_STRINGS[choice % len(_ODD_STRINGS)]] = parent.pop(key)
    else:
        parent[mark(json.dumps(key))] = parent[key]


def _alike(value: object) -> Sequence[str]:
    if isinstance(value, bool) or value is None:
        return _ODD
    if isinstance(value, int | float):
        return _ODD_NUMBERS
    if isinstance(value, str):
        return [json.dumps(text) for text in _ODD_STRINGS]
    return _ODD_STRUCTURES

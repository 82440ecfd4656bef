"""An odd strategy is refused in one line, or read as it was meant."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fuzz.judge import fuzz, taken
from fuzz.mutate import damaged
from hypothesis import given
from hypothesis import strategies as st

from kdbench.api.spec import StrategySpec, parse_spec

SEEDS = [
    b"lora",
    b"lora[r=16,alpha=32.5]+int8",
    b'kd[transfer="a, b].csv",augment=true,patience=null]',
    b" hard-labels[ layers = [0, 2, 5] , init = base, ] + prune-ffn[keep=.5]+int8",
    b"lora[tuned,r=8]",
    b'kd[since=2024-01-01,a=0x1f,b=1_000,c=1e-4,d=nan,e=-inf,f="\\u00e9\\n"]',
]


@fuzz(1500)
@given(damaged(SEEDS).map(lambda content: content.decode(errors="replace")))
def test_odd_text(text: str) -> None:
    spec, problem = taken(lambda: parse_spec(text))
    if problem is None:
        written, _ = taken(lambda: str(spec))
        again, problem = taken(lambda: parse_spec(written))
        assert problem is None
        assert [_sorted(stage) for stage in again.stages] == [_sorted(stage) for stage in spec.stages]
        assert [stage.name for stage in spec.stages] == _names(text)


def _sorted(stage: StrategySpec) -> str:
    return repr((stage.name, sorted(stage.params.items()), stage.tuned))


def _names(text: str) -> list[str]:
    """Return the names of the stages: the words between ``+`` outside of brackets and quotes."""
    names, depth, quoted, escaped = [""], 0, False, False
    for character in text:
        if character == '"' and not escaped:
            quoted = not quoted
        escaped = quoted and character == "\\" and not escaped
        if not quoted:
            depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "+" and depth == 0 and not quoted:
            names.append("")
        elif depth == 0 and character != "]":
            names[-1] += character
    return [name.strip() for name in names]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            f'a[x={" " * 5000}"]',
            "cannot read strategy",
        ),  # took hours: the blanks could be divided in many ways
        (f"a[x=b{' ' * 5000}#]", "cannot read strategy"),
        (f"a[x=0x{'f' * 5000},x=1]", "sets 'x' twice"),  # more digits than Python prints
        ("a[x=1,\x1b[31m]", r"cannot read strategy 'a[x=1,\x1b[31m]'"),
    ],
)
def test_found_and_refused(text: str, told: str) -> None:
    _, problem = taken(lambda: parse_spec(text))
    assert problem is not None
    assert told in problem


@pytest.mark.parametrize(
    ("text", "params"),
    [
        (f"a[x=0x{'f' * 5000}]", {"x": f"0x{'f' * 5000}"}),
        ("a[x=nan,y=-inf]", {"x": "nan", "y": "-inf"}),  # no number that a parameter can have
        ("a[x=\x7f]", {"x": "\x7f"}),  # a character that TOML takes only as an escape
        (r'a[x="\\"]+b', {"x": "\\"}),  # the quote after two backslashes ends the text
    ],
)
def test_found_and_read(text: str, params: dict[str, Any]) -> None:
    spec = parse_spec(text)
    assert spec.params == params
    assert parse_spec(str(spec)) == spec


_names_of_stages = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
_keys = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
_texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=10)
_scalars = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), _texts
)
_stages = st.tuples(
    _names_of_stages,
    st.dictionaries(_keys, st.one_of(st.none(), _scalars, st.lists(_scalars, max_size=4)), max_size=4),
)


@fuzz(500)
@given(st.lists(_stages, min_size=1, max_size=3), st.sampled_from(["", " "]))
def test_what_another_program_writes_is_read(stages: list[tuple[str, dict[str, Any]]], blank: str) -> None:
    text = f"{blank}+{blank}".join(
        f"{name}[{','.join(f'{key}{blank}={blank}{json.dumps(value, ensure_ascii=False)}' for key, value in params.items())}]"
        for name, params in stages
    )
    spec = parse_spec(text)
    assert [(stage.name, stage.params) for stage in spec.stages] == stages

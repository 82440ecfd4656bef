"""Parse a strategy as the user writes it: ``lora``, ``lora[r=16,alpha=32]``, ``lora[tuned]``, ``lora[r=16]+int8``."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import tomlkit
from pydantic import BaseModel, ConfigDict
from tomlkit.exceptions import TOMLKitError

from kdbench.errors import UsageError, shown

_SHAPE = re.compile(r"(?P<name>[^\[\]\s\"]+)\s*(?:\[(?P<params>.*)\])?", re.DOTALL)
_QUOTED = r"\"(?:[^\"\\\n]|\\.)*\""
_LIST = rf"\[(?:[^\[\]\"\n]|{_QUOTED})*\]"
# It neither begins nor ends with a blank, so that only one way of matching remains, however many blanks there are.
_BARE = r"[^\s,\[\]\"#](?:[^,\[\]\"#\n]*[^\s,\[\]\"#])?"
_PAIR = re.compile(rf"\s*(?P<key>[A-Za-z_]\w*)\s*=\s*(?P<value>{_LIST}|{_QUOTED}|{_BARE})\s*(?:,|$)")
_TUNED = re.compile(r"\s*tuned\s*(?:,|$)")
_WORD = re.compile(r"[A-Za-z_][\w.-]*")


class StrategySpec(BaseModel):
    """A strategy's name, the parameters set on it, and the transforms that follow it."""

    model_config = ConfigDict(frozen=True)

    name: str
    params: dict[str, Any] = {}
    tuned: dict[str, Any] | None = None
    """The parameters that ``kdbench tune`` found; empty where they are the defaults or not looked up yet, and None where
    the strategy is not to be tuned."""
    then: tuple[StrategySpec, ...] = ()
    """The later stages of a stack; their own `then` is empty."""

    @property
    def stages(self) -> tuple[StrategySpec, ...]:
        """The stages as separate specs, first to last."""
        return (StrategySpec(name=self.name, params=self.params, tuned=self.tuned), *self.then)

    @property
    def untuned(self) -> StrategySpec:
        """The same without what was found: the spec that a search of its parameters starts from."""
        return self.model_copy(update={"tuned": None})

    @classmethod
    def of_stages(cls, stages: Sequence[StrategySpec]) -> StrategySpec:
        """Return one spec for the stack of `stages`, first to last."""
        return stages[0].model_copy(update={"then": tuple(stages[1:])})

    def __str__(self) -> str:
        words = [f"{key}={_format_value(value)}" for key, value in sorted(self.params.items())]
        words += [] if self.tuned is None else ["tuned"]
        return "+".join([f"{self.name}[{','.join(words)}]" if words else self.name, *map(str, self.then)])

    def __hash__(self) -> int:
        return hash(str(self))


def parse_spec(text: str) -> StrategySpec:
    """Parse the strategy with its parameters, or the stack of strategies, that `text` names.

    Raises:
        UsageError: the text is not ``name`` or ``name[parameter=value,…]``, or several of these joined by ``+``; among the
            parameters may be the word ``tuned``.
    """
    return StrategySpec.of_stages([_parse_stage(stage) for stage in _split_stages(text)])


def _split_stages(text: str) -> list[str]:
    """Split `text` at each ``+`` outside brackets and quotes."""
    stages, depth, quoted, escaped = [""], 0, False, False
    for character in text:
        if character == '"' and not escaped:
            quoted = not quoted
        elif not quoted:
            depth += (character == "[") - (character == "]")
        escaped = quoted and character == "\\" and not escaped
        if character == "+" and depth == 0 and not quoted:
            stages.append("")
        else:
            stages[-1] += character
    return stages


def _parse_stage(text: str) -> StrategySpec:
    shape = _SHAPE.fullmatch(text.strip())
    if shape is None:
        raise _malformed(text)
    params: dict[str, Any] = {}
    tuned: dict[str, Any] | None = None
    rest = shape["params"] or ""
    while rest.strip():
        word = _TUNED.match(rest)
        if word is not None:
            tuned = {}
            rest = rest[word.end() :]
            continue
        pair = _PAIR.match(rest)
        if pair is None:
            raise _malformed(text)
        if pair["key"] in params:
            raise UsageError(f"strategy {shown(text)} sets {shown(pair['key'])} twice; keep one of them")
        params[pair["key"]] = _parse_value(pair["value"])
        rest = rest[pair.end() :]
    return StrategySpec(name=shape["name"], params=params, tuned=tuned)


def _malformed(text: str) -> UsageError:
    return UsageError(
        f"cannot read strategy {shown(text)}; write it as 'name' or 'name[parameter=value,other=value]'"
    )


def _parse_value(text: str) -> Any:
    """Parse a value as TOML, or ``null``, which TOML lacks; anything else is a string without quotes."""
    if text == "null":
        return None
    try:
        value = tomlkit.parse(f"value = {text}").unwrap()["value"]
        json.dumps(value, default=str, allow_nan=False)  # an integer may have more digits than Python prints
    except (TOMLKitError, ValueError):
        return text
    return value if isinstance(value, (bool, int, float, str, list)) else text


def _format_value(value: object) -> str:
    """Format a value so that `_parse_value` restores it; a string stays without quotes where possible."""
    if isinstance(value, str) and _WORD.fullmatch(value) and _parse_value(value) == value:
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("\x7f", "\\u007f")

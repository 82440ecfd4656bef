"""Check a strategy's parameters: described, bounded, and rejected where they are wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from kdbench.api.params import Params
from kdbench.errors import shown
from kdbench.testing.report import Check, ensure


class HasParams(Protocol):
    """A subject with parameters."""

    @property
    def params(self) -> Params:
        """The parameters that it is checked with."""


def rejection(params: type[Params], values: Mapping[str, Any]) -> str | None:
    """Return why `params` rejects `values`, as it would those that a user writes; None if it accepts them."""
    try:
        params.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        return str(error.errors()[0]["msg"])
    return None


def describes_its_parameters(subject: HasParams) -> None:
    """Every parameter has a description, and every number a bound."""
    for name, field in _fields(subject):
        ensure(field.description, f"{name} has no description; write Field(…, description=…)")
        bounded = any(isinstance(limit, Ge | Gt | Le | Lt) for limit in field.metadata)
        number = field.annotation in (int, float, int | None, float | None)
        ensure(bounded or not number, f"{name} is a number without bounds; write Field(…, ge=…, le=…)")


def rejects_wrong_parameters(subject: HasParams) -> None:
    """Unknown parameters, other types and values beyond the bounds are rejected, and values cannot be changed later."""
    params = type(subject.params)
    ensure(
        rejection(params, {"no_such_parameter": 1}), "Params accepts an unknown parameter; forbid extra ones"
    )
    ensure(params.model_config.get("frozen"), "the values of Params can be changed; keep it frozen")
    for name, field in _fields(subject):
        for value in _outside(field):
            ensure(rejection(params, {name: value}), f"{name}={shown(value)} is accepted")


def _fields(subject: HasParams) -> Iterator[tuple[str, FieldInfo]]:
    params = type(subject.params)
    yield from (item for item in params.model_fields.items() if item[0] not in params.without_effect)


def _outside(field: FieldInfo) -> Iterator[object]:
    """Yield values that are beyond the bounds of `field`, or of another type."""
    for limit in field.metadata:
        match limit:
            case Ge():
                yield limit.ge - 1  # type: ignore[operator]
            case Gt():
                yield limit.gt
            case Le():
                yield limit.le + 1  # type: ignore[operator]
            case Lt():
                yield limit.lt
    if field.annotation is float:
        yield float("nan")
    if field.annotation in (int, float, bool):
        yield "a word"


PARAMETER_CHECKS: tuple[Check[Any], ...] = (
    Check(describes_its_parameters),
    Check(rejects_wrong_parameters),
)

"""Run checks on a plugin's part and report a verdict for each, with what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from kdbench.errors import one_line

_S = TypeVar("_S")


class Verdict(str, Enum):
    """What a check says of its subject."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "does not apply"

    __str__ = str.__str__


class CheckError(AssertionError):
    """What is wrong with a subject and what to do, in one line."""


class NotApplicableError(Exception):
    """Why a check says nothing about its subject."""


@dataclass(frozen=True)
class Check(Generic[_S]):
    """One statement about subjects of one type.

    Args:
        function: raises `CheckError` or `NotApplicableError`, or returns None or a remark; its docstring's first line says
            what must hold.
    """

    function: Callable[[_S], str | None]

    @property
    def name(self) -> str:
        """The function's name, with dashes."""
        return self.function.__name__.replace("_", "-")

    @property
    def states(self) -> str:
        """What must hold, in one line."""
        return (self.function.__doc__ or "").partition("\n")[0]

    def __call__(self, subject: _S) -> Result:
        """Return the verdict on `subject`; any error of the subject's own is a failure."""
        try:
            remark = self.function(subject)
        except NotApplicableError as reason:
            return Result(self.name, Verdict.NOT_APPLICABLE, str(reason))
        except CheckError as failure:
            return Result(self.name, Verdict.FAILED, str(failure))
        except Exception as error:
            return Result(self.name, Verdict.FAILED, one_line(error))
        return Result(self.name, Verdict.PASSED, remark or "")


@dataclass(frozen=True)
class Result:
    """The verdict of one check; `reason` is what is wrong and what to do, why it does not apply, or a remark."""

    check: str
    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True)
class Report:
    """The verdicts of all checks on one strategy, task, metric or kind."""

    subject: str
    """Its type and name, such as ``strategy lora``."""
    results: tuple[Result, ...]

    @property
    def failures(self) -> tuple[Result, ...]:
        """The failed checks."""
        return tuple(result for result in self.results if result.verdict is Verdict.FAILED)

    def data(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def run_checks(subject: str, item: _S, checks: Iterable[Check[_S]]) -> Report:
    """Return the report of `checks` on `item`, which the report calls `subject`."""
    return Report(subject, tuple(check(item) for check in checks))


def ensure(condition: object, otherwise: str) -> None:
    """Raise a CheckError that says `otherwise` unless `condition` holds."""
    if not condition:
        raise CheckError(otherwise)

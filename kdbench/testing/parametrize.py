"""Give pytest one test per check, as scikit-learn's `parametrize_with_checks` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kdbench.testing.report import Check, Verdict
from kdbench.testing.subjects import Checked, of_part


def parametrize_with_checks(*parts: Any) -> Callable[[Any], Any]:
    """Return a decorator that runs a test once per check on `parts`, with the check as the argument ``check``.

    ``check()`` raises an AssertionError that says what to do if the check fails, and skips the test if it does not
    apply. Checks on the same part share what they need, such as a fitted model.

    Args:
        parts: strategies, tasks, metrics and kinds, as classes or instances, or what `kdbench.testing.subjects` makes
            of them.
    """
    import pytest

    checked = [part if isinstance(part, Checked) else of_part(part) for part in parts]
    return pytest.mark.parametrize(
        "check",
        [
            pytest.param(_test(one, check), id=f"{one.name.partition(' ')[2]}-{check.name}")
            for one in checked
            for check in one.checks
        ],
    )


def _test(one: Checked, check: Check[Any]) -> Callable[[], None]:
    def run() -> None:
        import pytest

        result = check(one.subject)
        if result.verdict is Verdict.NOT_APPLICABLE:
            pytest.skip(result.reason)
        assert result.verdict is Verdict.PASSED, result.reason

    return run

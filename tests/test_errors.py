"""How errors are told."""

import importlib

import pytest

from kdbench.errors import UsageError, nearest, one_line, shown


def raised(function):
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def divide():
    return 1 / 0


def test_an_error_is_told_with_the_file_and_line_that_raised_it():
    line = divide.__code__.co_firstlineno + 1
    assert one_line(raised(divide)) == f"ZeroDivisionError: division by zero ({__file__}, line {line})"


def test_the_import_system_is_not_named_as_the_place():
    told = one_line(raised(lambda: importlib.import_module("kdbench_nowhere")))
    assert told.startswith("ModuleNotFoundError: No module named 'kdbench_nowhere' (")
    assert told.partition("(")[2].startswith(__file__)


def test_a_users_mistake_is_told_by_its_message_alone():
    assert one_line(UsageError("no folder x;\n  name another")) == "no folder x; name another"


@pytest.mark.parametrize(
    ("error", "told"), [(ValueError(), "ValueError"), (SystemExit(2), "SystemExit: 2"), (KeyError("a\nb"), r"KeyError: 'a\nb'")]
)  # fmt: skip
def test_an_error_that_was_never_raised_has_no_place(error, told):
    assert one_line(error) == told


def test_the_nearest_name_is_hinted_at_and_all_names_where_none_is_near():
    assert nearest("loar", ["finetune", "lora"]) == " (did you mean 'lora'?)"
    assert nearest("bert", ["lora", "finetune"]) == " (known: finetune, lora)"
    assert nearest("bert", []) == " (known: none)"


def test_a_long_value_is_shortened():
    assert len(shown("x" * 10_000)) <= 102
    assert shown(frozenset({"sequence-classification"})) == "frozenset({'sequence-classification'})"

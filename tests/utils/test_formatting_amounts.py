import pytest

from kdbench.utils.formatting import parse_amount


@pytest.mark.parametrize(
    ("text", "number"),
    [("5", 5), ("2.5", 2.5), ("12M", 12e6), ("50MB", 50e6), ("1.5 G", 1.5e9), ("8k", 8e3), ("8KB", 8e3)],
)
def test_amounts_are_read_in_decimal_powers(text, number):
    assert parse_amount(text) == number


@pytest.mark.parametrize("text", ["", "0", "-5", "five", "5 ms", "1e6", "12MM", "nan", "inf"])
def test_what_is_no_positive_number_is_refused(text):
    with pytest.raises(ValueError, match="not a positive number"):
        parse_amount(text)

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from kdbench.utils import formatting
from kdbench.utils.formatting import parse_amount, seconds_left


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (formatting.percent, 0.785, "78.5"),
        (formatting.percent, -0.0001, "0.0"),
        (formatting.difference, 0.012, "+1.2"),
        (formatting.difference, -0.0301, "-3.0"),
        (formatting.difference, -0.0001, "+0.0"),
        (formatting.share, 0.9734, "97.3%"),
        (formatting.count, 22_713_216, "22.7M"),
        (formatting.count, 294_912, "295k"),
        (formatting.count, 999_600, "1.0M"),
        (formatting.count, 12, "12"),
        (formatting.count, 109_482_240, "109M"),
        (formatting.size, 90_900_000, "90.9 MB"),
        (formatting.size, 302_000, "302 kB"),
        (formatting.size, 512, "512 B"),
        (formatting.sentence, "English reviews", "English reviews."),
        (formatting.sentence, "Is it English?", "Is it English?"),
        (formatting.milliseconds, 0.87412, "0.874"),
        (formatting.milliseconds, 8.7412, "8.74"),
        (formatting.milliseconds, 9.998, "10.0"),
        (formatting.milliseconds, 187.4, "187"),
        (formatting.ratio, 1.834, "1.83x"),
        (formatting.seconds, 12.34, "12.3 s"),
        (formatting.seconds, 345.0, "5.8 min"),
        (formatting.seconds, 7560.0, "2.1 h"),
        (formatting.percent, None, "-"),
        (formatting.count, None, "-"),
        (formatting.plain, 0.123456, "0.1235"),
        (formatting.plain, 7, "7"),
        (formatting.plain, None, "-"),
    ],
)
def test_values_read_well(write, value, text):
    assert write(value) == text


def test_a_score_without_interval_stands_alone():
    assert formatting.with_interval(0.785, 0.76, 0.809) == "78.5 [76.0, 80.9]"
    assert formatting.with_interval(0.785, None, None) == "78.5"


def test_text_stays_on_one_line_without_control_characters():
    assert formatting.on_one_line(" a\r\n\tb  c\u2028d ") == "a b c d"
    assert "\x1b" not in formatting.on_one_line("\x1b[31mred")
    assert formatting.on_one_line("x" * 50, limit=10) == "x" * 9 + "…"
    assert formatting.on_one_line("x" * 10, limit=10) == "x" * 10


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", r"a\|b"),
        ("a\nb", "a b"),
        ("`code`", r"\`code\`"),
        ("<script>", "&lt;script&gt;"),
        ("&lt;", "&amp;lt;"),
        ("**bold** __init__", r"\*\*bold\*\* \_\_init\_\_"),
        ("[text](javascript:x)", r"[text]\(javascript:x)"),
        (r"back\slash", r"back\\slash"),
        ("lora[r=16]", "lora[r=16]"),
    ],
)
def test_markdown_shows_text_as_it_is(text, escaped):
    assert formatting.escape_markdown(text) == escaped


class _Cells(HTMLParser):
    """Collects the text of a table's cells and whatever markup stands in them."""

    def __init__(self):
        super().__init__()
        self.texts = []
        self.markup = []

    def handle_starttag(self, tag, attrs):
        if tag in ("th", "td"):
            self.texts.append("")
        elif tag not in ("table", "thead", "tbody", "tr"):
            self.markup.append(tag)

    def handle_data(self, data):
        if self.texts and data.strip():
            self.texts[-1] += data


@given(st.text(alphabet="ab=+-1 |`*_~<>&;#[]()!\\\n$\"':/@lt", min_size=1))
def test_a_markdown_reader_shows_any_text_as_it_was_written(text):
    wanted = formatting.on_one_line(text)
    page = f"| first | second |\n|---|---|\n| {formatting.escape_markdown(text)} | end |"
    cells = _Cells()
    cells.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(page))
    assert cells.texts == ["first", "second", wanted, "end"]
    assert cells.markup == []


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum", "\tx", "\rx"])
def test_a_spreadsheet_runs_no_text(text):
    assert formatting.defuse_formula(text) == f"'{text}"


def test_other_text_is_left_as_it_is_for_a_spreadsheet():
    assert formatting.defuse_formula("tinybert+int8") == "tinybert+int8"


@pytest.mark.parametrize(
    ("done", "total", "elapsed_s", "left_s"),
    [(1, 4, 10, 30), (4, 4, 40, 0), (3, 9, 60, 120), (0, 9, 60, None)],
)
def test_the_rest_takes_as_long_a_cell_as_what_has_ended(done, total, elapsed_s, left_s):
    assert seconds_left(done, total, elapsed_s) == left_s


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

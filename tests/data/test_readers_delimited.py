import pytest

from kdbench.data.readers import read_delimited
from kdbench.errors import UsageError


@pytest.fixture
def write(tmp_path):
    def write(text, name="train.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return write


def values(path, columns=("text", "label"), **options):
    return [tuple(row[name] for name in columns) for _, row in read_delimited(path, columns, **options)]


def test_quoted_values_hold_delimiters_quotes_and_line_ends(write):
    path = write('text,label\r\n"a, ""b""\r\nc",x\r\n\r\nd,y\r\n')
    assert values(path) == [('a, "b"\r\nc', "x"), ("d", "y")]


def test_a_row_is_placed_by_the_line_it_begins_on(write):
    path = write('text,label\n"two\nlines",x\nlast,y\n')
    assert [where for where, _ in read_delimited(path, ["text"])] == [f"{path}, line 2", f"{path}, line 4"]


def test_without_quoting_a_quote_is_a_character(write):
    path = write('sentence\tlabel\n"unbalanced\t0\nsay "no"\t1\n', "train.tsv")
    rows = values(path, ("sentence", "label"), delimiter="\t", quoted=False)
    assert rows == [('"unbalanced', "0"), ('say "no"', "1")]


def test_columns_may_be_named_where_a_file_does_not(write):
    path = write("gj04\t1\t\tHe left.\n", "train.tsv")
    names = ("source", "label", "star", "sentence")
    assert values(path, ("sentence", "label"), delimiter="\t", quoted=False, names=names) == [
        ("He left.", "1")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; it needs rows"),
        ("text,label\n", "has a header but no rows"),
        ("text,queue\na,b\n", "has no column 'label', only 'text', 'queue'"),
        ("text;label\na;b\n", r"only 'text;label' \(is ',' the right delimiter\?\)"),
        ("text,label,label\na,b,c\n", "more than one column 'label'"),
        ("text,label\na,b\nc\n", "line 3: 1 values for 2 columns; quote values that contain ','"),
        ("text,label\na,b\nc,d,e\n", "line 3: 3 values for 2 columns"),
        ('text,label\na,b\n"c" d,e\n', "line 3: .* check the quotes"),
        ('text,label\na,b\n"c,d\ne,f\n', "line 3: .* check the quotes"),
        ("text,label\ra,b\r", "line 1: new-line character"),
        ("text,label\n" + "x" * 131_073 + ",a\n", "line 2: field larger than field limit"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_remedy(write, text, message):
    path = write(text)
    with pytest.raises(UsageError, match=message) as caught:
        values(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_known_broken_lines_are_passed_over_only_where_asked(write):
    path = write("id\ttext\tlabel\n1\ta\tx\n2\tb\n3\tc\ty\n", "train.tsv")
    options = {"delimiter": "\t", "quoted": False}
    assert values(path, skip_short=True, **options) == [("a", "x"), ("c", "y")]
    with pytest.raises(UsageError, match="line 3: 2 values for 3 columns"):
        values(path, **options)

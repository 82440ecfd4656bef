"""Odd files, written and read back: the same rows come out, or an error that names the line."""

import csv
import io
import json
import re
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kdbench.data.readers import read_conll, read_delimited, read_jsonl
from kdbench.errors import UsageError

PLACED = re.compile(r"(, line \d+: | is empty| has a header but no rows)")

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
labels = st.one_of(texts, st.integers(), st.booleans())
words = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=" "), min_size=1, max_size=8
)
plain_words = words.filter(lambda word: not word.startswith(("-DOCSTART-", "\ufeff")))
tags = st.sampled_from(["O", "B-PER", "B-LOC"])
pieces = [b"a", b",", b"\t", b'"', b"\n", b"\r\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", "ü".encode(), b" "]
odd_bytes = st.lists(st.sampled_from(pieces), max_size=30).map(b"".join)


def read_back(content, read):
    """Return what `read` makes of a file of `content`, and the error if it makes nothing of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "odd.txt"
        path.write_bytes(content)
        try:
            return list(read(path)), ""
        except UsageError as error:
            return None, str(error).removeprefix(str(path))


@given(
    st.lists(st.tuples(texts, texts), min_size=1),
    st.sampled_from([",", "\t", ";"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_whatever_the_csv_module_writes_is_read_back(rows, delimiter, line_end):
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "label"), *rows])
    found, _ = read_back(
        file.getvalue().encode(), lambda path: read_delimited(path, ["text", "label"], delimiter=delimiter)
    )
    assert [(row["text"], row["label"]) for _, row in found] == rows


@given(st.lists(st.fixed_dictionaries({"text": texts, "label": labels}), min_size=1), st.booleans())
def test_whatever_json_writes_is_read_back(rows, ascii_only):
    content = "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in rows).encode()
    found, _ = read_back(content, lambda path: read_jsonl(path, ["text", "label"]))
    assert [row for _, row in found] == rows


@given(
    st.lists(st.lists(st.tuples(plain_words, tags), min_size=1), min_size=1),
    st.sampled_from(["\t", " "]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_whatever_words_stand_in_columns_are_read_back(sentences, delimiter, line_end):
    lines = [line for sentence in sentences for line in [*map(delimiter.join, sentence), ""]]
    found, _ = read_back(line_end.join(lines).encode(), read_conll)
    assert [list(zip(words, tags, strict=True)) for _, words, tags in found] == sentences


@given(odd_bytes, st.booleans())
def test_odd_bytes_give_rows_of_two_values_or_an_error_that_names_the_line(content, quoted):
    def read(path):
        return read_delimited(path, ["text", "label"], quoted=quoted)

    rows, error = read_back(b"text,label\n" + content, read)
    assert PLACED.match(error) if rows is None else all(row.keys() == {"text", "label"} for _, row in rows)


@given(odd_bytes)
def test_odd_bytes_in_columns_give_sentences_or_an_error_that_names_the_line(content):
    sentences, error = read_back(b"Anna\tB-PER\n" + content, read_conll)
    assert (
        PLACED.match(error)
        if sentences is None
        else all(len(words) == len(tags) for _, words, tags in sentences)
    )


@given(odd_bytes)
def test_odd_bytes_are_no_json_and_an_error_names_the_line(content):
    rows, error = read_back(b'{"text": "a"}\n' + content, lambda path: read_jsonl(path, ["text"]))
    assert PLACED.match(error) if rows is None else [row for _, row in rows] == [{"text": "a"}]

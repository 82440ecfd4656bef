import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.export.model import split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Anna lives in Paris.", ["Anna", "lives", "in", "Paris", "."]),
        ("(see U.S. law)", ["(", "see", "U.S", ".", "law", ")"]),
        ("@anna don't #go!?", ["@anna", "don't", "#go", "!", "?"]),
        ('"3.5%"', ['"', "3.5%", '"']),
        ("...", [".", ".", "."]),
        ("\t \n", []),
        ("", []),
        (
            "\N{LEFT DOUBLE QUOTATION MARK}Oslo\N{RIGHT DOUBLE QUOTATION MARK},",
            ["\N{LEFT DOUBLE QUOTATION MARK}", "Oslo", "\N{RIGHT DOUBLE QUOTATION MARK}", ","],
        ),
    ],
)
def test_words_and_marks_stand_alone(text, words):
    assert [word.text for word in split_words(text)] == words


@given(st.text())
def test_words_are_the_text_less_its_white_space(text):
    words = split_words(text)
    assert all(text[word.start : word.end] == word.text for word in words)
    assert "".join(word.text for word in words) == "".join(text.split())
    assert all(word.text for word in words)
    assert [word.start for word in words] == sorted(word.start for word in words)

import pytest

from kdbench.data.readers import read_conll
from kdbench.errors import UsageError


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "train.conll"
        path.write_bytes(text.encode())
        return path

    return write


def test_four_columns_of_iob1_with_document_lines(write):
    path = write(
        "-DOCSTART- -X- O O\n\nEU NNP I-NP I-ORG\nrejects VBZ I-VP O\n\nPeter NNP I-NP I-PER\nBlackburn NNP I-NP I-PER\n"
    )
    assert list(read_conll(path)) == [
        (f"{path}, line 3", ["EU", "rejects"], ["B-ORG", "O"]),
        (f"{path}, line 6", ["Peter", "Blackburn"], ["B-PER", "I-PER"]),
    ]


def test_tabs_windows_line_ends_and_lines_of_a_lone_tab(write):
    path = write("Empire\tB-facility\r\nState\tI-facility\r\n\t\r\n\r\nno break\tO\r\n")
    assert [(words, tags) for _, words, tags in read_conll(path)] == [
        (["Empire", "State"], ["B-facility", "I-facility"]),
        (["no break"], ["O"]),
    ]


def test_columns_may_be_chosen(write):
    path = write("1 O Mark B-PER\n2 O left O\n")
    assert [(words, tags) for _, words, tags in read_conll(path, word=2, tag=3)] == [
        (["Mark", "left"], ["B-PER", "O"])
    ]


def test_a_no_break_space_is_part_of_a_word(write):
    path = write("10\u00a0000 B-NUM\n\u00a0 O\n")
    assert [words for _, words, _ in read_conll(path)] == [["10\u00a0000", "\u00a0"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "has no sentences"),
        ("a O\nb\n", "line 2: 1 columns; write one word and its tag per line"),
        ("a\tO\nb\t\n", "line 2: the word or its tag is empty"),
        ("a O\n\nb B-PER\nc I-LOC\n", "line 4: 'I-LOC' continues no entity"),
        ("a B-PER\n\nb I-PER\n", "line 3: 'I-PER' continues no entity; tag its first word 'B-PER'"),
        ("a PER\n", "line 1: 'PER' is not a tag of the scheme IOB2"),
        ("a B-PER\nb S-LOC\n", "line 2: 'S-LOC' comes before the entity of 'B-PER' has ended"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_remedy(write, text, message):
    path = write(text)
    with pytest.raises(UsageError, match=message) as caught:
        list(read_conll(path))
    assert str(path) in str(caught.value)

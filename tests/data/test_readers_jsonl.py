import pytest

from kdbench.data.readers import read_jsonl
from kdbench.errors import UsageError


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "train.jsonl"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_rows_keep_their_types_and_places(write):
    path = write(
        '{"text": "\\u00e9\\ud83d\\ude00", "label": 1}\n\n{"label": null, "text": ["a"], "more": 0.5}\n'
    )
    assert list(read_jsonl(path, ["text", "label"])) == [
        (f"{path}, line 1", {"text": "é😀", "label": 1}),
        (f"{path}, line 3", {"text": ["a"], "label": None, "more": 0.5}),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"text": "a", "label": 1}\n{"text": "b"}\n', "line 2: no 'label', only 'text'"),
        ('{"text": "a", "label": 1}\n{"text": "b"\n', "line 2: not JSON"),
        ('[{"text": "a", "label": 1}]\n', "line 1: not an object but list"),
        ("[" * 100_000 + "\n", "line 1: not JSON"),
        ("\n\n", "has only blank lines"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_remedy(write, text, message):
    path = write(text)
    with pytest.raises(UsageError, match=message) as caught:
        list(read_jsonl(path, ["text", "label"]))
    assert str(path) in str(caught.value)

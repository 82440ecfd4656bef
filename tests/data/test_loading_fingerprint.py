import pyarrow as pa
import pytest

from kdbench.data.loading import ContentHash


def fingerprint(**columns):
    digest = ContentHash()
    for name, batches in columns.items():
        for batch in batches:
            digest.update(name, pa.array(batch))
    return digest.hexdigest()


def test_how_a_column_is_cut_into_batches_does_not_matter():
    assert fingerprint(text=[["a", "bc", "ü"]], label=[[1.0, 2.0, 3.0]]) == fingerprint(
        label=[[1.0, 2.0], [3.0]], text=[["a"], ["bc", "ü"]]
    )
    assert fingerprint(words=[[["a", "b"], ["c"]]]) == fingerprint(words=[[["a", "b"]], [["c"]]])


def test_slices_of_a_larger_array_count_as_what_they_show():
    digest = ContentHash()
    digest.update("words", pa.array([["x"], ["a", "b"], ["c"], ["y"]]).slice(1, 2))
    assert digest.hexdigest() == fingerprint(words=[[["a", "b"], ["c"]]])


@pytest.mark.parametrize(
    "other",
    [
        {"text": [["b", "a"]]},
        {"text": [["ab", ""]]},
        {"text": [["", "ab"]]},
        {"text": [["a", "b", ""]]},
        {"words": [["a", "b"]]},
        {"text": [[["a"], ["b"]]]},
        {"text": [["a", "b"]], "label": [["x", "y"]]},
    ],
)
def test_any_difference_of_content_shows(other):
    assert fingerprint(text=[["a", "b"]]) != fingerprint(**other)


def test_where_words_end_and_sentences_end_shows():
    assert fingerprint(words=[[["a", "b"], ["c"]]]) != fingerprint(words=[[["a"], ["b", "c"]]])
    assert fingerprint(words=[[["ab", "c"]]]) != fingerprint(words=[[["a", "bc"]]])

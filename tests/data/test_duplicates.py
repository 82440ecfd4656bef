"""Scored texts that occur in train, exactly or nearly."""

from hypothesis import given
from hypothesis import strategies as st

from kdbench.data.duplicates import NEAR, Duplicates

SCORED = "one of the best films of the year, by far"


def counted(scored, train):
    duplicates = Duplicates()
    for role, texts in (("scored", scored), ("train", train)):
        rows = [{"text": text, "label": "x"} for text in texts]
        assert list(duplicates.collect(role, rows)) == rows
    return duplicates.exact, duplicates.near


def test_counts_by_hand():
    assert counted([SCORED], [SCORED]) == (1, 0)
    assert counted([SCORED, SCORED], [SCORED, SCORED]) == (2, 0)
    assert counted([SCORED], ["One of the best films of the year by far!"]) == (0, 1)
    # 8 runs of three words are shared; the longer text has one more: 8 of 9.
    assert counted([SCORED], [f"{SCORED} indeed"]) == (0, 1)
    # One word in the middle changes 3 of the 8 runs: 5 of 11 are shared.
    assert counted([SCORED], [SCORED.replace("films", "movies")]) == (0, 0)
    assert counted(["good film"], ["Good film."]) == (0, 1)
    assert counted(["good film"], ["a good film"]) == (0, 0)


def test_a_text_without_letters_is_near_none():
    assert counted(["?!"], ["...", "!!"]) == (0, 0)


def test_characters_of_chinese_count_as_words():
    assert counted(["这部电影非常好看我很喜欢它"], ["这部电影非常好看\uff0c我很喜欢它\uff01"]) == (0, 1)
    assert counted(["这部电影非常好看我很喜欢它"], ["这部电影非常难看我不喜欢它"]) == (0, 0)


def test_pairs_and_words_are_compared_as_wholes():
    duplicates = Duplicates()
    scored = [{"text": "a b c d", "text_pair": "e f g h"}, {"words": ["A", "b", "c", "d", "e"]}]
    train = [{"text": "a b c d", "text_pair": "e, f, g, h"}, {"words": ["a", "b", "c", "d", "e"]}]
    list(duplicates.collect("scored", scored))
    list(duplicates.collect("train", train))
    assert (duplicates.exact, duplicates.near) == (0, 2)


@given(st.lists(st.text("abc ", max_size=30), max_size=4), st.lists(st.text("abc ", max_size=30), max_size=4))
def test_counts_are_those_of_comparing_every_pair(scored, train):
    def runs(text):
        words = text.split()
        last = max(1, len(words) - 2)
        return {tuple(words[i : i + 3]) for i in range(last)} if words else set()

    def is_near(a, b):
        both = runs(a) | runs(b)
        return bool(both) and len(runs(a) & runs(b)) >= NEAR * len(both)

    exact = [text for text in scored if text in train]
    near = [text for text in scored if text not in train and any(is_near(text, other) for other in train)]
    assert counted(scored, train) == (len(exact), len(near))

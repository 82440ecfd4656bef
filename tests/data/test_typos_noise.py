import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.data.typos import _NEIGHBOURS, SHARE, add_typos

LONG = " ".join(["remarkable", "story", "about", "children", "the", "of", "Anna's", "42"] * 50)
texts = st.lists(st.text(max_size=60), min_size=1, max_size=4)


def words_of(text):
    return re.findall(r"[^\W\d_]+", text)


@given(texts, st.integers(0, 1000))
def test_no_text_is_lost_or_emptied_and_first_and_last_letters_stay(texts, seed):
    mistyped = add_typos(texts, seed)
    assert len(mistyped) == len(texts)
    for before, after in zip(texts, mistyped, strict=True):
        assert re.sub(r"[^\W\d_]", "", before) == re.sub(r"[^\W\d_]", "", after)
        ends = [(word[0], word[-1]) for word in words_of(before)]
        assert [(word[0], word[-1]) for word in words_of(after)] == ends


@given(st.integers(0, 1000))
def test_one_error_a_word_and_none_in_short_ones(seed):
    (mistyped,) = add_typos([LONG], seed)
    changed = 0
    for before, after in zip(LONG.split(), mistyped.split(), strict=True):
        if before == after:
            continue
        changed += 1
        assert len(before) >= 4
        differing = [place for place, pair in enumerate(zip(before, after)) if pair[0] != pair[1]]  # noqa: B905
        if len(after) < len(before):
            place = differing[0]
            assert before[:place] + before[place + 1 :] == after
        elif len(differing) == 1:
            assert after[differing[0]] in _NEIGHBOURS[before[differing[0]]]
        else:
            first, second = differing
            assert second == first + 1
            assert (before[first], before[second]) == (after[second], after[first])
    assert changed > 0


def test_about_the_share_of_the_longer_words_is_mistyped():
    changed = sum(
        before != after
        for seed in range(50)
        for before, after in zip(LONG.split(), add_typos([LONG], seed)[0].split(), strict=True)
    )
    longer = 50 * 50 * sum(len(word) >= 4 for word in ["remarkable", "story", "about", "children", "Anna"])
    assert changed / longer == pytest.approx(SHARE, rel=0.05)


def test_every_kind_of_error_comes_about_as_often():
    kinds = {"swap": 0, "neighbour": 0, "drop": 0}
    for seed in range(600):
        (after,) = add_typos(["remarkable"], seed)
        same_letters = sorted(after) == sorted("remarkable")
        kinds["drop" if len(after) < 10 else "swap" if same_letters else "neighbour"] += 1
    assert all(150 < count < 250 for count in kinds.values())


def test_a_text_with_one_longer_word_has_it_mistyped():
    assert all(add_typos(["it was good"], seed) != ["it was good"] for seed in range(20))


@pytest.mark.parametrize("text", ["", "it was bad", "a1b2c3", "?!"])
def test_texts_without_a_longer_word_stay(text):
    assert add_typos([text], 0) == [text]


def test_the_errors_follow_from_the_seed_alone():
    assert add_typos([LONG], 3) == add_typos([LONG], 3)
    assert add_typos([LONG], 3) != add_typos([LONG], 4)


def test_letters_without_a_key_are_swapped_or_lost():
    word = "привет"
    for seed in range(30):
        (after,) = add_typos([word], seed)
        assert set(after) <= set(word)
        assert after != word


def test_a_capital_is_mishit_as_a_capital():
    shouted = {add_typos(["GREAT"], seed)[0] for seed in range(60)}
    assert all(word == word.upper() for word in shouted)


def test_neighbours_on_a_keyboard():
    assert sorted(_NEIGHBOURS["a"]) == ["q", "s", "w", "z"]
    assert sorted(_NEIGHBOURS["g"]) == ["b", "f", "h", "t", "v", "y"]
    assert sorted(_NEIGHBOURS["p"]) == ["l", "o"]
    assert all(key in _NEIGHBOURS[other] for key, others in _NEIGHBOURS.items() for other in others)

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.api.task import IGNORED
from kdbench.data import load_task, prepare
from kdbench.data.typos import NEIGHBOURS, SHARE, add_typos

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
            assert after[differing[0]] in NEIGHBOURS[before[differing[0]]]
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
    assert sorted(NEIGHBOURS["a"]) == ["q", "s", "w", "z"]
    assert sorted(NEIGHBOURS["g"]) == ["b", "f", "h", "t", "v", "y"]
    assert sorted(NEIGHBOURS["p"]) == ["l", "o"]
    assert all(key in NEIGHBOURS[other] for key, others in NEIGHBOURS.items() for other in others)


@pytest.fixture
def decoded(make_experiment):
    """Return the experiment of a task, and what its noisy rows say by example."""

    def decode(task):
        experiment = make_experiment(task)
        rows = experiment.task.noisy
        words = {}
        for row in rows:
            pieces = experiment.tokenizer.decode(row["input_ids"], skip_special_tokens=True)
            words.setdefault(row["example"], []).append(pieces)
        return experiment, {example: " ".join(parts) for example, parts in words.items()}

    return decode


def test_rows_are_the_scored_examples_with_their_own_errors(decoded, registry):
    experiment, texts = decoded("toy-sentiment")
    prepared = experiment.task
    assert prepared.noisy.column_names == prepared.scored.column_names
    assert prepared.noisy["example"][:] == prepared.scored["example"][:]
    assert prepared.noisy["labels"][:] == prepared.scored["labels"][:]
    assert prepared.noisy["input_ids"][:] != prepared.scored["input_ids"][:]
    sources = list(registry.task("toy-sentiment").load(None)["test"])
    for example, text in texts.items():
        (mistyped,) = add_typos([sources[example]["text"]], example)
        assert text == mistyped


def test_a_sentence_of_words_keeps_its_words_and_their_tags(decoded):
    experiment, _ = decoded("toy-tags")

    def tags(rows):
        found = {}
        for row in rows:
            kept = [label for label in row["labels"] if label != IGNORED]
            found.setdefault(row["example"], []).extend(kept)
        return found

    assert tags(experiment.task.noisy) == tags(experiment.task.scored)
    assert experiment.task.noisy["input_ids"][:] != experiment.task.scored["input_ids"][:]


def test_numbers_to_predict_stay(decoded):
    experiment, _ = decoded("toy-score")
    assert experiment.task.noisy["labels"][:] == experiment.task.scored["labels"][:]


def test_no_more_examples_than_the_bound_and_the_same_each_time(make_experiment, tiny_budget):
    budget = tiny_budget.model_copy(update={"noisy_examples": 7})
    few, again = make_experiment(budget=budget), make_experiment(budget=budget)
    examples = few.task.noisy["example"][:]
    assert len(examples) == 7
    assert set(examples) < set(few.task.scored["example"][:])
    assert sorted(examples) == examples
    assert again.task.noisy["input_ids"][:] == few.task.noisy["input_ids"][:]
    assert np.ptp(examples) > 7  # drawn from all of the split, not from its start


def test_both_texts_of_a_pair_may_have_errors(tmp_path, tiny_model, tiny_budget):
    from helpers.toytasks import ToyTask, settings_in

    from kdbench.models.foreign import load_tokenizer

    rows = [
        {"text": f"great film {i}", "text_pair": f"awful story {i}", "label": ("no", "yes")[i % 2]}
        for i in range(60)
    ]
    settings = settings_in(tmp_path)
    data = load_task(ToyTask({"train": rows, "test": rows}), settings)
    tokenizer = load_tokenizer(tiny_model)
    prepared = prepare(data, tiny_budget, tokenizer, settings.cache_dir)
    texts = [tokenizer.decode(ids, skip_special_tokens=False) for ids in prepared.noisy["input_ids"][:]]
    first, second = zip(*(text.split("[SEP]")[:2] for text in texts), strict=True)
    assert any("great film" not in text for text in first)
    assert any("awful story" not in text for text in second)
    # One word of each pair at least.
    assert not any("great film" in text and "awful story" in text for text in texts)

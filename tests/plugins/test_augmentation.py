from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
from helpers.training import KINDS
from kdbench_plugins._augmentation import (
    FIRST_AUGMENTED_ID,
    NEIGHBOURS,
    Words,
    augmented_rows,
    read_vocabulary,
)
from kdbench_plugins.bilstm import BiLSTMKD
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

from kdbench.api.task import IGNORED, UNLABELLED
from kdbench.errors import UsageError

NO_REPLACEMENTS = SimpleNamespace(of=lambda ids, draw: ids)
NOTHING = {"mask_rate": 0.0, "replace_rate": 0.0, "ngram_rate": 0.0}


@pytest.fixture
def bench(make_bench, request):
    task = getattr(request, "param", "toy-sentiment")
    _, found = make_bench(BiLSTMKD(BiLSTMKD.Params()), task)
    return found


def made_rows(bench, *, copies=1, seed=0, **rates):
    rows = augmented_rows(bench, copies=copies, seed=seed, **rates)
    return list(rows)[len(bench.task.train) :]


def words_of(bench, row):
    """The words of a row, each a tuple of its pieces' ids, special tokens left out."""
    tokenizer, words = bench.experiment.tokenizer, []
    for piece in row["input_ids"][1:-1]:
        if tokenizer.convert_ids_to_tokens(piece).startswith("##"):
            words[-1] += (piece,)
        else:
            words.append((piece,))
    return words


@pytest.mark.parametrize("bench", KINDS, indirect=True)
def test_the_training_rows_come_first_as_they_are(bench):
    rows = augmented_rows(bench, copies=3, seed=0)
    train = bench.task.train
    assert len(train) < len(rows) <= 4 * len(train)
    assert rows.features == train.features
    assert rows.select(range(len(train))).to_dict() == train.to_dict()


@pytest.mark.parametrize("bench", KINDS, indirect=True)
def test_made_rows_are_well_formed_and_nobodys(bench):
    made, tokenizer = made_rows(bench, copies=3), bench.experiment.tokenizer
    numbers = [row["id"] for row in made]
    assert len(set(numbers)) == len(made)
    assert min(numbers) >= FIRST_AUGMENTED_ID > max(bench.task.unlabelled["id"], default=0)
    assert [row["example"] for row in made] == numbers
    for row in made:
        assert row["length"] == len(row["input_ids"]) == len(row["token_type_ids"])
        assert (row["input_ids"][0], row["input_ids"][-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
        assert not {tokenizer.cls_token_id, tokenizer.sep_token_id} & {*row["input_ids"][1:-1]}


def test_the_labels_of_classes_and_numbers_are_hidden(make_bench):
    _, classes = make_bench(BiLSTMKD(BiLSTMKD.Params()), "toy-sentiment")
    assert {row["labels"] for row in made_rows(classes)} == {UNLABELLED}
    _, numbers = make_bench(BiLSTMKD(BiLSTMKD.Params()), "toy-score")
    assert all(np.isnan(row["labels"]) for row in made_rows(numbers))


@pytest.mark.parametrize("bench", ["toy-tags"], indirect=True)
def test_of_tokens_each_words_first_piece_is_to_be_answered(bench):
    made = made_rows(bench, copies=2, mask_rate=0.5)
    for row in made:
        expected = [IGNORED]
        for word in words_of(bench, row):
            expected += [UNLABELLED] + [IGNORED] * (len(word) - 1)
        assert row["labels"] == [*expected, IGNORED]


@pytest.mark.parametrize("bench", KINDS, indirect=True)
def test_masked_words_are_one_mask_each(bench):
    mask = bench.experiment.tokenizer.mask_token_id
    made = made_rows(bench, **{**NOTHING, "mask_rate": 1.0})
    for row, old in zip(made, bench.task.train, strict=True):
        assert row["input_ids"][1:-1] == [mask] * len(words_of(bench, old))


def test_replacements_are_near_words_of_the_training_rows(bench):
    made = made_rows(bench, **{**NOTHING, "replace_rate": 1.0})
    tokenizer, train = bench.experiment.tokenizer, list(bench.task.train)
    known = {
        word[0]
        for row in train
        for word in words_of(bench, row)
        if len(word) == 1 and tokenizer.convert_ids_to_tokens(word[0]).isalpha()
    }
    vectors = torch.nn.functional.normalize(bench.teacher.get_input_embeddings().weight.detach(), dim=-1)
    likeness = vectors @ vectors.T
    changed = 0
    for row, old in zip(made, train, strict=True):
        for new, before in zip(words_of(bench, row), words_of(bench, old), strict=True):
            if len(before) > 1 or before[0] not in known:
                assert new == before
                continue
            changed += 1
            assert new != before
            assert new[0] in known
            nearer = sum(
                bool(likeness[before[0], word] > likeness[before[0], new[0]]) for word in known - {*before}
            )
            assert nearer < NEIGHBOURS
    assert changed > 100


@pytest.mark.parametrize("bench", ["toy-sentiment", "toy-score"], indirect=True)
def test_an_ngram_is_one_to_five_neighbouring_words(bench):
    rows = augmented_rows(bench, copies=12, seed=0, **{**NOTHING, "ngram_rate": 1.0})
    texts = [words_of(bench, row) for row in bench.task.train]
    sizes = set()
    for row in list(rows)[len(texts) :]:
        words = words_of(bench, row)
        sizes.add(len(words))
        assert any(
            words == text[start : start + len(words)]
            for text in texts
            for start in range(len(text) - len(words) + 1)
        )
    assert sizes == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("bench", ["toy-tags"], indirect=True)
def test_sentences_of_tokens_are_never_cut(bench):
    assert made_rows(bench, copies=3, **{**NOTHING, "ngram_rate": 1.0}) == []


def test_what_equals_its_row_or_an_earlier_variation_is_left_out(bench):
    assert made_rows(bench, copies=3, **NOTHING) == []
    assert len(made_rows(bench, copies=3, **{**NOTHING, "mask_rate": 1.0})) == len(bench.task.train)


def test_the_rates_are_chances_a_word(bench):
    mask = bench.experiment.tokenizer.mask_token_id
    pieces = [
        piece
        for row in made_rows(bench, copies=100, **{**NOTHING, "mask_rate": 0.4})
        for piece in row["input_ids"][1:-1]
    ]
    assert np.mean([piece == mask for piece in pieces]) == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize("bench", ["toy-tags"], indirect=True)
def test_the_same_seed_makes_the_same_rows(bench):
    assert made_rows(bench, copies=2, seed=1) == made_rows(bench, copies=2, seed=1)
    assert made_rows(bench, copies=2, seed=1) != made_rows(bench, copies=2, seed=2)


def test_of_pairs_the_first_the_second_and_both_are_changed_in_turn(tiny_model):
    tokenizer = BertTokenizerFast.from_pretrained(tiny_model)
    encoded = tokenizer([["good film", "bad music story"], ["cats", "the actor"]])
    rows = datasets.Dataset.from_dict(
        {name: encoded[name] for name in ("input_ids", "token_type_ids")}
        | {"labels": [0, 1], "length": [len(ids) for ids in encoded["input_ids"]]}
    )
    words = Words(rows, tokenizer)
    for copy, (one, two) in enumerate(
        [
            ("[MASK] [MASK]", "bad music story"),
            ("good film", "[MASK] [MASK] [MASK]"),
            ("[MASK] [MASK]", "[MASK] [MASK] [MASK]"),
        ]
    ):
        varied = words.variation(
            np.random.default_rng(0),
            words.texts_changed_by(copy),
            NO_REPLACEMENTS,
            mask=tokenizer.mask_token_id,
            rates=(1.0, 0.0, 0.0),
        )
        assert tokenizer.decode(varied.column("input_ids")[0].as_py()) == f"[CLS] {one} [SEP] {two} [SEP]"
        assert varied.column("token_type_ids")[0].as_py() == encoded["token_type_ids"][0]
    # Another row is elsewhere in its turns, so that a single variation of each row changes seconds, too.
    assert words.texts_changed_by(0).tolist() == [True, False, False, True]


def test_other_tokenizers_mark_where_words_begin():
    vocabulary = {"Ġthe": 0, "Ġcat": 1, "s": 2, "Ġ1": 3, "<s>": 4}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(vocabulary, unk_token="<s>")))
    begins, is_word = read_vocabulary(tokenizer)
    assert begins.tolist() == [True, True, False, True, False]
    assert is_word.tolist() == [True, True, False, False, False]


def test_a_tokenizer_without_a_mask_is_refused_in_a_line(bench):
    bench.experiment.tokenizer.mask_token = None
    with pytest.raises(UsageError, match=r"'toy-sentiment': .* has no mask token, .* set augmentation=false"):
        augmented_rows(bench, copies=1, seed=0)

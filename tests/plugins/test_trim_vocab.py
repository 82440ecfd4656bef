import json
from string import ascii_lowercase

import pytest
import torch
from helpers.architectures import config
from helpers.cutting import transformed
from helpers.training import KINDS as TASKS
from helpers.training import every_kind
from helpers.vocabularies import KINDS, WORDS, tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from kdbench_plugins._vocabulary import needed, trimmed
from kdbench_plugins.trim_vocab import (
    TrimVocab,
    _before_padding,
    keep_embeddings,
    kept_pieces,
    trimmed_tokenizer,
)
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast

from kdbench.api.bench import model_inputs
from kdbench.errors import UsageError
from kdbench.models.artifacts import save_artifact
from kdbench.models.build import load_base
from kdbench.models.cost import count_non_embedding, count_parameters
from kdbench.models.foreign import load_tokenizer
from kdbench.training.predict import predict
from kdbench.utils.files import folder_bytes

VOCABULARY = (
    *("[UNK]", "<s>", "<pad>", "</s>", "the", "cat", "cats", "sat", "##s", "##at", "mat", "zebra", "##bra"),
    *ascii_lowercase,
    *(f"##{letter}" for letter in ascii_lowercase),
)


@pytest.fixture
def fitted(tiny_model):
    def make(experiment):
        return load_base(tiny_model, experiment.kind, experiment.task.task.labels, seed=0)

    return make


def wordpiece(post_processor, vocabulary=VOCABULARY):
    ids = {piece: number for number, piece in enumerate(vocabulary)}
    backend = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = post_processor
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def bracketed(vocabulary=VOCABULARY):
    return processors.BertProcessing(("</s>", vocabulary.index("</s>")), ("<s>", vocabulary.index("<s>")))


@every_kind
def test_on_the_training_text_it_answers_as_before(make_experiment, fitted, task):
    experiment = make_experiment(task)
    whole = fitted(experiment)
    model, bench = transformed(TrimVocab, fitted(experiment), experiment)
    assert bench.runs == []

    def logits(model, experiment):
        return predict(model, experiment.task.train, experiment.collate, device=experiment.device).logits

    torch.testing.assert_close(logits(model, bench.experiment), logits(whole, experiment), rtol=0, atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_training_text_is_split_as_before_but_for_the_numbers(make_experiment, fitted, task):
    experiment = make_experiment(task)
    _, bench = transformed(TrimVocab, fitted(experiment), experiment)
    before, after = experiment.tokenizer, bench.experiment.tokenizer
    assert len(after) < len(before)
    for part in ("train", "unlabelled"):
        old, new = getattr(experiment.task, part), getattr(bench.task, part)
        assert len(old) == len(new) > 0
        assert all(old[name][:] == new[name][:] for name in ("id", "example", "length"))
        for row, again in zip(old["input_ids"], new["input_ids"], strict=True):
            assert before.convert_ids_to_tokens(row) == after.convert_ids_to_tokens(again)


def test_pieces_that_no_training_text_has_are_gone_and_the_others_rows_are_theirs(make_experiment, fitted):
    experiment = make_experiment()
    whole = fitted(experiment)
    model, bench = transformed(TrimVocab, fitted(experiment), experiment)
    old, new = experiment.tokenizer.get_vocab(), bench.experiment.tokenizer.get_vocab()
    used = {
        number
        for part in (experiment.task.train, experiment.task.unlabelled)
        for row in part["input_ids"]
        for number in row
    }
    words = {piece for piece, number in old.items() if number in used and not piece.startswith("[")}
    letters = {letter for word in words for letter in word}
    specials = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    assert set(new) == words | letters | {f"##{letter}" for letter in letters} | specials
    assert {"oslo", "anna"}.isdisjoint(new)  # words of another toy task
    assert sorted(new.values()) == list(range(len(new)))
    rows, all_rows = model.get_input_embeddings().weight, whole.get_input_embeddings().weight
    assert all(torch.equal(rows[number], all_rows[old[piece]]) for piece, number in new.items())


def test_what_is_deployed_is_smaller_and_is_a_plain_model_with_its_tokenizer(
    make_experiment, fitted, tmp_path
):
    experiment = make_experiment()
    whole = fitted(experiment)
    save_artifact(whole, experiment.tokenizer, tmp_path / "whole")
    model, bench = transformed(TrimVocab, fitted(experiment), experiment)
    assert bench.own_tokenizer
    save_artifact(model, bench.experiment.tokenizer, tmp_path / "trimmed")
    gone = len(experiment.tokenizer) - len(bench.experiment.tokenizer)
    assert count_parameters(whole) - count_parameters(model) == 32 * gone
    assert count_non_embedding(whole) == count_non_embedding(model)
    assert folder_bytes(tmp_path / "whole") - folder_bytes(tmp_path / "trimmed") >= 4 * 32 * gone

    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "trimmed").eval()
    tokenizer = load_tokenizer(tmp_path / "trimmed")
    assert again.config.vocab_size == len(tokenizer) == again.get_input_embeddings().num_embeddings
    assert again.config.pad_token_id == tokenizer.pad_token_id == again.get_input_embeddings().padding_idx
    text = ["the film was great", "a boring story"]
    mine, theirs = (
        one(**model_inputs(coder(text, padding=True, return_tensors="pt"))).logits
        for one, coder in ((again, tokenizer), (whole.eval(), experiment.tokenizer))
    )
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)


def test_rare_pieces_go_where_asked(make_experiment, fitted):
    experiment = make_experiment("toy-tags")
    sizes = [
        len(transformed(TrimVocab, fitted(experiment), experiment, min_count=count)[1].experiment.tokenizer)
        for count in (60, 10_000)
    ]
    assert len(experiment.tokenizer) > sizes[0] > sizes[1] == 5  # the special tokens are left


def test_trimming_again_changes_nothing(make_experiment, fitted):
    model, bench = transformed(TrimVocab, fitted(make_experiment()), make_experiment())
    again, once_more = transformed(TrimVocab, model, bench.experiment)
    assert once_more.experiment.tokenizer.get_vocab() == bench.experiment.tokenizer.get_vocab()
    assert again.config.vocab_size == len(bench.experiment.tokenizer)


@pytest.mark.parametrize(
    "post_processor",
    [
        bracketed(),
        processors.RobertaProcessing(("</s>", 3), ("<s>", 1)),
        processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 3)]),
        processors.Sequence([bracketed()]),
    ],
)
def test_what_stands_around_a_text_is_renumbered(post_processor):
    vocabulary = ["zebra", *VOCABULARY]  # so that special tokens move
    number = {piece: i for i, piece in enumerate(vocabulary)}
    old = wordpiece(bracketed(vocabulary), vocabulary)
    text = "the cats sat"
    new = trimmed_tokenizer(old, kept_pieces(old, set(old(text)["input_ids"])))
    assert number["<s>"] == 2
    assert new("the cats sat")["input_ids"][0] == new.bos_token_id == 1
    assert new.convert_ids_to_tokens(new(text)["input_ids"]) == ["<s>", "the", "cats", "sat", "</s>"]
    plain = wordpiece(post_processor)
    trimmed = trimmed_tokenizer(plain, {number: 90 - number for number in range(len(VOCABULARY))})
    assert trimmed(text)["input_ids"] == [90 - number for number in plain(text)["input_ids"]]
    assert trimmed.pad_token_id == 88


@settings(max_examples=30)
@given(
    st.lists(st.text("abcdest hm", min_size=1, max_size=12), min_size=1, max_size=3), st.text("abcdest hmz")
)
def test_known_text_is_split_alike_and_unknown_text_in_the_same_letters_can_be_read(known, unknown):
    old = wordpiece(bracketed())
    new_ids = kept_pieces(old, {number for text in known for number in old(text)["input_ids"]})
    new = trimmed_tokenizer(old, new_ids)
    for text in known:
        assert new(text)["input_ids"] == [new_ids[number] for number in old(text)["input_ids"]]
    letters = {letter for text in known for letter in text}
    pieces = new.tokenize(unknown)
    if set(unknown) <= letters:
        assert "[UNK]" not in pieces
        assert "".join(piece.removeprefix("##") for piece in pieces) == unknown.replace(" ", "")


def test_special_tokens_of_the_configuration_are_renumbered(fitted, make_experiment):
    model = fitted(make_experiment())
    model.config.pad_token_id, model.config.eos_token_id, model.config.bos_token_id = 0, 3, None
    keep_embeddings(model, {3: 0, 0: 1, 20: 2})
    assert (model.config.pad_token_id, model.config.eos_token_id) == (1, 0)
    assert model.config.bos_token_id is None
    assert model.config.vocab_size == 3


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """Tokenizers of every kind, as they come from their folders."""
    folder = tmp_path_factory.mktemp("tokenizers")
    for kind in KINDS:
        tokenizer(kind).save_pretrained(folder / kind)
    return {kind: load_tokenizer(folder / kind) for kind in KINDS}


TEXTS = st.lists(
    st.sampled_from([*WORDS, "ouagadougou"]) | st.text("aeinorthé猫Z", max_size=4), max_size=6
).map(" ".join)


def pieces_of(tokenizer, text):
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])


@pytest.mark.parametrize("kind", KINDS)
def test_of_every_kind_of_vocabulary_a_part_splits_texts_of_its_pieces_alike(tokenizers, kind):
    old = tokenizers[kind]

    @settings(max_examples=25)
    @given(st.lists(TEXTS, min_size=1, max_size=3), st.lists(TEXTS, max_size=6))
    def hold(known, others):
        new_ids = kept_pieces(old, {number for text in known for number in old(text)["input_ids"]})
        new = trimmed_tokenizer(old, new_ids)
        assert len(new) == len(new_ids)
        for text in [*known, *others]:
            pieces = old(text)["input_ids"]
            if text in known or set(pieces) <= new_ids.keys():
                assert new(text)["input_ids"] == [new_ids[number] for number in pieces]
            if old.unk_token_id not in pieces and kind in ("roberta", "modernbert", "mmbert", "eurobert"):
                assert (
                    new.unk_token_id not in new(text)["input_ids"] or new.unk_token_id is None
                )  # bytes are kept

    hold()


@pytest.mark.parametrize("kind", KINDS)
def test_a_trimmed_tokenizer_of_every_kind_is_read_by_transformers_alone(tokenizers, kind, tmp_path):
    old, texts = tokenizers[kind], ["the film was funny", "ouagadougou and oslo"]
    new = trimmed_tokenizer(old, kept_pieces(old, {n for text in texts for n in old(text)["input_ids"]}))
    new.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert type(again) is type(old)
    assert len(again) < len(old)
    assert again.get_vocab() == new.get_vocab()
    assert sorted(again.get_vocab().values()) == list(range(len(again)))
    for text in texts:
        assert pieces_of(again, text) == pieces_of(old, text)
        assert again.decode(again(text)["input_ids"], skip_special_tokens=True) == old.decode(
            old(text)["input_ids"], skip_special_tokens=True
        )
    assert again.special_tokens_map == old.special_tokens_map


def test_merges_that_can_no_longer_be_made_are_gone(tokenizers):
    state = json.loads(tokenizers["roberta"].backend_tokenizer.to_str())
    words = {piece for piece in state["model"]["vocab"] if len(piece) > 1 and piece.startswith("Ġ")}
    assert {"Ġfilm", "Ġfil", "Ġfi"} <= words
    kept = needed(state, {state["model"]["vocab"]["Ġfilm"]})
    model = trimmed(state, {old: new for new, old in enumerate(sorted(kept))})["model"]
    assert {tuple(merge) for merge in model["merges"]} == {
        ("Ġ", "f"),
        ("Ġf", "i"),
        ("Ġfi", "l"),
        ("Ġfil", "m"),
    }
    assert len(model["vocab"]) == 5 + 256 + 4


def test_what_is_unknown_costs_as_much_as_before(tokenizers):
    """The worst piece sets the cost of an unknown letter; without it, two unknown letters would be cheaper than a word."""
    old = tokenizers["xlm-roberta"]
    new_ids = kept_pieces(old, set(old("the film")["input_ids"]))
    assert old.get_vocab()["▁ouagadougou"] in new_ids


def test_padding_keeps_its_number_where_positions_are_counted_from_it(make_experiment):
    base = AutoModelForSequenceClassification.from_config(config("roberta", pad_token_id=5))
    assert _before_padding(base) == set(range(6))
    assert _before_padding(AutoModelForSequenceClassification.from_config(config("modernbert"))) == set()


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (models.WordLevel({"a": 0}, unk_token="a"), "WordLevel"),
        (models.BPE({"a</w>": 0}, [], end_of_word_suffix="</w>"), "BPE with end_of_word_suffix"),
    ],
)
def test_a_tokenizer_of_another_kind_is_refused_with_the_reason(model, what):
    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model))
    with pytest.raises(
        UsageError, match=f"'trim-vocab' trims WordPiece, BPE and Unigram .* {what}, .* take prune-ffn"
    ):
        kept_pieces(other, {0})

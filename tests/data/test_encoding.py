from itertools import pairwise

import numpy as np
import pytest
from helpers.toytasks import ToyTask, settings_in
from transformers import AutoTokenizer, RobertaTokenizerFast

from kdbench.api.task import IGNORED, TaskKind
from kdbench.config import EMBEDDED_NAME
from kdbench.data import default_cache_dir, load_task
from kdbench.data.encoding import Encoder, read_table
from kdbench.models.embedded import EMBEDDED

TAGS = ("O", "B-PER", "I-PER")


@pytest.fixture(scope="module")
def bert():
    return AutoTokenizer.from_pretrained(EMBEDDED[EMBEDDED_NAME].fetch(default_cache_dir()))


@pytest.fixture(scope="module")
def roberta(tmp_path_factory):
    """A byte-level tokenizer that knows little more than bytes."""
    from tokenizers import ByteLevelBPETokenizer

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        ["a word and a word"] * 9, vocab_size=270, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    )
    folder = tmp_path_factory.mktemp("roberta")
    trained.save_model(str(folder))
    return RobertaTokenizerFast.from_pretrained(folder)


@pytest.fixture
def encode(tmp_path):
    def encode(tokenizer, rows, kind, labels=(), max_length=128, stride=None):
        task = ToyTask({"train": rows, "test": rows}, kind, labels)
        data = load_task(task, settings_in(tmp_path))
        encoder = Encoder(data.task, tokenizer, max_length, stride)
        counts = encoder.write(data.splits["train"], tmp_path / "train.arrow")
        return read_table(tmp_path / "train.arrow"), counts

    return encode


def sentence(words, tags):
    return {"words": words.split(), "tags": tags.split()}


def test_texts_are_encoded_as_the_tokenizer_does_with_labels_by_their_order(encode, bert):
    rows = [{"text": "A fine film.", "label": "yes"}, {"text": "Unwatchable!", "label": "no"}]
    encoded, counts = encode(bert, rows, TaskKind.SEQUENCE_CLASSIFICATION, ("no", "yes"))
    assert encoded["input_ids"][:] == bert([row["text"] for row in rows])["input_ids"]
    assert encoded["labels"][:] == [1, 0]
    assert (encoded["id"][:], encoded["example"][:]) == ([0, 1], [0, 1])
    assert encoded["length"][:] == [len(ids) for ids in encoded["input_ids"]]
    assert "attention_mask" not in encoded.column_names
    assert (counts.examples, counts.too_long, counts.unknown) == (2, 0, 0)


def test_long_texts_are_truncated_and_counted(encode, bert):
    rows = [{"text": "word " * n, "label": label} for n, label in ((6, "no"), (7, "yes"), (500, "no"))]
    encoded, counts = encode(bert, rows, TaskKind.SEQUENCE_CLASSIFICATION, ("no", "yes"), max_length=8)
    assert encoded["length"][:] == [8, 8, 8]
    assert counts.too_long == 2


def test_of_a_long_pair_both_texts_stay(encode, bert):
    rows = [
        {"text": "one " * 50, "text_pair": "two " * 50, "label": 1.25},
        {"text": "a", "text_pair": "b", "label": 0},
    ]
    encoded, counts = encode(bert, rows, TaskKind.SEQUENCE_REGRESSION, max_length=11)
    types = encoded["token_type_ids"][0]
    assert (types.count(0), types.count(1)) == (6, 5)
    assert encoded["labels"][:] == [1.25, 0.0]
    assert counts.too_long == 1


def test_no_row_is_longer_than_the_model_takes(encode, bert):
    assert bert.model_max_length == 512
    rows = [{"text": "word " * 600, "label": "no"}, {"text": "b", "label": "yes"}]
    encoded, _ = encode(bert, rows, TaskKind.SEQUENCE_CLASSIFICATION, ("no", "yes"), max_length=4_000)
    assert max(encoded["length"][:]) == 512


def test_unknown_pieces_are_counted(encode, bert):
    rows = [{"text": "a 𒀀 b", "label": "no"}, {"text": "plain", "label": "yes"}]
    _, counts = encode(bert, rows, TaskKind.SEQUENCE_CLASSIFICATION, ("no", "yes"))
    assert (counts.unknown, counts.pieces) == (1, 8)


def test_a_word_counts_at_its_first_piece(encode, bert):
    encoded, _ = encode(
        bert, [sentence("Blackburn unwatchable", "B-PER O")], TaskKind.TOKEN_CLASSIFICATION, TAGS
    )
    pieces = bert.convert_ids_to_tokens(encoded["input_ids"][0])
    assert pieces == ["[CLS]", "blackburn", "un", "##watch", "##able", "[SEP]"]
    assert encoded["labels"][0] == [IGNORED, 1, 0, IGNORED, IGNORED, IGNORED]


def test_a_word_that_the_tokenizer_drops_is_scored_all_the_same(encode, bert):
    row = {"words": ["Go", "\ufe0f", "Anna", "\u200d"], "tags": ["O", "O", "B-PER", "O"]}
    encoded, _ = encode(bert, [row], TaskKind.TOKEN_CLASSIFICATION, TAGS)
    assert [label for label in encoded["labels"][0] if label != IGNORED] == [0, 0, 1, 0]


def test_long_sentences_are_split_between_words_and_lose_none(encode, bert):
    words = ["unwatchable", "Anna", "word"] * 40
    tags = ["O", "B-PER", "O"] * 40
    rows = [{"words": words, "tags": tags}, sentence("short Anna", "O B-PER")]
    encoded, counts = encode(bert, rows, TaskKind.TOKEN_CLASSIFICATION, TAGS, max_length=16)
    assert max(encoded["length"][:]) <= 16
    assert encoded["id"][:] == list(range(len(encoded)))
    assert (counts.examples, counts.too_long) == (2, 1)
    first = [row for row in encoded if row["example"] == 0]
    assert len(first) > 1
    assert [label for row in first for label in row["labels"] if label != IGNORED] == [0, 1, 0] * 40
    whole = [piece for row in first for piece in row["input_ids"][1:-1]]
    assert whole == bert(words, is_split_into_words=True)["input_ids"][1:-1]


def test_a_word_of_more_pieces_than_fit_keeps_its_first_ones(encode, bert):
    row = {"words": ["Anna", "ab" * 45, "left"], "tags": ["B-PER", "I-PER", "O"]}
    encoded, _ = encode(bert, [row], TaskKind.TOKEN_CLASSIFICATION, TAGS, max_length=8)
    assert max(encoded["length"][:]) == 8
    assert [label for row in encoded for label in row["labels"] if label != IGNORED] == [1, 2, 0]


def test_a_byte_level_tokenizer_reads_words_as_after_a_space(encode, roberta):
    encoded, _ = encode(roberta, [sentence("a word", "O B-PER")], TaskKind.TOKEN_CLASSIFICATION, TAGS)
    tokens = roberta.convert_ids_to_tokens(encoded["input_ids"][0])
    assert "".join(tokens[1:-1]) == "ĠaĠword"
    assert [label for label in encoded["labels"][0] if label != IGNORED] == [0, 1]
    assert "token_type_ids" not in encoded.column_names
    assert roberta.tokenize("a") == ["a"], "the caller's tokenizer is left as it was"


def test_the_key_follows_the_tokenizer_and_the_length_but_not_earlier_calls(bert, roberta):
    task = ToyTask({})

    def key(tokenizer, max_length=64):
        return Encoder(task, tokenizer, max_length).key

    before = key(bert)
    bert(["some text"], truncation=True, max_length=5, padding="max_length")
    assert key(bert) == before
    assert len({before, key(bert, 65), key(roberta)}) == 3
    changed = AutoTokenizer.from_pretrained(
        EMBEDDED[EMBEDDED_NAME].fetch(default_cache_dir()), do_lower_case=False
    )
    assert key(changed) != before


def test_labels_of_another_order_make_another_key(bert):
    turned = ToyTask({}, labels=("yes", "no"))
    assert Encoder(ToyTask({}), bert, 64).key != Encoder(turned, bert, 64).key


def test_rows_across_batches_keep_their_order(encode, bert):
    rows = [{"text": str(i), "label": ("no", "yes")[i % 2]} for i in range(4_500)]
    encoded, _ = encode(bert, rows, TaskKind.SEQUENCE_CLASSIFICATION, ("no", "yes"))
    assert encoded["example"][:] == list(range(4_500))
    assert np.array_equal(encoded["labels"][:], np.arange(4_500) % 2)
    assert bert.decode(encoded["input_ids"][4_321], skip_special_tokens=True) == "4321"


def pieces_of(encoded, tokenizer):
    """Return the word pieces of each row without the special tokens at both ends."""
    return [tokenizer.convert_ids_to_tokens(ids)[1:-1] for ids in encoded["input_ids"]]


@pytest.mark.parametrize("stride", [0, 2, 4])
def test_a_long_text_is_read_in_windows_that_share_the_stride(encode, bert, stride):
    words = [f"a{chr(97 + i)}" for i in range(26)]
    long = bert.tokenize(" ".join(words))
    rows = [{"text": "short", "label": "no"}, {"text": " ".join(words), "label": "yes"}]
    encoded, counts = encode(bert, rows, TaskKind.SEQUENCE_CLASSIFICATION, ("no", "yes"), 12, stride)
    first, *windows = pieces_of(encoded, bert)
    assert first == ["short"]
    assert all(len(window) == 10 for window in windows[:-1])
    assert all(a[len(a) - stride :] == b[:stride] for a, b in pairwise(windows))
    assert windows[0] + [piece for window in windows[1:] for piece in window[stride:]] == long
    assert encoded["example"][:] == [0] + [1] * len(windows)
    assert encoded["labels"][:] == [0] + [1] * len(windows)
    assert (counts.examples, counts.too_long) == (2, 1)


@pytest.mark.parametrize("stride", [0, 2, 4])
def test_each_word_of_a_long_sentence_is_labelled_in_the_window_with_most_context(encode, bert, stride):
    words = [f"a{chr(97 + i)}" for i in range(26)]
    tags = ["B-PER"] * 26
    rows = [{"words": words, "tags": tags}]
    encoded, _ = encode(bert, rows, TaskKind.TOKEN_CLASSIFICATION, TAGS, 12, stride)
    windows = pieces_of(encoded, bert)
    sizes = [len(bert.tokenize(word)) for word in words]
    labelled = []
    for window, labels in zip(windows, encoded["labels"], strict=True):
        labelled += [window[place] for place, label in enumerate(labels[1:-1]) if label != IGNORED]
    assert labelled == [bert.tokenize(word)[0] for word in words]
    assert sum(map(len, windows)) <= sum(sizes) + stride * (len(windows) - 1)
    if stride == 4 and set(sizes) == {1}:
        # Ten pieces each: of the four that two windows share, each labels the two that are further from its edge.
        assert [label != IGNORED for label in encoded["labels"][0][1:-1]] == [True] * 8 + [False] * 2
        assert [label != IGNORED for label in encoded["labels"][1][1:-1]][:3] == [False, False, True]


def test_windows_change_the_key_of_the_encoding(bert):
    task = ToyTask({})
    keys = {Encoder(task, bert, 64, stride).key for stride in (None, 0, 8)}
    assert len(keys) == 3


def test_rows_in_memory_are_those_that_would_be_written(encode, bert):
    rows = [sentence("anna met bruno " * 9, "B-PER O B-PER " * 9), sentence("oslo", "O")]
    written, _ = encode(bert, rows, TaskKind.TOKEN_CLASSIFICATION, TAGS, max_length=16)
    columns = {name: [row[name] for row in rows] for name in ("words", "tags")}
    task = ToyTask({}, TaskKind.TOKEN_CLASSIFICATION, TAGS)
    encoded = Encoder(task, bert, 16).encode(columns)
    assert len(encoded) == len(written) > len(rows)
    assert [encoded[number] for number in range(len(encoded))] == [dict(row) for row in written]
    assert list(encoded["example"]) == written["example"][:]


def test_windows_in_memory_are_those_that_would_be_written(encode, bert):
    rows = [{"text": "word " * 30, "label": "yes"}, {"text": "short", "label": "no"}]
    written, _ = encode(bert, rows, TaskKind.SEQUENCE_CLASSIFICATION, ("no", "yes"), 12, 2)
    columns = {name: [row[name] for row in rows] for name in ("text", "label")}
    encoded = Encoder(ToyTask({}), bert, 12, 2).encode(columns)
    assert len(encoded) == len(written) > len(rows)
    assert [encoded[number] for number in range(len(encoded))] == [dict(row) for row in written]

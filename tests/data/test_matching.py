"""Two tokenizers of the same examples: which rows, words and ids belong together."""

import numpy as np
import pytest
from helpers.model_folders import letter_by_letter, renumbered
from helpers.toytasks import ToyTask, settings_in

from kdbench.api.task import IGNORED, TaskKind
from kdbench.data import load_task, prepare
from kdbench.data.matching import are_split_alike, in_other_ids, outputs_by_example, same_pieces
from kdbench.models.foreign import load_tokenizer

TAGS = ("O", "B-A", "I-A", "B-B", "I-B")
SENTENCE = [
    "the",
    "music",
    "was",
    "very",
    "good",
    "and",
    "the",
    "story",
    "was",
    "very",
    "funny",
    "and",
    "the",
    "cats",
    "with",
    "the",
    "cats",
    "in",
    "it",
]


@pytest.fixture(scope="module")
def tokenizers(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("matching")
    own = load_tokenizer(tiny_model)
    return (
        own,
        load_tokenizer(renumbered(folder / "mpnet", own)),
        load_tokenizer(letter_by_letter(folder / "letters")),
    )


@pytest.fixture
def tagged(tmp_path, tiny_budget):
    """Encode ten sentences of two to nineteen words, each word tagged by its place, into rows of at most 8 pieces."""

    def encode(tokenizer):
        sentences = [SENTENCE[: 2 + 2 * number] for number in range(9)]
        rows = [
            {
                "words": words,
                "tags": ["O" if place % 3 else ("B-A", "B-B")[place % 2] for place in range(len(words))],
            }
            for words in sentences
        ]
        task = ToyTask({"train": rows * 4, "test": rows}, TaskKind.TOKEN_CLASSIFICATION, TAGS)
        budget = tiny_budget.model_copy(update={"max_length": 8})
        settings = settings_in(tmp_path)
        return prepare(load_task(task, settings), budget, tokenizer, settings.cache_dir)

    return encode


def places(rows):
    """Stand for a model: the output of a word is its tag and how many words of its row come before it."""
    return [
        np.array([[label, place] for place, label in enumerate(label for label in row if label != IGNORED)])
        for row in rows["labels"][:]
    ]


def test_words_of_sentences_that_each_tokenizer_splits_elsewhere_are_matched_by_counting(tokenizers, tagged):
    own, _, letters = (tagged(tokenizer) for tokenizer in tokenizers)
    assert max(own.train["length"]) == max(letters.train["length"]) == 8
    assert len(letters.train) > 2 * len(own.train)
    rows = own.train.select(
        range(len(own.train) - 1, -1, -3)
    )  # some rows of some sentences, in another order
    outputs = outputs_by_example(
        rows, [(own.scored, letters.scored), (own.train, letters.train)], places, per_word=True
    )
    for labels, found in zip(rows["labels"][:], outputs, strict=True):
        assert found[:, 0].tolist() == [label for label in labels if label != IGNORED]
    # "the music was very good and" are six words; letter by letter in rows of six pieces: the | music | was | very | good | and.
    first = own.train.select([row for row, size in enumerate(own.train["length"]) if size == 8][:1])
    (found,) = outputs_by_example(first, [(own.train, letters.train)], places, per_word=True)
    assert found[:, 1].tolist() == [0, 0, 0, 0, 0, 0]


def test_texts_are_matched_by_example_and_split_by_split(tokenizers, make_experiment):
    experiment = make_experiment()
    other = experiment.with_tokenizer(tokenizers[2]).task
    own = experiment.task
    pairs = [
        (getattr(own, name), getattr(other, name)) for name in ("train", "unlabelled", "validation", "scored")
    ]

    def compute(rows):
        return [
            np.array([[example, length]])
            for example, length in zip(rows["example"], rows["length"], strict=True)
        ]

    for rows, theirs in pairs:
        found = outputs_by_example(rows.select([5, 2]), pairs, compute, per_word=False)
        assert [output.tolist() for output in found] == [
            [[theirs[5]["example"], theirs[5]["length"]]],
            [[theirs[2]["example"], theirs[2]["length"]]],
        ]
    changed = own.train.select([0]).map(lambda row: {"id": 2**40, "example": 2**40})
    with pytest.raises(LookupError, match="in no split of the task"):
        outputs_by_example(changed, pairs, compute, per_word=False)


def test_the_same_pieces_under_other_ids_are_found_by_name_and_special_ones_by_role(
    tokenizers, make_experiment
):
    own, mpnet, letters = tokenizers
    ids = same_pieces(own, mpnet)
    assert ids[[own.cls_token_id, own.sep_token_id, own.pad_token_id]].tolist() == [0, 2, 1]
    assert mpnet.convert_ids_to_tokens(int(ids[own.convert_tokens_to_ids("funny")])) == "funny"
    assert same_pieces(own, letters)[own.convert_tokens_to_ids("funny")] == -1
    experiment = make_experiment()
    mapped = experiment.with_tokenizer(mpnet).task
    pairs = [(experiment.task.train, mapped.train)]
    assert are_split_alike(pairs, ids)
    assert in_other_ids(experiment.task.train, ids)["input_ids"][:] == mapped.train["input_ids"][:]
    assert not are_split_alike([(experiment.task.train, mapped.scored)], ids)
    spelled = experiment.with_tokenizer(letters).task
    assert not are_split_alike([(experiment.task.train, spelled.train)], same_pieces(own, letters))

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import f1_score as seqeval_f1
from seqeval.scheme import IOB2

from kdbench.api.predictions import Predictions
from kdbench.errors import UsageError
from kdbench.evaluation.metrics import METRICS, check_iob2, entity_ends

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
Sentences = list[list[str]]


def entities(sentences: list[str]) -> list[tuple[int, int, str]]:
    """Return (first word, end, type) of the entities in `sentences`, each a line of tags."""
    words = [sentence.split() for sentence in sentences]
    tags = np.array([TAGS.index(tag) for sentence in words for tag in sentence], dtype=np.int64)
    ends, types = entity_ends(tags, TAGS, np.cumsum([0, *map(len, words)]))
    names = sorted({label[2:] for label in TAGS})
    return [(int(i), int(ends[i]), names[types[i]]) for i in np.flatnonzero(ends)]


@pytest.mark.parametrize(
    ("sentences", "expected"),
    [
        (["B-PER I-PER O B-LOC"], [(0, 2, "PER"), (3, 4, "LOC")]),
        (["B-PER B-PER I-PER"], [(0, 1, "PER"), (1, 3, "PER")]),
        (["I-PER I-PER O"], []),
        (["O I-PER B-PER"], [(2, 3, "PER")]),
        (["B-PER I-LOC I-LOC"], [(0, 1, "PER")]),
        (["B-PER I-LOC I-PER"], [(0, 1, "PER")]),
        (["B-PER", "I-PER"], [(0, 1, "PER")]),
        (["", "B-LOC I-LOC", "", "I-LOC B-PER", ""], [(0, 2, "LOC"), (3, 4, "PER")]),
        (["O O"], []),
        ([], []),
    ],
)
def test_entities_of_strict_iob2(sentences, expected):
    assert entities(sentences) == expected


def test_without_offsets_all_words_are_one_sentence():
    ends, _ = entity_ends(np.array([1, 2, 2]), TAGS, None)
    assert ends.tolist() == [3, 0, 0]


def test_a_first_word_never_continues_the_last_one():
    ends, _ = entity_ends(np.array([2, 1]), TAGS, None)
    assert ends.tolist() == [0, 2]


@pytest.mark.parametrize("label", ["E-PER", "PER", "B", "b-PER"])
def test_a_label_of_another_scheme_is_named(label):
    with pytest.raises(UsageError, match=f"IOB2 .* is '{label}'"):
        check_iob2(("O", label))


def tagged(predicted: Sentences, references: Sentences) -> Predictions:
    found, there = ([TAGS.index(tag) for tags in side for tag in tags] for side in (predicted, references))
    return Predictions(
        ids=np.arange(len(references)),
        logits=np.eye(len(TAGS), dtype=np.float32)[np.array(found, dtype=np.int64)],
        references=np.array(there, dtype=np.int64),
        offsets=np.cumsum([0, *(len(tags) for tags in references)]),
    )


def entity_f1(predicted: Sentences, references: Sentences) -> float:
    return METRICS["entity-f1"].of(tagged(predicted, references), TAGS)


def test_entity_f1_by_hand():
    references = [["B-PER", "I-PER", "O", "B-LOC"], ["B-LOC", "O"]]
    predicted = [["B-PER", "I-PER", "O", "B-PER"], ["B-LOC", "I-LOC"]]
    # Of three entities on either side only the first person is right: a wrong type, a wrong end.
    assert entity_f1(predicted, references) == pytest.approx(1 / 3)
    statistics = METRICS["entity-f1"].statistics(tagged(predicted, references), TAGS)
    assert statistics.tolist() == [[2, 4], [0, 2]]


@pytest.mark.parametrize(
    ("predicted", "references", "expected"),
    [
        ([["O", "O"]], [["O", "O"]], 0.0),
        ([["O", "O"]], [["B-PER", "O"]], 0.0),
        ([["B-PER", "O"]], [["O", "O"]], 0.0),
        ([["I-PER", "O"]], [["B-PER", "O"]], 0.0),
        ([["I-PER", "O"]], [["I-PER", "O"]], 0.0),
        ([["B-PER", "I-LOC"]], [["B-PER", "O"]], 1.0),
        ([["B-PER"], ["I-PER"]], [["B-PER"], ["O"]], 1.0),
        ([["B-PER"], []], [["B-PER"], []], 1.0),
    ],
)
def test_entity_f1_where_nothing_is_there_or_a_tag_has_no_beginning(predicted, references, expected):
    assert entity_f1(predicted, references) == expected


def without_stray_insides(sentences: Sentences) -> Sentences:
    """Return `sentences` with an O for each I- that continues no entity of its type."""
    cleaned = []
    for tags in sentences:
        kept: list[str] = []
        for tag in tags:
            previous = kept[-1] if kept else "O"
            stray = tag.startswith("I-") and previous[2:] != tag[2:]
            kept.append("O" if stray else tag)
        cleaned.append(kept)
    return cleaned


def random_tags(rng: np.random.Generator, lengths: list[int]) -> Sentences:
    return [rng.choice(TAGS, size=length).tolist() for length in lengths]


def random_answers(seed: int) -> tuple[Sentences, Sentences]:
    """Return predicted and right tags of which about 7 in 10 agree."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, size=15).tolist()
    references = random_tags(rng, lengths)
    predicted = [
        [tag if rng.random() < 0.7 else other for tag, other in zip(*pair, strict=True)]
        for pair in zip(references, random_tags(rng, lengths), strict=True)
    ]
    return predicted, references


@pytest.mark.parametrize("seed", range(20))
def test_entity_f1_equals_seqeval_in_strict_mode(seed):
    predicted, references = random_answers(seed)
    expected = seqeval_f1(references, predicted, mode="strict", scheme=IOB2, zero_division=0)
    assert 0.1 < expected < 0.9
    assert entity_f1(predicted, references) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_entity_f1_equals_nervaluate_in_strict_mode(seed):
    predicted, references = random_answers(seed)
    nervaluate = pytest.importorskip("nervaluate", reason="nervaluate needs Python 3.11")
    # nervaluate takes any I- for a beginning, so that it is shown none without one.
    scored = nervaluate.Evaluator(
        without_stray_insides(references),
        without_stray_insides(predicted),
        tags=["PER", "LOC"],
        loader="list",
    ).evaluate()
    expected = scored["overall"]["strict"].f1
    assert 0.1 < expected < 0.9
    assert entity_f1(predicted, references) == pytest.approx(expected, abs=1e-12)


sentences_of_tags = st.lists(st.lists(st.sampled_from(TAGS), max_size=6), min_size=1, max_size=6)


@given(sentences_of_tags)
def test_perfect_entities_score_one_unless_there_are_none(sentences):
    there = any(tag.startswith("B-") for tags in sentences for tag in tags)
    assert entity_f1(sentences, sentences) == (1.0 if there else 0.0)


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), max_size=6), min_size=1
    ).flatmap(lambda pairs: st.tuples(st.just(pairs), st.permutations(pairs)))
)
def test_entity_f1_knows_no_order_of_sentences_and_no_sides(orders):
    def split(pairs):
        return [[tag for tag, _ in one] for one in pairs], [[tag for _, tag in one] for one in pairs]

    (predicted, references), shuffled = split(orders[0]), split(orders[1])
    assert entity_f1(predicted, references) == entity_f1(*shuffled) == entity_f1(references, predicted)


@given(sentences_of_tags)
def test_a_tag_without_a_beginning_counts_as_none(sentences):
    cleaned = without_stray_insides(sentences)
    references = [["B-PER" if i % 3 == 0 else "O" for i in range(len(tags))] for tags in sentences]
    assert entity_f1(sentences, references) == entity_f1(cleaned, references)

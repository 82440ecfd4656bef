import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.data.readers import Scheme, TagError, detect_scheme, iob2_labels, to_iob2

ENTITIES = {
    # Two persons side by side, a single place, a name of three words.
    Scheme.IOB1: "I-PER B-PER O I-LOC O I-ORG I-ORG I-ORG",
    Scheme.IOB2: "B-PER B-PER O B-LOC O B-ORG I-ORG I-ORG",
    Scheme.BIOES: "S-PER S-PER O S-LOC O B-ORG I-ORG E-ORG",
    Scheme.BILOU: "U-PER U-PER O U-LOC O B-ORG I-ORG L-ORG",
}


@pytest.mark.parametrize("scheme", list(Scheme))
def test_each_scheme_is_recognized_and_converted(scheme):
    tags = ENTITIES[scheme].split()
    assert detect_scheme([["O"], tags]) is scheme
    assert to_iob2(tags, scheme) == ENTITIES[Scheme.IOB2].split()


@pytest.mark.parametrize(
    ("scheme", "tags", "index"),
    [
        (Scheme.IOB2, "O I-PER", 1),
        (Scheme.IOB2, "B-PER I-LOC", 1),
        (Scheme.IOB2, "PER", 0),
        (Scheme.IOB2, "B- O", 0),
        (Scheme.IOB2, "O S-PER", 1),
        (Scheme.BIOES, "B-PER O", 1),
        (Scheme.BIOES, "O I-PER E-PER", 1),
        (Scheme.BIOES, "B-PER E-LOC", 1),
        (Scheme.BIOES, "S-PER B-PER", 1),
        (Scheme.BIOES, "U-PER", 0),
        (Scheme.BILOU, "B-PER B-PER L-PER", 1),
    ],
)
def test_a_tag_that_its_scheme_does_not_allow_is_placed(scheme, tags, index):
    with pytest.raises(TagError) as caught:
        to_iob2(tags.split(), scheme)
    assert caught.value.index == index


def test_an_inside_tag_without_a_beginning_makes_a_faulty_iob2_where_other_entities_begin_with_b():
    sentences = [["B-PER", "O"], ["I-PER", "O"]]
    assert detect_scheme(sentences) is Scheme.IOB2
    with pytest.raises(TagError, match="'I-PER' continues no entity; tag its first word 'B-PER'"):
        to_iob2(sentences[1], Scheme.IOB2)


def test_a_type_without_a_prefix_is_no_sign_of_a_scheme():
    """LOC begins like BILOU's last word."""
    tags = ["O", "PER", "LOC"]
    assert detect_scheme([tags]) is Scheme.IOB2
    with pytest.raises(
        TagError, match="'PER' is not a tag of the scheme IOB2; write 'O', 'B-PER' or 'I-PER'"
    ):
        to_iob2(tags, Scheme.IOB2)


def test_labels_put_o_first():
    assert iob2_labels("PER", "geo-loc") == ("O", "B-PER", "I-PER", "B-geo-loc", "I-geo-loc")


def written(entities, scheme):
    """Write (type or None, length) runs in a scheme by its definition."""
    tags = []
    previous = None
    for kind, length in entities:
        if kind is None:
            tags += ["O"] * length
        elif scheme is Scheme.IOB1:
            tags += [f"{'B' if previous == kind else 'I'}-{kind}"] + [f"I-{kind}"] * (length - 1)
        elif scheme is Scheme.IOB2:
            tags += [f"B-{kind}"] + [f"I-{kind}"] * (length - 1)
        else:
            last, single = ("E", "S") if scheme is Scheme.BIOES else ("L", "U")
            inner = [f"I-{kind}"] * (length - 2)
            tags += [f"{single}-{kind}"] if length == 1 else [f"B-{kind}", *inner, f"{last}-{kind}"]
        previous = kind
    return tags


@given(
    st.lists(st.tuples(st.sampled_from([None, "PER", "LOC"]), st.integers(1, 4)), max_size=8),
    st.sampled_from(list(Scheme)),
)
def test_whatever_the_scheme_the_same_entities_come_out(entities, scheme):
    assert to_iob2(written(entities, scheme), scheme) == written(entities, Scheme.IOB2)

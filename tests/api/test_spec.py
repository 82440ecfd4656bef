"""A strategy as the user writes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.api.spec import StrategySpec, parse_spec
from kdbench.errors import UsageError

NAMES = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)*", fullmatch=True)
KEYS = st.from_regex(r"[a-z_][a-z0-9_]*", fullmatch=True)
# TOML's own limits: no control characters and no lone surrogates.
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
LISTED = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
PARAMS = st.dictionaries(KEYS, SCALARS | st.lists(LISTED))


@given(NAMES, PARAMS)
def test_what_a_spec_prints_reads_back_as_the_same_spec(name, params):
    spec = StrategySpec(name=name, params=params)
    again = parse_spec(str(spec))
    assert again == spec
    assert {key: type(value) for key, value in again.params.items()} == {
        key: type(value) for key, value in params.items()
    }


FRAGMENTS = st.sampled_from(
    ["lora", "r", "=", "[", "]", ",", '"', "'", "\\", " ", "\n", "#", "16", ".5", "true", "é"]
)


@given(st.lists(FRAGMENTS).map("".join))
def test_any_text_is_a_spec_that_reads_back_or_an_error_of_one_line(text):
    try:
        spec = parse_spec(text)
    except UsageError as error:
        told = str(error)
    else:
        told = str(spec)
        assert parse_spec(told) == spec
    assert "\n" not in told


@pytest.mark.parametrize(
    ("text", "name", "params"),
    [
        ("finetune", "finetune", {}),
        ("  lora[]  ", "lora", {}),
        ("lora[r=16,alpha=32.5]", "lora", {"r": 16, "alpha": 32.5}),
        ("lora[ r = 16 , alpha = 1e-4, ]", "lora", {"r": 16, "alpha": 1e-4}),
        ("hard-labels[layers=[0,2,5],init=base]", "hard-labels", {"layers": [0, 2, 5], "init": "base"}),
        ('kd[transfer="a, b].csv"]', "kd", {"transfer": "a, b].csv"}),
        ("kd[augment=true,patience=null]", "kd", {"augment": True, "patience": None}),
        ("kd[transfer=data/more.csv]", "kd", {"transfer": "data/more.csv"}),
        ("kd[since=2024-01-01]", "kd", {"since": "2024-01-01"}),
        ("tinybert*[layers=4]", "tinybert*", {"layers": 4}),
    ],
)
def test_values_are_read_as_toml_and_bare_words_as_text(text, name, params):
    assert parse_spec(text) == StrategySpec(name=name, params=params)


def test_parameters_print_in_alphabetical_order_so_that_equal_specs_look_alike():
    assert (
        str(parse_spec("lora[r=16,alpha=32]"))
        == str(parse_spec("lora[alpha=32,r=16]"))
        == "lora[alpha=32,r=16]"
    )
    assert len({parse_spec("lora[r=16,alpha=32]"), parse_spec("lora[alpha=32,r=16]")}) == 1


def test_text_that_looks_like_a_number_keeps_its_quotes():
    assert str(StrategySpec(name="kd", params={"name": "16"})) == 'kd[name="16"]'


@pytest.mark.parametrize(
    "text",
    ["", "   ", "[r=16]", "lora[r=16", "lora r=16]", "lora[r]", "lora[=16]", "lora[r=]", "lora[r=16,,alpha=3]",
     "lora[r=16]x", "lora[r=16][alpha=3]", "lora[r=16\nalpha=32]", "lora[r=16 # rank]", "lora[2r=16]", "lo ra", "lo\nra[r=1]"],
)  # fmt: skip
def test_malformed_text_is_refused_with_the_right_shape_shown(text):
    with pytest.raises(UsageError, match=r"cannot read strategy .*write it as 'name' or 'name\["):
        parse_spec(text)


def test_a_parameter_set_twice_is_refused_by_name():
    with pytest.raises(UsageError, match="sets 'r' twice"):
        parse_spec("lora[r=8,r=16]")

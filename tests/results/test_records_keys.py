"""Names of things by what they follow from."""

import pytest

from kdbench.utils.files import content_hash


def test_a_key_is_the_same_in_every_process_and_release():
    # printf '{"a":[1,2.5,null,"é"]}' | sha256sum
    assert content_hash({"a": [1, 2.5, None, "é"]}) == "d10f86951f0443079a60"


def test_the_order_of_a_mapping_means_nothing_and_that_of_a_list_does():
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
    assert content_hash([1, 2]) != content_hash([2, 1])


@pytest.mark.parametrize(
    ("one", "other"), [(1, "1"), (1, True), (None, "null"), ({}, []), ({"a": None}, {}), (["ab"], ["a", "b"])]
)
def test_what_differs_has_another_key(one, other):
    assert content_hash(one) != content_hash(other)

import pytest

from kdbench.utils.formatting import seconds_left


@pytest.mark.parametrize(
    ("done", "total", "elapsed_s", "left_s"),
    [(1, 4, 10, 30), (4, 4, 40, 0), (3, 9, 60, 120), (0, 9, 60, None)],
)
def test_the_rest_takes_as_long_a_cell_as_what_has_ended(done, total, elapsed_s, left_s):
    assert seconds_left(done, total, elapsed_s) == left_s

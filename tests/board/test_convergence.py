"""Which cells were still improving when their training ended."""

import pytest
from helpers.support import make_record

from kdbench.board.cells import tidy
from kdbench.board.convergence import last_gain, not_converged
from kdbench.results.records import LearningCurve


def curve(*scores):
    return LearningCurve(steps=(10,), losses=(0.5,), validated=tuple(range(len(scores))), scores=scores)


@pytest.mark.parametrize(
    ("scores", "gain"),
    [((0.7, 0.75), 0.05), ((0.6, 0.8, 0.75), -0.05), ((0.7, 0.7), 0.0), ((0.7,), None), ((), None)],
)
def test_the_last_gain_is_over_the_best_before(scores, gain):
    found = last_gain(make_record(curves=(curve(*scores),)))
    assert found == (None if gain is None else pytest.approx(gain))


def test_the_last_stage_that_was_validated_counts():
    assert last_gain(make_record(curves=(curve(0.1, 0.9), curve(0.5, 0.6), curve()))) == pytest.approx(0.1)


def test_only_a_gain_above_the_noise_of_200_examples_is_warned_about():
    """Half a root of 200 in the denominator: 3.54 points."""
    assert not_converged(make_record(curves=(curve(0.7, 0.735),))) is None
    warning = not_converged(make_record(curves=(curve(0.7, 0.736),)))
    assert (
        warning
        == "had not converged: its last validation, on 200 examples, was above all before, beyond noise"
    )


def test_cells_have_passes_gain_and_warning():
    """6,080 texts of 2,000."""
    (cell,) = tidy([make_record(curves=(curve(0.6, 0.8),), warnings=("w",))], []).to_dict("records")
    assert cell["passes"] == pytest.approx(3.04)
    assert cell["last_gain"] == pytest.approx(0.2)
    assert cell["warnings"][0] == "w"
    assert cell["warnings"][1].startswith("had not converged")

"""What a comparison is said to show, word for word."""

from dataclasses import replace

import pytest

from kdbench.board.compare import Comparison, Contrast, TaskComparison
from kdbench.render.compare import conclusion, points
from kdbench.stats.comparisons import Difference
from kdbench.utils.formatting import probability

SHOWN = Contrast(
    difference=Difference(0.018, 0.002, 0.034, 0.005, 0.031, p=0.03, standard_error=0.008, df=100),
    adjusted_p=0.03,
    margin=0.005,
    smallest_detectable=0.0228,
    seeds_are_known=True,
    randomization_p=0.02,
    mcnemar={},
)
NOT_SHOWN = replace(
    SHOWN,
    difference=Difference(-0.004, -0.026, 0.018, -0.022, 0.014, p=0.72, standard_error=0.011, df=100),
    adjusted_p=0.72,
    smallest_detectable=0.031,
)


def comparison(warnings=None, **contrasts):
    rows = ({"warnings": warnings}, {"warnings": None})
    tasks = tuple(
        TaskComparison(name.replace("_", "-"), "accuracy", *rows, None, None, contrast, None)
        for name, contrast in contrasts.items()
    )
    return Comparison("lora", "hard-labels", tasks, (), ())


def test_a_difference_that_is_shown():
    assert conclusion(comparison(rotten_tomatoes=SHOWN)) == (
        "lora scores 1.8 points higher than hard-labels on rotten-tomatoes (95% interval 0.2 to 3.4, p = 0.03):"
        " significant at the 5% level."
    )


def test_the_better_row_is_named_first_and_the_interval_turned():
    found = replace(SHOWN.difference, difference=-0.018, low=-0.034, high=-0.002)
    assert conclusion(comparison(a=replace(SHOWN, difference=found))).startswith(
        "hard-labels scores 1.8 points higher than lora on a (95% interval 0.2 to 3.4,"
    )


def test_a_difference_that_is_not_shown_says_what_would_have_been_missed():
    assert conclusion(comparison(twitter_ner=NOT_SHOWN)) == (
        "On twitter-ner the difference is not significant (lora minus hard-labels: -0.4 points, 95% interval -2.6 to"
        " 1.8, p = 0.72), and with these seeds and examples a true difference below 3.1 points would be missed more than"
        " one time in five; nor is it shown that they are equivalent within 0.5 points."
    )


def test_equivalence_is_told_only_where_the_90_percent_interval_lies_within_the_margin():
    told = conclusion(comparison(sst2=replace(NOT_SHOWN, margin=0.023)))
    assert told == (
        "lora and hard-labels are equivalent on sst2 (lora minus hard-labels: -0.4 points, 95% interval -2.6 to 1.8,"
        " p = 0.72): shown to be less than 2.3 points (two one-sided tests at 5%)."
    )
    assert "equivalent within 2.2 points" in conclusion(comparison(sst2=replace(NOT_SHOWN, margin=0.022)))


def test_a_difference_that_is_shown_may_be_shown_to_be_small():
    told = conclusion(comparison(sst2=replace(SHOWN, margin=0.04)))
    assert told.endswith(
        "significant at the 5% level, but shown to be less than 4.0 points (two one-sided tests at 5%)."
    )


def test_a_row_s_warning_stands_beside_what_it_shows():
    text = conclusion(comparison("5 of 9 scored examples were trained on", sst2=SHOWN))
    assert text.endswith(
        "significant at the 5% level. lora on sst2 has a warning: 5 of 9 scored examples were trained on."
    )


def test_a_difference_that_rounds_to_nothing_has_no_minus():
    found = replace(NOT_SHOWN.difference, difference=-0.0002, low=-0.0122, high=-0.0001)
    text = conclusion(comparison(b=replace(NOT_SHOWN, difference=found)))
    assert "+0.0 points, 95% interval -1.2 to 0.0" in text


def test_several_tasks_are_summed_up():
    text = conclusion(comparison(a=SHOWN, b=NOT_SHOWN, c=NOT_SHOWN))
    assert text.endswith(
        "Over 3 tasks lora is significantly better on 1 and significantly worse on 0; on 2 the difference is not"
        " significant."
    )


def test_what_holm_takes_back_is_not_shown():
    text = conclusion(comparison(a=replace(SHOWN, adjusted_p=0.09)))
    assert text.startswith("On a the difference is not significant (lora minus hard-labels: +1.8 points")
    assert "p = 0.09" in text


@pytest.mark.parametrize(
    ("p", "text"), [(1, "p = 1"), (0.0321, "p = 0.032"), (0.001, "p = 0.001"), (1e-9, "p < 0.001")]
)
def test_probabilities_to_two_digits(p, text):
    assert probability(p) == text


def test_points_have_no_sign():
    assert points(-0.0184) == points(0.0184) == "1.8 points"

import pytest

from kdbench.measure.stopwatch import MAX_WARM_UP_CALLS, WINDOW, WarmUp, is_stable, warm_up


def test_a_model_that_is_steady_from_the_start_is_called_twice_the_window():
    assert warm_up(lambda: 5.0) == WarmUp(20, stable=True)


def test_slow_first_calls_are_waited_for():
    calls = iter([90.0] * 8 + [5.0] * 100)
    # The window before the last one is then calls 5 to 14, of which four are slow: its median is 5 already.
    assert warm_up(lambda: next(calls)) == WarmUp(24, stable=True)


def test_a_model_that_goes_on_getting_slower_is_given_up_and_said_to_be_unstable():
    calls = (1.05**number for number in range(1000))
    assert warm_up(lambda: next(calls)) == WarmUp(MAX_WARM_UP_CALLS, stable=False)


@pytest.mark.parametrize(("last", "stable"), [(101.9, True), (98.1, True), (102.1, False), (97.9, False)])
def test_two_percent_between_the_medians_of_the_last_windows_is_stable(last, stable):
    assert is_stable([100.0] * WINDOW + [last] * WINDOW) is stable
    assert not is_stable([100.0] * (WINDOW - 1) + [last] * WINDOW)


def test_a_single_slow_call_in_a_window_does_not_matter():
    assert is_stable([100.0] * WINDOW + [100.0] * (WINDOW - 1) + [5000.0])

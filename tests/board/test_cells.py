"""Which timing of a cell a board shows."""

from helpers.support import key_named, make_environment, make_timing

from kdbench.board.cells import setting_of, shown_timings, timings_of_cells

OTHER = make_environment("EPYC 9654")


def shown(timings, keys):
    found = shown_timings(timings, map(key_named, keys))
    return {key: found[key_named(key)][1].main.p50_ms for key in keys if key_named(key) in found}


def test_within_a_setting_the_newest_counts():
    timings = [make_timing({"a": 4.0}, minutes=2), make_timing({"a": 3.0}, minutes=1)]
    assert shown(timings, ["a"]) == {"a": 4.0}


def test_the_setting_of_most_cells_counts_and_of_equals_the_newer():
    many = make_timing({"a": 10.0, "b": 11.0}, minutes=1)
    few = make_timing({"a": 2.0}, minutes=2, environment=OTHER)
    as_many = make_timing({"a": 2.0, "b": 3.0}, minutes=2, environment=OTHER)
    assert shown([many, few], ["a", "b"]) == {"a": 10.0, "b": 11.0}
    assert shown([many, as_many], ["a", "b"]) == shown([as_many, many], ["a", "b"]) == {"a": 2.0, "b": 3.0}


def test_cells_that_are_not_on_the_board_have_no_say():
    many = make_timing({"a": 10.0, "x": 1.0, "y": 1.0}, minutes=1)
    few = make_timing({"a": 2.0, "b": 3.0}, minutes=2, environment=OTHER)
    assert shown([many, few], ["a", "b"]) == {"a": 2.0, "b": 3.0}


def test_each_task_has_a_setting_of_its_own():
    here = make_timing({"a": 10.0}, task="one", minutes=1)
    there = make_timing({"b": 2.0}, task="two", minutes=1, environment=OTHER)
    assert shown([here, there], ["a", "b"]) == {"a": 10.0, "b": 2.0}


def test_a_cell_keeps_its_timings_of_further_settings():
    timings = [make_timing({"a": 10.0, "b": 9.0}), make_timing({"a": 2.0}, environment=OTHER)]
    found = timings_of_cells(timings, map(key_named, ["a", "b"]))
    assert [model.main.p50_ms for _, model in found[key_named("a")]] == [10.0, 2.0]
    assert (
        setting_of(found[key_named("a")][1][0])
        == "batch 1, 1 thread, on cores 2, cpu EPYC 9654, torch 2.13.0"
    )
    assert len(found[key_named("b")]) == 1


def test_what_other_libraries_ran_is_another_setting():
    here = make_environment()
    newer = here.model_copy(update={"libraries": {**here.libraries, "torch": "2.14.0"}})
    other_tool = here.model_copy(update={"libraries": {**here.libraries, "kdbench": "0.2.0"}})
    settings = [setting_of(make_timing({}, environment=one)) for one in (here, newer, other_tool)]
    assert settings[0] == settings[2] != settings[1]

from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench.render.plots.names import Box, Name, Offset, place_names, square_around, text_widths

PANEL = Box(0, 0, 300, 300)


def test_a_name_stands_to_the_right_and_half_a_line_above_its_point():
    name = Name(100, 100, 50, 10)
    (offset,) = place_names([name], [square_around(100, 100, 4)], [], PANEL)
    assert offset == Offset(6, -6)
    box = name.at(offset)
    assert (box.left, box.right) == (106, 156)
    assert box.top < 94 < box.bottom


def test_a_name_near_the_right_edge_stands_to_the_left():
    name = Name(280, 100, 50, 10)
    (offset,) = place_names([name], [], [], PANEL)
    assert offset.dx < 0
    assert name.at(offset).right == 274


def test_a_name_evades_a_line_but_does_not_go_far_for_it():
    name = Name(100, 100, 50, 10)
    beside = Box(130, 90, 130, 98)
    (offset,) = place_names([name], [], [beside], PANEL)
    assert not name.at(offset).overlaps(beside)
    through = [Box(x, 0, x, 300) for x in range(0, 300, 10)]
    assert place_names([name], [], through, PANEL)[0].distance < 12


def test_a_name_is_nearer_to_its_own_point_than_to_any_other():
    name, other = Name(100, 100, 50, 10), (98, 116)
    beside = [
        (x, y) for x in (75, 125) for y in (92, 108)
    ]  # no room but above the point or below, where the other is
    marks = [square_around(x, y, 4) for x, y in ((100, 100), other, *beside)]
    (offset,) = place_names([name], marks, [], PANEL)
    assert offset.dy == -16
    assert (
        place_names([name], [mark for mark in marks if mark != square_around(*other, 4)], [], PANEL)[0].dy
        == 20
    )


def test_a_name_without_room_is_left_out():
    names = [Name(100, 100, 50, 10)] * 40
    placed = place_names(names, [], [], PANEL)
    assert placed[-1] is None
    boxes = [name.at(offset) for name, offset in zip(names, placed, strict=True) if offset is not None]
    assert 10 < len(boxes) < 40
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_names_of_one_place_stand_apart():
    names = [Name(100, 100, 50, 10)] * 6
    boxes = [name.at(offset) for name, offset in zip(names, place_names(names, [], [], PANEL), strict=True)]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


@given(
    st.lists(st.tuples(st.floats(0, 300), st.floats(0, 300), st.floats(5, 120)), max_size=4),
    st.lists(st.tuples(st.floats(0, 300), st.floats(0, 300)), max_size=8),
)
@settings(max_examples=50, deadline=None)
def test_few_names_leave_no_panel_and_cover_neither_marks_nor_each_other(points, others):
    names = [Name(*point, size=11) for point in points]
    marks = [square_around(x, y, 4) for x, y in others]
    placed: list[Box] = []
    for name, offset in zip(names, place_names(names, marks, [], PANEL), strict=True):
        box = name.at(offset)
        assert box.within(PANEL)
        assert not any(box.overlaps(other) for other in [*marks, *placed])
        placed.append(box)


def test_a_text_is_as_wide_as_the_renderer_draws_it():
    short, long, again = text_widths(["il", "WWWW", "WWWW"], 10)
    assert 3 < short < long == again
    assert text_widths(["WWWW"], 20) == [2 * long]
    assert text_widths([], 10) == []

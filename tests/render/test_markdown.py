from kdbench.render.markdown import page, progress, section, table


def test_numbers_stand_right_and_text_left_and_no_cell_is_read_as_a_number():
    text = table([("name", True), ("value", False)], [["a", "1e5"], ["b|c", "-"]])
    assert text.splitlines() == ["| name | value |", "|---|---:|", "| a | 1e5 |", r"| b\|c | - |"]


def test_what_is_empty_leaves_no_trace_on_a_page():
    assert page("# title", progress(3, 0), section("Warnings", []), "end") == "# title\n\nend\n"


def test_progress_counts_done_of_all():
    assert progress(3, 5).startswith("**3 of 8 cells done**")

import pytest
from markupsafe import Markup

from kdbench.render.markdown import images, markdown, table


def published(remark="They are not part of this board.", here="", shared=(), made=None):
    return markdown("published", remark=remark, here=here, shared=shared, table=made)


def test_numbers_stand_right_and_text_left_and_no_cell_is_read_as_a_number():
    text = table([("name", True), ("value", False)], [["a", "1e5"], ["b|c", "-"]], {(0, 1)})
    assert text.splitlines() == ["| name | value |", "|---|---:|", "| a | **1e5** |", r"| b\|c | - |"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[a](http://b)", r"[a]\(http://b)"),
        ("<script>&", "&lt;script&gt;&amp;"),
        ("**x** `y`", r"\*\*x\*\* \`y\`"),
        ("one\n\n# two", "one # two"),
    ],
)
def test_whatever_a_template_is_given_is_shown_as_it_is(text, shown):
    made = table([("name", True)], [["a"]])
    lines = published(here=text, shared=[text, text], made=made).splitlines()
    assert lines[2] == f"They are not part of this board. {shown}"
    assert lines[4] == f"All of them: {shown}; {shown}."


def test_what_is_markdown_already_stays():
    assert "*here*" in published(here=Markup("*here*"), made=table([("name", True)], [["a"]]))


def test_what_is_empty_leaves_no_trace_on_a_page():
    text = published(made=table([("name", True)], [["a"]]))
    assert text == "## Published results\n\nThey are not part of this board.\n\n| name |\n|---|\n| a |\n"


def test_only_pictures_that_are_drawn_are_shown():
    assert images({"pictures/ranks.png"}, [("ranks", "ranks"), ("gap-sst2", "the gap")]) == [
        ("pictures/ranks.png", "ranks")
    ]

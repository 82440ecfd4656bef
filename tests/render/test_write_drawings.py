import re

import pytest
from helpers.drawn_board import make_results

from kdbench.config import default_cache_dir
from kdbench.render.html.page import PAGE
from kdbench.render.write import write_board

_OF_REVIEWS = tuple(
    f"{picture}-reviews" for picture in ("scores", "rank-intervals", "pareto", "latency", "curves", "gap")
)


@pytest.fixture
def results(tmp_path):
    (tmp_path / "results").mkdir()
    make_results(tmp_path / "results")
    return tmp_path / "results"


@pytest.mark.slow
def test_a_board_with_a_cache_has_page_and_pictures_which_a_redraw_without_leaves_alone(results, tmp_path):
    board = tmp_path / "board"
    summary = write_board(results, board, budget="quick", cache=default_cache_dir())
    written = {path.relative_to(board).as_posix() for path in summary.written}
    assert {PAGE, "pictures/scores-reviews.svg", "pictures/ranks.png", "README.md"} <= written
    drawn = {name: (board / name).read_bytes() for name in written}
    assert f"]({PAGE})" in drawn["README.md"].decode()
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", (drawn["README.md"] + drawn["reviews.md"]).decode())
    assert shown == [f"pictures/{name}.png" for name in ("ranks", *_OF_REVIEWS)]
    assert set(shown) <= written
    assert drawn[PAGE].startswith(b"<!doctype html>")
    summary = write_board(results, board, budget="quick")
    assert not {path.suffix for path in summary.written} & {".html", ".svg", ".png"}
    assert {name: (board / name).read_bytes() for name in written} == drawn
    write_board(results, board, budget="quick", pending=[("lora", "reviews")])
    assert "![" not in (board / "reviews.md").read_text(encoding="utf-8")  # they are of another run

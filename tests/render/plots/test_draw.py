import json
import math
import struct
import xml.etree.ElementTree as ET
import zlib
from dataclasses import replace
from itertools import combinations

import altair as alt
import pytest
from helpers.drawn_board import COST, EVIL, load, make_results
from helpers.support import make_record
from hypothesis import given
from hypothesis import strategies as st

from kdbench.board.tables import across_tasks, task_ranks
from kdbench.render.palette import family_looks
from kdbench.render.plots.draw import draw, planned
from kdbench.render.plots.names import square_around, text_widths
from kdbench.render.plots.pareto import front, pareto_picture
from kdbench.render.plots.rank_intervals import rank_intervals_picture
from kdbench.render.plots.rows import drawn_rows
from kdbench.render.plots.scores import gap_picture, ranks_picture, scores_picture
from kdbench.results.records import RecordStore


def drawn(pictures):
    return {name: content for picture in pictures for name, content in draw(picture).items()}


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    results = tmp_path_factory.mktemp("drawn") / "results"
    results.mkdir()
    make_results(results)
    return load(results)


@pytest.fixture(scope="module")
def files(board):
    return drawn(planned(*board))


def of_task(board, task="reviews"):
    rows, loaded = board
    return drawn_rows(rows[rows["task"] == task], loaded)


def layers(specification, panel=0):
    """The mark, the data and the encoding of each layer of a panel."""
    panels = specification.get("hconcat", [specification])
    found = []
    for layer in panels[panel]["layer"]:
        data = layer.get("data") or panels[panel].get("data") or specification["data"]
        found.append((layer["mark"], json.loads(specification["datasets"][data["name"]]), layer["encoding"]))
    return found


def of_mark(specification, kind, panel=0, **style):
    """The data of the layers that draw such a mark."""
    return [
        values
        for mark, values, _ in layers(specification, panel)
        if mark["type"] == kind and style.items() <= mark.items()
    ]


def axis(specification, channel, panel=0):
    """An axis as the first layer that names it declares it."""
    return next(
        encoding[channel]
        for _, _, encoding in layers(specification, panel)
        if "title" in encoding.get(channel, {})
    )


def png_size(content):
    """The width and the height of a PNG whose pixels are as many as that; not all of them are alike."""
    width, height = struct.unpack(">II", content[16:24])
    at, packed = 8, b""
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        if content[at + 4 : at + 8] == b"IDAT":
            packed += content[at + 8 : at + 8 + length]
        assert zlib.crc32(content[at + 4 : at + 8 + length]) == int.from_bytes(
            content[at + 8 + length : at + 12 + length]
        )
        at += length + 12
    pixels = zlib.decompress(packed)
    assert len(pixels) == height * (4 * width + 1)
    assert len(set(pixels)) > 100
    return width, height


def texts(svg):
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.slow
def test_every_task_has_its_pictures_twice_over(files):
    names = {
        f"{kind}-{task}"
        for kind in ("scores", "rank-intervals", "pareto", "latency", "gap", "curves")
        for task in ("reviews", "tweets")
    }
    assert set(files) == {f"pictures/{name}.{form}" for name in {*names, "ranks"} for form in ("svg", "png")}
    for name, content in files.items():
        if name.endswith("png"):
            shown = ET.fromstring(files[name.replace("png", "svg")])
            sizes = (int(shown.get("width")), int(shown.get("height")))
            assert png_size(content) == tuple(pytest.approx(150 / 96 * size, abs=1) for size in sizes)


def test_drawing_twice_gives_the_same_bytes_whatever_the_users_style(board, files):
    rows, loaded = board
    with alt.theme.enable("dark"):
        again = drawn(planned(rows[rows["task"] == "reviews"], loaded))
    assert len(again) == 12
    assert again == {name: files[name] for name in again}


def test_names_are_text_however_they_read(files):
    written = texts(files["pictures/scores-reviews.svg"])
    assert {"lora", EVIL, COST, "finetune (teacher)"} <= set(written)
    assert "broken" not in written


def test_ranks_are_drawn_as_the_intervals_of_the_table(board):
    rows = [row for row in of_task(board) if row.row["rank"] is not None]
    assert rows
    picture = rank_intervals_picture("reviews", rows)
    (intervals,) = of_mark(picture, "rule")
    ends = [(row.row["rank"], row.row["rank_high"]) for row in rows]
    assert [(value["low"], value["high"]) for value in intervals] == ends
    (marks,) = of_mark(picture, "point", filled=True)
    assert sorted(value["score"] for value in marks) == list(range(1, len(rows) + 1))


def test_scores_show_mean_interval_and_every_seed(board):
    rows = of_task(board)
    picture = scores_picture("reviews", "accuracy", None, rows)
    names = axis(picture, "y")["axis"]
    assert names["labelExpr"] == f"{json.dumps([row.name for row in rows])}[datum.value]"
    (seeds,) = of_mark(picture, "point", fill="white")
    assert [seed["score"] for seed in seeds] == [75, 75, 75]  # one row has more than one
    (intervals,) = of_mark(picture, "rule")
    assert [(value["low"], value["high"]) for value in intervals] == [row.interval for row in rows]
    (marks,) = of_mark(picture, "point", filled=True)
    assert {(value["score"], value["place"]) for value in marks} == {
        (row.score, place) for place, row in enumerate(rows)
    }


def test_an_interval_far_wider_than_all_scores_ends_in_arrows(board):
    rows = of_task(board)  # they score from 25 to 75 percent: an axis has half of that again
    wide = replace(rows[0], row={**rows[0].row, "score_low": -3.0, "score_high": 4.0})
    picture = scores_picture("reviews", "accuracy", None, [wide, *rows[1:]])
    limits = pytest.approx([0 - 3, 100 + 3])
    assert axis(picture, "x")["scale"]["domain"] == limits
    arrows = [of_mark(picture, "point", shape=f"triangle-{side}") for side in ("left", "right")]
    assert [arrow["end"] for ((arrow,),) in arrows] == limits
    (intervals,) = of_mark(picture, "rule")
    assert [intervals[0]["low"], intervals[0]["high"]] == limits
    panels = pareto_picture("reviews", "accuracy", [wide, *rows[1:]])
    for panel in range(len(panels["hconcat"])):
        assert axis(panels, "y", panel)["scale"]["domain"] == limits
        for side in ("up", "down"):
            assert of_mark(panels, "point", panel, shape=f"triangle-{side}")


def test_the_front_is_drawn_through_its_members(board):
    (line,) = of_mark(pareto_picture("reviews", "accuracy", of_task(board)), "line", interpolate="step-after")
    assert [(value["cost"], value["score"]) for value in line] == [(2, 25), (4, 50), (8, 62.5), (10, 75)]


def test_the_gap_is_a_share_of_the_teachers_lead(board):
    # The control scores 25, the teacher 75: 62.5 is three quarters of the way, 50 is half.
    picture = gap_picture("reviews", of_task(board))
    names = json.dumps([f"lora over {COST}", f"{EVIL} over {COST}"])
    assert axis(picture, "y")["axis"]["labelExpr"] == f"{names}[datum.value]"
    (marks,) = of_mark(picture, "point")
    assert [value["score"] for value in marks] == pytest.approx([75, 50])


def test_a_gap_beyond_the_edge_is_told(board):
    first, *rows = sorted(of_task(board), key=lambda row: row.row["gap_recovered"] is None)
    far = replace(first, row={**first.row, "gap_recovered": -7.0, "gap_low": -9.0, "gap_high": 1.0})
    picture = gap_picture("reviews", [far, *rows])
    assert axis(picture, "x")["scale"]["domain"][0] == -250
    assert {"text": "-700% \N{LEFTWARDS ARROW}", "align": "left"}.items() <= layers(picture)[-1][0].items()
    ((cut,),) = of_mark(picture, "point", shape="triangle-left")
    assert cut["end"] == -250


def test_no_gap_is_drawn_where_the_teacher_is_not_shown_to_lead(board):
    rows, loaded = board
    doubted = rows.assign(gap_reason="the teacher does not significantly lead the control")
    assert gap_picture("reviews", drawn_rows(doubted[doubted["task"] == "reviews"], loaded)) is None


def test_equal_ranks_stand_on_an_axis_of_whole_numbers(board):
    rows, loaded = board
    scores = task_ranks(rows.assign(score=0.5), loaded.cells)
    ranks = axis(ranks_picture(drawn_rows(rows, loaded), scores), "x")
    assert ranks["scale"]["domain"] == [0.4, 5.6]
    assert ranks["axis"] == {"format": "d", "tickMinStep": 1}


def test_names_on_the_front_cover_no_point_and_stay_in_their_panel(board):
    picture = pareto_picture("reviews", "accuracy", of_task(board))
    for number, panel in enumerate(picture["hconcat"]):
        (names,) = of_mark(picture, "text", number)
        (marks,) = of_mark(picture, "point", number)
        assert names
        widths = text_widths([name["text"] for name in names], 11)
        for name, width in zip(names, widths, strict=True):
            left = name["x"] - (width if name["left"] else 0)
            assert 0 <= left < left + width <= panel["width"]
            assert 0 <= name["y"] - 8 < name["y"] <= panel["height"]
            for mark in marks:
                x, y = pixel(picture, number, mark)
                assert not square_around(x, y, 4).overlaps(
                    square_around(0, 0, 0)._replace(
                        left=left, right=left + width, top=name["y"] - 8, bottom=name["y"]
                    )
                )


def pixel(picture, number, mark):
    panel = picture["hconcat"][number]
    (low, high), (bottom, top) = (axis(picture, channel, number)["scale"]["domain"] for channel in "xy")
    return (
        panel["width"] * math.log(mark["cost"] / low) / math.log(high / low),
        panel["height"] * (top - mark["score"]) / (top - bottom),
    )


_BOXES = """svg => {
    document.body.innerHTML = svg;
    const box = (one) => { const {left, top, right, bottom} = one.getBoundingClientRect(); return [left, top, right, bottom]; };
    return [box(document.querySelector("svg")), [...document.querySelectorAll("text")].map(box)];
}"""


def test_no_text_leaves_its_picture_or_covers_another(browser, files):
    page = browser.new_page()
    for name, content in files.items():
        if not name.endswith("svg"):
            continue
        (left, top, right, bottom), boxes = page.evaluate(_BOXES, content.decode())
        assert boxes
        letters = [
            (x, y + 3, to_x, to_y - 1) for x, y, to_x, to_y in boxes
        ]  # above and below them is room for accents
        for x, y, to_x, to_y in letters:
            assert left <= x < to_x <= right, name
            assert top <= y < to_y <= bottom, name
        for one, other in combinations(letters, 2):
            assert one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3], name


def test_ranks_need_two_tasks_and_a_score_on_each(board):
    rows, loaded = board
    reviews = task_ranks(rows[rows["task"] == "reviews"], loaded.cells)
    assert ranks_picture(of_task(board), reviews) is None
    picture = ranks_picture(drawn_rows(rows, loaded), task_ranks(rows, loaded.cells))
    over_all = across_tasks(rows, loaded.cells).dropna(subset="average_rank")
    (bars,) = of_mark(picture, "tick")
    assert [bar["rank"] for bar in bars] == over_all["average_rank"].tolist() == [1, 2, 3, 4]
    assert all(json.dumps(row.name) in axis(picture, "y")["axis"]["labelExpr"] for row in of_task(board))


def test_what_was_not_measured_is_not_drawn(tmp_path):
    RecordStore(tmp_path).put(make_record())
    assert set(drawn(planned(*load(tmp_path)))) == {
        "pictures/scores-rotten-tomatoes.svg",
        "pictures/scores-rotten-tomatoes.png",
    }


def test_a_row_off_the_front_scores_no_more_than_a_cheaper_one():
    # Cost and score: the third costs more than the second and scores less, the last costs the same and scores less.
    assert front([(1, 50), (2, 70), (3, 60), (4, 80), (1, 40)]) == [0, 1, 3]
    assert front([]) == []


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5))))
def test_the_front_is_what_nothing_beats(points):
    members = front(points)
    assert members == sorted(members, key=lambda place: points[place])
    for place, (cost, score) in enumerate(points):
        beaten = any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in points)
        assert ((cost, score) in [points[member] for member in members]) != beaten
        assert not (beaten and place in members)


def test_families_look_different_and_keep_their_look():
    looks = family_looks(f"family {number}" for number in range(8))
    assert len({look.colour for look in looks.values()}) == 8
    assert len({look.shape for look in looks.values()}) == 8
    assert family_looks(reversed(list(looks))) == looks

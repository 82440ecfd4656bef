import xml.etree.ElementTree as ET
from dataclasses import replace
from io import BytesIO
from itertools import combinations

import matplotlib.image
import pytest
from helpers.drawn_board import COST, EVIL, load, make_results
from helpers.support import make_record
from hypothesis import given
from hypothesis import strategies as st

from kdbench.board.tables import across_tasks, complete_scores
from kdbench.render.palette import family_looks
from kdbench.render.plots.draw import draw, planned
from kdbench.render.plots.latency import latency_figure
from kdbench.render.plots.pareto import front, pareto_figure
from kdbench.render.plots.scores import gap_figure, ranks_figure, scores_figure
from kdbench.render.plots.style import drawn_rows, style
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


def texts(svg):
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_every_task_has_its_pictures_twice_over(files):
    names = {
        f"{kind}-{task}" for kind in ("scores", "pareto", "latency", "gap") for task in ("reviews", "tweets")
    }
    assert set(files) == {f"pictures/{name}.{form}" for name in {*names, "ranks"} for form in ("svg", "png")}
    for name, content in files.items():
        if name.endswith("png"):
            pixels = matplotlib.image.imread(BytesIO(content))
            assert pixels.min() < pixels.max()


def test_drawing_twice_gives_the_same_bytes_whatever_the_users_style(board, files):
    rows, loaded = board
    with matplotlib.rc_context({"font.size": 20, "svg.fonttype": "path", "axes.facecolor": "black"}):
        again = drawn(planned(rows[rows["task"] == "reviews"], loaded))
    assert len(again) == 8
    assert again == {name: files[name] for name in again}


def test_names_are_text_however_they_read(files):
    written = texts(files["pictures/scores-reviews.svg"])
    assert {"lora", EVIL, COST, "finetune (teacher)"} <= set(written)
    assert "broken" not in written


def test_scores_show_mean_interval_and_every_seed(board):
    rows = of_task(board)
    with style():
        (axes,) = scores_figure("reviews", "accuracy", None, rows).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [row.name for row in rows]
    (seeds,) = (line for line in axes.lines if line.get_markerfacecolor() == "white")
    assert seeds.get_xdata().tolist() == [75, 75, 75]  # one row has more than one
    (intervals,) = axes.collections
    assert [tuple(ends[:, 0]) for ends in intervals.get_segments()] == [row.interval for row in rows]
    points = {point for line in axes.lines for point in zip(*line.get_data(), strict=True)}
    assert {(row.score, place) for place, row in enumerate(rows)} <= points


def test_an_interval_far_wider_than_all_scores_ends_in_arrows(board):
    rows = of_task(board)  # they score from 25 to 75 percent: an axis has half of that again
    wide = replace(rows[0], row={**rows[0].row, "score_low": -3.0, "score_high": 4.0})
    with style():
        (axes,) = scores_figure("reviews", "accuracy", None, [wide, *rows[1:]]).axes
        panels = pareto_figure("reviews", "accuracy", [wide, *rows[1:]]).axes
    assert axes.get_xlim() == pytest.approx((0 - 3, 100 + 3))
    arrows = {line.get_marker(): line for line in axes.lines if line.get_marker() in ("<", ">")}
    assert [arrows[side].get_xdata().item() for side in "<>"] == list(axes.get_xlim())
    for panel in panels:
        assert panel.get_ylim() == axes.get_xlim()
        assert {line.get_marker() for line in panel.lines} >= {"v", "^"}


def test_the_front_is_drawn_through_its_members(board):
    with style():
        latency, *_ = pareto_figure("reviews", "accuracy", of_task(board)).axes
    line = next(line for line in latency.lines if line.get_drawstyle() == "steps-post")
    assert line.get_xdata().tolist() == [2, 4, 8, 10]
    assert line.get_ydata().tolist() == [25, 50, 62.5, 75]


def test_the_gap_is_a_share_of_the_teachers_lead(board):
    # The control scores 25, the teacher 75: 62.5 is three quarters of the way, 50 is half.
    with style():
        (axes,) = gap_figure("reviews", of_task(board)).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [f"lora over {COST}", f"{EVIL} over {COST}"]
    points = [x for line in axes.lines if line.get_marker() != "None" for x in line.get_xdata()]
    assert points == pytest.approx([75, 50])


def test_no_gap_is_drawn_where_the_teacher_is_not_shown_to_lead(board):
    rows, loaded = board
    doubted = rows.assign(gap_reason="the teacher does not significantly lead the control")
    assert gap_figure("reviews", drawn_rows(doubted[doubted["task"] == "reviews"], loaded)) is None


def test_equal_ranks_stand_on_an_axis_of_whole_numbers(board):
    rows, loaded = board
    with style():
        scores = complete_scores(rows.assign(score=0.5), loaded.cells)
        (axes,) = ranks_figure(drawn_rows(rows, loaded), scores).axes
    assert [tick for tick in axes.get_xticks() if 0.4 <= tick <= 5.6] == [1, 2, 3, 4, 5]


def test_names_on_the_front_cover_no_point_and_stay_in_their_panel(board):
    with style():
        figure = pareto_figure("reviews", "accuracy", of_task(board))
        for axes in figure.axes:
            marks = [line for line in axes.lines if line.get_marker() != "None"]
            points = [point for line in marks for point in axes.transData.transform(line.get_xydata())]
            assert points
            for name in axes.texts:
                box = name.get_window_extent()
                assert not any(box.contains(*point) for point in points)
                assert axes.bbox.x0 <= box.x0 < box.x1 <= axes.bbox.x1


def test_nothing_leaves_its_picture_or_covers_another_panel(board):
    rows, loaded = board
    timings = {model.key: model for timing in loaded.timings for model in timing.models}
    own = of_task(board)
    with style():
        figures = [
            scores_figure("reviews", "accuracy", 0.5, own),
            pareto_figure("reviews", "accuracy", own),
            latency_figure("reviews", own, timings),
            gap_figure("reviews", own),
            ranks_figure(drawn_rows(rows, loaded), complete_scores(rows, loaded.cells)),
        ]
        for figure in figures:
            (legend,) = figure.legends
            panels = [axes.get_tightbbox() for axes in figure.axes]
            boxes = [
                *panels,
                legend.get_window_extent(),
                *(text.get_window_extent() for text in figure.texts),
            ]
            for box in boxes:
                assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
                assert 0 <= box.y0 < box.y1 <= figure.bbox.y1
            assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_ranks_need_two_tasks_and_a_score_on_each(board):
    rows, loaded = board
    reviews = complete_scores(rows[rows["task"] == "reviews"], loaded.cells)
    assert ranks_figure(of_task(board), reviews) is None
    with style():
        (axes,) = ranks_figure(drawn_rows(rows, loaded), complete_scores(rows, loaded.cells)).axes
    over_all = across_tasks(rows, loaded.cells).dropna(subset="average_rank")
    (bars,) = (line.get_xdata().tolist() for line in axes.lines if line.get_marker() == "|")
    assert bars == over_all["average_rank"].tolist() == [1, 2, 3, 4]
    assert {label.get_text() for label in axes.get_yticklabels()} == {row.name for row in of_task(board)}


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
    assert len({look.marker for look in looks.values()}) == 8
    assert len({look.shape for look in looks.values()}) == 8
    assert family_looks(reversed(list(looks))) == looks

"""Lines that are named at their ends: scores by label count, and validation scores during training."""

import json
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from helpers.comparisons import right
from helpers.label_counts import put_counts
from helpers.support import make_record
from hypothesis import given
from hypothesis import strategies as st

from kdbench.board.curves import curve_points
from kdbench.board.labels import label_tables
from kdbench.board.sources import read_results
from kdbench.render.plots.curves import curve_lines, curves_picture
from kdbench.render.plots.draw import draw, planned_labels
from kdbench.render.plots.labels import label_lines, labels_picture
from kdbench.render.plots.lines import spread_out
from kdbench.results.records import LearningCurve


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_names_are_moved_apart_in_their_order_and_no_further_than_needed(heights):
    placed = spread_out(heights, 12.0, 100.0)
    order = sorted(range(len(heights)), key=lambda index: (heights[index], placed[index]))
    assert all(placed[b] - placed[a] >= 12 - 1e-9 for a, b in pairwise(order))
    assert min(placed) >= 0
    assert max(placed) <= 100
    wanted = sorted(heights)
    if all(b - a >= 12 for a, b in pairwise(wanted)):
        assert placed == pytest.approx(heights)


def test_names_of_one_place_share_it_around_their_mean():
    assert spread_out([50, 50, 50], 10.0, 100.0) == [40, 50, 60]
    assert spread_out([0, 0], 10.0, 100.0) == [0, 10]
    assert spread_out([100, 95, 20], 10.0, 100.0) == [100, 90, 20]


def layers(specification, panel):
    """The mark and the data of each layer of a panel."""
    return [
        (layer["mark"], json.loads(specification["datasets"][layer["data"]["name"]]))
        for layer in specification["concat"][panel]["layer"]
    ]


def of_family(record, family):
    return record.model_copy(update={"strategy": record.strategy.model_copy(update={"family": family})})


@pytest.fixture
def tables(tmp_path):
    for row, scores in {"finetune": (600, 800), "lora": (650, 700), "ia3": (500, 600)}.items():
        counts = {16: right(scores[0]), None: right(scores[1])}
        put_counts(tmp_path, row, counts, is_teacher=row == "finetune")
    put_counts(tmp_path, "once", {16: right(900)})
    return label_tables(read_results(tmp_path), budget="quick")


def test_a_row_with_two_counts_is_a_line_with_its_intervals(tables):
    ((task, (metric, lines)),) = label_lines(tables).items()
    assert (task, metric, [line.name for line in lines]) == (
        "rotten-tomatoes",
        "accuracy",
        ["finetune (teacher)", "ia3", "lora"],
    )
    specification = labels_picture(task, metric, lines)
    drawn = layers(specification, 0)
    bands = [values for mark, values in drawn if mark["type"] == "area"]
    assert len(bands) == 3
    assert [(point["x"], point["low"] < 60 < point["high"]) for point in bands[0]] == [
        (16, True),
        (2000, False),
    ]
    black = [values for mark, values in drawn if mark["type"] == "line" and mark.get("color") == "black"]
    assert [(point["x"], point["y"]) for point in black[0]] == [(16, 60.0), (2000, 80.0)]


@pytest.mark.slow
def test_the_picture_of_label_counts_names_every_row_and_count(tables):
    (picture,) = planned_labels(tables)
    files = draw(picture)
    assert set(files) == {"pictures/labels-rotten-tomatoes.svg", "pictures/labels-rotten-tomatoes.png"}
    svg = files["pictures/labels-rotten-tomatoes.svg"]
    texts = {node.text for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {"finetune (teacher)", "lora", "ia3", "16", "2,000", "labelled training examples"} <= texts


def trained(row, family, scores, *, seed=0, flops=1000, is_teacher=False):
    """A record whose one loop was validated once every ten steps of 8 texts."""
    steps = tuple(10 * number for number in range(1, len(scores) + 1))
    curve = LearningCurve(
        steps=steps,
        losses=(1.0,) * len(steps),
        validated=steps,
        scores=scores,
        examples=8 * steps[-1],
        train_flops=flops,
    )
    return of_family(make_record(row, seed=seed, is_teacher=is_teacher, curves=(curve,)), family)


def lines_of(records):
    families = {record.strategy.label: record.strategy.family for record in records}
    teachers = frozenset(record.strategy.label for record in records if record.is_teacher)
    return curve_lines(curve_points(records), families, teachers)


def test_a_curve_is_the_mean_over_seeds_as_far_as_all_of_them_go():
    records = [
        trained("lora", "adapters", (0.4, 0.6, 0.9)),
        trained("lora", "adapters", (0.6, 0.7), seed=1),  # stopped early
        trained("once", "adapters", (0.5,)),
    ]
    lines = lines_of(records)
    (line,) = lines["examples"]
    assert line.name == "lora"
    assert [(point.x, point.y) for point in line.points] == [
        (80, pytest.approx(50)),
        (160, pytest.approx(65)),
    ]
    assert [point.x for point in lines["train_flops"][0].points] == [
        pytest.approx((1000 / 3 + 500) / 2),
        pytest.approx((2000 / 3 + 1000) / 2),
    ]


def test_what_trains_nothing_after_the_teacher_has_no_line_of_its_own():
    records = [
        trained("finetune", "fine-tuning", (0.5, 0.6), is_teacher=True),
        trained("int8", "compression", (0.5, 0.6)),
        trained("lora", "adapters", (0.5, 0.7)),
    ]
    assert [line.name for line in lines_of(records)["examples"]] == ["finetune (teacher)", "lora"]


def test_the_picture_of_curves_has_a_pair_of_panels_for_each_family():
    records = [
        trained("finetune", "fine-tuning", (0.5, 0.6), is_teacher=True, flops=2_000_000),
        trained("lora", "adapters", (0.5, 0.7)),
        trained("uncounted", "adapters", (0.4, 0.5), flops=None),
    ]
    specification = curves_picture("sst2", "accuracy", lines_of(records), 2_000_000)
    assert specification["columns"] == 2
    assert len(specification["concat"]) == 4
    assert specification["title"]["text"][2] == (
        "The teacher's own training took 2.0 MFLOPs, which only rows made from its model contain."
    )
    named = [
        {
            value["name"]
            for mark, values in layers(specification, panel)
            if mark["type"] == "text"
            for value in values
            if "name" in value
        }
        for panel in (0, 1)
    ]
    assert named == [{"finetune (teacher)", "lora", "uncounted"}, {"finetune (teacher)", "lora"}]
    assert curves_picture("sst2", "accuracy", {}, None) is None

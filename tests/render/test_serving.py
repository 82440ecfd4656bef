"""What a page says of rows that serve requests, from measurements of the test's own."""

import pytest
from helpers.boards import tables_without_predictions
from helpers.support import make_record, make_timing, markdown_table

from kdbench.budgets import BackEnd
from kdbench.measure.serving import closed_loop, open_loop
from kdbench.render.html.details import LOAD_HEADINGS, _loads
from kdbench.render.task_page import task_page
from kdbench.results.serving import ModelServing, Serving, Start

WARNING = "The machine was busy: other processes used 60% of its cores' time while models served."


def model(key, service_ms):
    """A model whose three processes take 10% less, as long, and 10% more than `service_ms`, with no wait."""
    took = [[service_ms * slow] * 130 for slow in (0.9, 1.0, 1.1)]
    elapsed = [sum(own) / 1000 for own in took]
    starts = [
        Start(
            python_s=0.5,
            imports_s=imports_s,
            load_s=0.5,
            answer_s=0.1,
            rest_bytes=400_000_000,
            loading_peak_bytes=500_000_000,
            batch_peak_bytes=900_000_000,
        )
        for imports_s in (3.0, 2.0, 5.0)
    ]
    return ModelServing(
        key=key,
        back_end=BackEnd.TORCH,
        starts=tuple(starts),
        batch_size=32,
        batch_length=128,
        open_loop=tuple(open_loop(rate, took, took) for rate in (50.0, 160.0)),
        closed_loop=(closed_loop(1, took, elapsed), closed_loop(2, took, [s / 2 for s in elapsed])),
    )


@pytest.fixture(scope="module")
def tables():
    """The tables of a teacher of 10 ms, a student of 4 ms, and a row whose model did not load."""
    names = ("finetune", "small", "broken")
    records = [make_record(name, is_teacher=name == "finetune") for name in names]
    keys = [record.key for record in records]
    broken = ModelServing(key=keys[2], back_end=BackEnd.ONNXRUNTIME, reason="the process failed: MemoryError")
    serving = Serving(
        processes=3,
        capacity_per_s=100,
        cores=2,
        warning=WARNING,
        models=(model(keys[0], 10.0), model(keys[1], 4.0), broken),
    )
    timing = make_timing(dict.fromkeys(keys, 5.0)).model_copy(update={"serving": serving})
    return tables_without_predictions(records, [timing])


@pytest.fixture(scope="module")
def page(tables):
    (statistics,) = tables.statistics.values()
    return task_page(tables.rows, tables.cells, tables.points, statistics, tables.loads)


def section(page, heading):
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def named(text):
    """Return the lines of the first table in `text` by strategy."""
    headings, *lines = markdown_table(text)
    return {line[1].split()[0]: dict(zip(headings, line, strict=True)) for line in lines}


def test_a_row_has_what_it_takes_to_start_and_to_answer(page):
    rows = named(section(page, "Serving"))
    small = {name.strip("*"): text.strip("*") for name, text in rows["small"].items()}
    assert small["end to end p50 ms"].startswith("3.9")  # the geometric mean of 3.6, 4.0 and 4.4
    assert "[" in small["end to end p50 ms"]
    assert small["cold start"] == "4.1 s (3.1 s to 6.1 s)"
    assert (small["of it imports"], small["of it loading"]) == ("3.5 s", "0.5 s")
    assert (small["memory while starting"], small["memory at rest"]) == ("500 MB", "400 MB")
    assert small["memory at 32 x 128"] == "900 MB"
    assert rows["broken"]["cold start"] == "-"


def test_rows_are_compared_at_equal_rates_and_one_beyond_capacity_says_so(page):
    text = section(page, "Latency under load")
    arrivals, clients = (part for part in text.split("\n\n") if part.strip().startswith("|"))
    rows = named(arrivals.strip())
    assert set(rows) == {"finetune", "small"}
    assert rows["finetune"]["busy at 50/s"] == "50.0%"
    assert rows["finetune"]["p95 ms at 160/s"] == "beyond capacity"
    assert rows["finetune"]["p99 ms at 160/s"] == "beyond capacity"
    assert rows["small"]["busy at 160/s"] == "64.0%"
    assert rows["small"]["p99 ms at 160/s"].strip("*") == "4.40"
    assert rows["small"]["p95 ms at 50/s"].startswith("**3.9")  # the best of the column
    per_second = named(clients)["small"]
    assert per_second["per second, 1 client"].strip("*").startswith("25")
    assert per_second["per second, 2 clients"].strip("*").startswith("50")
    assert "50, 160 per second" in text


def test_what_disturbed_and_what_failed_is_said(page):
    text = section(page, "Latency under load")
    assert f"- {WARNING}" in text
    assert "- **broken** served nothing: the process failed: MemoryError" in text


def test_every_load_is_a_line_of_its_own(tables):
    loads = tables.loads
    assert list(loads["load"]) == ["arrivals", "arrivals", "clients", "clients"] * 2 + ["none"]
    first = loads[loads["strategy"] == "finetune"].iloc[1]
    assert (first["rate_per_s"], first["utilization"], first["is_beyond_capacity"]) == (160, 1.6, True)
    assert first["reason"].startswith("beyond capacity: a request takes 10 ms of service")


def test_the_details_of_a_row_have_its_loads():
    lines = _loads(model("0" * 20, 10.0))
    assert all(len(line) == len(LOAD_HEADINGS) for line in lines)
    assert lines[1][:4] == ["160 arrivals per second", "160.0%", "-", "beyond capacity"]
    assert lines[3][0] == "2 clients"
    assert _loads(None) == []


def test_a_page_without_served_requests_has_no_such_table():
    record = make_record("finetune", is_teacher=True)
    tables = tables_without_predictions([record], [make_timing({record.key: 5.0})])
    (statistics,) = tables.statistics.values()
    text = task_page(tables.rows, tables.cells, tables.points, statistics, tables.loads)
    assert "Serving" not in text
    assert "under load" not in text
    assert tables.loads.empty

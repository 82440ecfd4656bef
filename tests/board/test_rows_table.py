from datetime import timedelta

import pandas as pd
import pytest
from helpers.boards import tables_in, tables_of, tables_without_predictions
from helpers.comparisons import put_row, right
from helpers.support import make_environment, make_record, make_timing, save_predictions

from kdbench.board.cells import tidy
from kdbench.board.columns import ROW_COLUMNS
from kdbench.board.figures import FIGURES
from kdbench.board.frames import rows_of as rows_of_table
from kdbench.board.load import load_cells
from kdbench.board.predictions import TaskAnswers
from kdbench.board.rows import aggregate
from kdbench.board.statistics import Known
from kdbench.board.tables import board_tables
from kdbench.results.records import RecordStore, Status


def rows_of(records, timings=(), results=None, known=None):
    if results is None:
        return tables_without_predictions(records, timings).rows
    return tables_of(records, results, timings, known).rows


def row(rows, strategy, task="rotten-tomatoes"):
    return rows[(rows["strategy"] == strategy) & (rows["task"] == task)].iloc[0]


def test_one_row_a_cell_and_one_a_strategy_and_task():
    records = [make_record(s, t, seed=n) for s in ("finetune", "lora") for t in ("a", "b") for n in (0, 1, 2)]
    cells = tidy(records, [])
    assert len(cells) == 12
    rows = aggregate(cells)
    assert list(zip(rows["task"], rows["strategy"], rows["seeds"], strict=True)) == [
        ("a", "finetune", 3),
        ("a", "lora", 3),
        ("b", "finetune", 3),
        ("b", "lora", 3),
    ]


def test_a_mean_of_counts_is_a_count():
    records = [make_record(seed=seed) for seed in (0, 1, 2)]
    records = [
        record.model_copy(update={"cost": record.cost.model_copy(update={"unlabelled_examples": texts})})
        for record, texts in zip(records, (63, 60, 60), strict=True)
    ]
    assert row(rows_of(records), "finetune")["unlabelled_examples"] == 61


def test_rows_of_a_task_stand_best_first_and_those_without_score_last():
    rows = rows_of(
        [
            make_record("broken", status=Status.FAILED, reason="x"),
            make_record("good", score=0.9),
            make_record("unfit", status=Status.NOT_APPLICABLE, reason="x"),
            make_record("slow", status=Status.TIMEOUT, reason="x"),
            make_record("better", score=0.95),
        ]
    )
    assert list(rows["strategy"]) == ["better", "good", "broken", "slow", "unfit"]


def test_rows_not_shown_to_differ_leave_both_ranks_open(tmp_path):
    for name, count, start in (("a", 700, 0), ("b", 800, 0), ("c", 805, 50), ("d", 900, 0)):
        put_row(tmp_path, name, {0: right(count, start=start)})
    put_row(tmp_path, "e", {0: right(10)})
    rows = tables_in(tmp_path).rows
    places = dict(zip(rows["strategy"], zip(rows["rank"], rows["tied"], strict=True), strict=True))
    assert places == {
        "d": (1, False),
        "c": (2, True),
        "b": (2, True),
        "a": (4, False),
        "e": (5, False),
    }


def test_a_derived_row_is_paired_with_its_source_seed_by_seed(tmp_path):
    # The seeds of the source differ by 60 points; each derived one loses three or four answers of its own seed.
    for name, lost, source in (
        ("finetune", (0, 0, 0), None),
        ("int8", (3, 4, 4), "finetune"),
        ("fp16", (0, 1, 1), None),
    ):
        counts = (700, 730, 760)
        made = put_row(tmp_path, name, {seed: right(counts[seed] - lost[seed]) for seed in range(3)})
        for record in made:
            strategy = record.strategy.model_copy(update={"derived_from": source})
            RecordStore(tmp_path).put(record.model_copy(update={"strategy": strategy}))
    rows = tables_in(tmp_path).rows.set_index("strategy")
    loss = rows.loc["int8"]
    assert loss["source_difference"] == pytest.approx(-0.011 / 3)
    assert -0.01 < loss["source_difference_low"] < loss["source_difference_high"] < 0
    assert not loss["no_loss"]
    assert FIGURES["source_difference"].text(rows_of_table(rows.loc[["int8"]])[0]).endswith(" (finetune)")
    lenient = board_tables(load_cells(tmp_path, budget="quick"), tmp_path, margin=0.02).rows.set_index(
        "strategy"
    )
    assert lenient.loc["int8", "no_loss"]
    # Not made from the same models, fp16 is compared with the luck of its own seeds.
    answers = TaskAnswers(load_cells(tmp_path, budget="quick").cells, tmp_path)
    unpaired, paired = (answers.difference(name, "finetune") for name in ("fp16", "int8"))
    assert unpaired.standard_error > 5 * paired.standard_error


def test_rows_made_from_the_same_models_are_compared_over_the_seeds_that_both_have(tmp_path):
    # The source's further seeds are luckier by 60 and 90 points: none of int8's doing.
    for name, counts, source in (
        ("finetune", (700, 730, 760, 820, 850), None),
        ("int8", (697, 726, 756), "finetune"),
    ):
        rows = {seed: right(count) for seed, count in enumerate(counts)}
        for record in put_row(tmp_path, name, rows, is_teacher=source is None):
            strategy = record.strategy.model_copy(update={"derived_from": source})
            RecordStore(tmp_path).put(record.model_copy(update={"strategy": strategy}))
    rows = tables_in(tmp_path).rows.set_index("strategy")
    assert rows["seeds"].to_dict() == {"finetune": 5, "int8": 3}
    assert rows.loc["finetune", "score"] == pytest.approx(0.772)
    loss = rows.loc["int8"]
    assert loss["source_difference"] == pytest.approx(-0.011 / 3)
    assert -0.012 < loss["source_difference_low"] < -0.011 / 3 < loss["source_difference_high"] < 0.005
    assert loss["share_kept"] == pytest.approx(2179 / 2190)
    assert loss["share_kept_low"] < 2179 / 2190 < loss["share_kept_high"]
    assert loss["share_kept_high"] - loss["share_kept_low"] < 0.03


def test_what_holm_takes_back_for_many_pairs_shares_a_rank(tmp_path):
    # Eight examples that only "a" has right: p of about 0.004 by itself, too much for 45 pairs.
    put_row(tmp_path, "a", {0: right(508)})
    put_row(tmp_path, "b", {0: right(500)})
    assert list(tables_in(tmp_path).rows["rank"]) == [1, 2]
    for number in range(8):
        put_row(tmp_path, f"c{number}", {0: right(500, start=100 * number)})
    rows = tables_in(tmp_path).rows.set_index("strategy")
    assert rows.loc["a", "rank"] == rows.loc["b", "rank"] == 1


def test_rows_that_answer_alike_have_the_same_ranks(tmp_path):
    # "c" and "twin" answer alike; "m", of the same score, is wrong where the best is right and alone shown to differ.
    put_row(tmp_path, "best", {0: right(812)})
    for name in ("c", "twin"):
        put_row(tmp_path, name, {0: right(800, start=300)})
    put_row(tmp_path, "m", {0: right(800)})
    rows = tables_in(tmp_path).rows
    assert list(zip(rows["strategy"], rows["rank"], rows["rank_high"], strict=True)) == [
        ("best", 1, 3),
        ("c", 1, 4),
        ("twin", 1, 4),
        ("m", 2, 4),
    ]


def test_without_predictions_there_is_no_rank():
    rows = rows_of([make_record(s, score=x) for s, x in [("a", 0.7), ("b", 0.8)]])
    assert rows[["rank", "tied", "front"]].isna().all(axis=None)


def test_a_row_whose_predictions_are_gone_has_no_rank_and_says_so(tmp_path):
    put_row(tmp_path, "a", {0: right(800)})
    (gone,) = put_row(tmp_path, "b", {0: right(700)})
    (tmp_path / "predictions" / f"{gone.key}.safetensors").unlink()
    rows = tables_in(tmp_path).rows.set_index("strategy")
    assert rows.loc["a", "rank"] == 1
    assert pd.isna(rows.loc["b", "rank"])
    assert rows.loc["b", "score"] == 0.7
    assert rows.loc["b", "warnings"] == (
        "not compared with other rows: the predictions of seed 0 are missing or damaged"
    )


def test_the_board_says_of_a_pair_what_a_comparison_says(tmp_path):
    put_row(tmp_path, "hard-labels", {seed: right(700 + 8 * seed) for seed in (0, 1, 2)})
    put_row(
        tmp_path, "kd", {seed: right(730 + 5 * seed, start=9) for seed in (0, 1, 2)}, control="hard-labels"
    )
    put_row(tmp_path, "other", {seed: right(500 + 6 * seed) for seed in (0, 1, 2)})
    row = tables_in(tmp_path).rows.set_index("strategy").loc["kd"]
    answers = TaskAnswers(load_cells(tmp_path, budget="quick").cells, tmp_path)
    found = answers.difference("kd", "hard-labels")
    assert row["control_difference"] == pytest.approx(found.difference)
    assert row["control_difference_low"] == pytest.approx(found.low)
    assert row["control_difference_high"] == pytest.approx(found.high)
    assert row["control_p"] == pytest.approx(found.p)
    assert row["control_p_holm"] >= row["control_p"]
    assert (row["score_low"], row["score_high"]) == answers.interval("kd")


def test_every_seed_is_kept_and_one_that_failed_leaves_its_place_empty():
    records = [make_record("a", score=x, seed=n) for n, x in enumerate((0.75, 0.5))]
    assert rows_of(records)["seed_scores"][0] == "0.75;0.5"
    records.append(make_record("a", seed=2, status=Status.FAILED, reason="x"))
    assert rows_of(records)["seed_scores"][0] == "0.75;0.5;"
    assert rows_of(records[2:])["seed_scores"].isna().all()


def test_means_that_differ_in_the_last_bit_alone_are_equal():
    # 0.1 + 0.2 is not 0.3 in binary: the two means differ by one bit, and stand in the order of their names.
    records = [make_record("b", score=x, seed=n) for n, x in enumerate((0.1, 0.2))]
    records += [make_record("a", score=x, seed=n) for n, x in enumerate((0.0, 0.3))]
    assert list(rows_of(records)["strategy"]) == ["a", "b"]


def test_parameters_set_by_the_user_tell_rows_apart():
    rows = rows_of([make_record("lora[r=8]", score=0.7), make_record("lora[r=16]", score=0.8)])
    assert list(rows["strategy"]) == ["lora[r=16]", "lora[r=8]"]


def test_one_seed_shows_the_interval_of_its_record():
    only = row(rows_of([make_record(score=0.785, interval=(0.76, 0.809))]), "finetune")
    assert (only["score"], only["score_low"], only["score_high"]) == (0.785, 0.76, 0.809)


def test_several_seeds_show_their_mean_and_an_interval_over_seeds_and_examples(tmp_path):
    answers = {0: [True] * 80 + [False] * 20, 1: [True] * 60 + [False] * 40}
    records = [make_record(score=sum(x) / 100, seed=n, interval=(0, 1)) for n, x in answers.items()]
    for record in records:
        save_predictions(tmp_path, record.key, answers[record.seed])
    mean = row(rows_of(records, results=tmp_path), "finetune")
    assert mean["score"] == 0.7
    assert mean["seeds"] == 2
    # Two seeds alone tell their spread with one degree of freedom: t is 12.7, and the interval useless.
    assert (mean["score_low"], mean["score_high"]) == (0.0, 1.0)
    assert mean["warnings"] is None
    for name, drawn in (("lora", (70, 74)), ("kd", (60, 63)), ("pkd", (50, 55)), ("minilm", (65, 66))):
        records += put_row(tmp_path, name, {seed: right(count, 100) for seed, count in enumerate(drawn)})
    lent = row(rows_of(records, results=tmp_path), "lora")
    assert 0.5 < lent["score_low"] < 0.65
    assert 0.79 < lent["score_high"] < 0.95


def test_seeds_are_joined_by_example_not_by_place_in_the_file(tmp_path):
    right = [True] * 50 + [False] * 50
    records = [make_record(score=0.5, seed=n) for n in (0, 1)]
    aligned, reversed_ = tmp_path / "aligned", tmp_path / "reversed"
    for folder in (aligned, reversed_):
        save_predictions(folder, records[0].key, right)
    save_predictions(aligned, records[1].key, right)
    save_predictions(reversed_, records[1].key, right[::-1], ids=list(range(100))[::-1])
    intervals = [
        rows_of(records, results=folder)[["score_low", "score_high"]] for folder in (aligned, reversed_)
    ]
    pd.testing.assert_frame_equal(*intervals)


def test_an_interval_that_is_known_is_not_drawn_again(tmp_path):
    records = [make_record(score=0.5, seed=n) for n in (0, 1)]
    for record in records:
        save_predictions(tmp_path, record.key, [True, False] * 20)
    known = Known()
    first = rows_of(records, results=tmp_path, known=known)
    again = rows_of(records, results=tmp_path / "gone", known=known)
    pd.testing.assert_frame_equal(first, again)
    assert first["score_low"].notna().all()
    rerun = [records[0], records[1].model_copy(update={"finished_at": records[1].finished_at + timedelta(1)})]
    assert pd.isna(rows_of(rerun, results=tmp_path / "gone", known=known)["score_low"]).all()


def test_seeds_without_predictions_keep_their_mean_and_say_why_there_is_no_interval(tmp_path):
    records = [make_record(score=0.5, seed=n) for n in (0, 1)]
    save_predictions(tmp_path, records[0].key, [True, False] * 20)
    mean = row(rows_of(records, results=tmp_path), "finetune")
    assert mean["score"] == 0.5
    assert pd.isna(mean["score_low"])
    assert mean["warnings"] == (
        "not compared with other rows: the predictions of seed 1 are missing or damaged"
    )
    assert str(tmp_path) not in mean["warnings"]


def test_seeds_scored_on_different_examples_have_no_common_interval(tmp_path):
    records = [make_record(score=0.5, seed=n) for n in (0, 1)]
    save_predictions(tmp_path, records[0].key, [True, False] * 20)
    save_predictions(tmp_path, records[1].key, [True, False] * 10)
    mean = row(rows_of(records, results=tmp_path), "finetune")
    assert mean["warnings"] == ("not compared with other rows: the seeds were scored on different examples")


@pytest.mark.parametrize("status", [Status.FAILED, Status.TIMEOUT])
def test_a_row_with_one_failed_seed_has_no_average(status):
    records = [
        make_record("lora", score=0.9, seed=0),
        make_record("lora", status=status, reason="out of memory", seed=1),
        make_record("lora", score=0.9, seed=2),
        make_record("finetune", score=0.5),
    ]
    rows = rows_of(records, [make_timing({records[0].key: 5.0})])
    assert list(rows["strategy"]) == ["finetune", "lora"]
    failed = row(rows, "lora")
    assert failed["status"] == status.value
    assert failed["reason"] == "seed 1: out of memory"
    assert failed["seeds"] == 3
    measured = [
        "rank",
        "score",
        "score_low",
        "train_s",
        "total_parameters",
        "p50_ms",
        "speedup",
        "share_kept",
    ]
    assert failed[measured].isna().all()


def test_a_reason_that_all_seeds_share_is_said_once():
    reason = "serves token classification alone"
    records = [make_record("crf", status=Status.NOT_APPLICABLE, reason=reason, seed=n) for n in range(3)]
    assert rows_of(records)["reason"][0] == reason


def test_each_warning_says_which_seeds_it_is_about():
    texts = {0: ("low",), 1: ("low", "odd"), 2: ()}
    records = [make_record(seed=n, warnings=warnings) for n, warnings in texts.items()]
    assert rows_of(records)["warnings"][0] == "seeds 0, 1: low; seed 1: odd"


def test_the_share_kept_is_of_the_teachers_score_on_the_same_task():
    records = [
        make_record("finetune", "a", score=0.8, is_teacher=True),
        make_record("lora", "a", score=0.6),
        make_record("finetune", "b", score=0.5, is_teacher=True),
        make_record("lora", "b", score=0.6),
        make_record("lora", "without-teacher", score=0.6),
    ]
    rows = rows_of(records)
    assert row(rows, "finetune", "a")["share_kept"] == 1
    assert row(rows, "lora", "a")["share_kept"] == 0.75
    assert row(rows, "lora", "b")["share_kept"] == 1.2
    assert pd.isna(row(rows, "lora", "without-teacher")["share_kept"])


@pytest.mark.parametrize(
    "teacher", [{"score": 0.0}, {"score": -0.1}, {"status": Status.FAILED, "reason": "x"}]
)
def test_there_is_no_share_of_a_teacher_without_a_positive_score(teacher):
    rows = rows_of([make_record("finetune", is_teacher=True, **teacher), make_record("lora", score=0.6)])
    assert rows["share_kept"].isna().all()


def test_the_difference_to_the_control_needs_both_scores():
    records = [
        make_record("vanilla-kd", score=0.755, control="hard-labels"),
        make_record("hard-labels", score=0.746),
        make_record("pkd", score=0.75, control="never-run"),
        make_record("minilm", score=0.75, control="broken"),
        make_record("broken", status=Status.FAILED, reason="x"),
    ]
    rows = rows_of(records)
    assert row(rows, "vanilla-kd")["control_difference"] == 0.009
    assert rows[rows["strategy"] != "vanilla-kd"]["control_difference"].isna().all()


def test_both_controls_are_held_against_a_row():
    records = [
        make_record("vanilla-kd", score=0.755, control="hard-labels", base_control="hard-labels[init=base]"),
        make_record("hard-labels", score=0.746),
        make_record("hard-labels[init=base]", score=0.715),
    ]
    kd = row(rows_of(records), "vanilla-kd")
    assert (kd["control_difference"], kd["base_difference"]) == (0.009, 0.04)


def test_training_time_is_the_mean_and_size_and_latency_are_the_timed_seeds():
    records = [
        make_record("prune", seed=1, train_s=10.0, parameters=100, artifact_bytes=400),
        make_record("prune", seed=2, train_s=20.0, parameters=90, artifact_bytes=360),
    ]
    rows = rows_of(records, [make_timing({records[1].key: 4.0}, teacher_ms=10.0)])
    assert rows["train_s"][0] == 15.0
    assert rows["total_parameters"][0] == 90
    assert rows["artifact_bytes"][0] == 360
    assert (rows["p50_ms"][0], rows["speedup"][0]) == (4.0, 2.5)


def test_without_a_timing_there_is_no_latency():
    rows = rows_of([make_record()])
    assert rows[["p50_ms", "p95_ms", "speedup", "latency_note"]].isna().all(axis=None)


def test_a_speedup_stands_with_its_interval_and_what_few_calls_do_not_carry_is_missing():
    record = make_record()
    timing = make_timing({record.key: 4.0})
    point = timing.models[0].main.model_copy(
        update={"p90_ms": 4.2, "p95_ms": None, "speedup_low": 2.3, "speedup_high": 2.8}
    )
    back_end = timing.models[0].back_ends[0].model_copy(update={"points": (point,)})
    model = timing.models[0].model_copy(update={"back_ends": (back_end,)})
    rows = rows_of([record], [timing.model_copy(update={"models": (model,)})])
    found = rows[["p50_ms", "p90_ms", "speedup", "speedup_low", "speedup_high"]].iloc[0].tolist()
    assert found == [4.0, 4.2, 2.5, 2.3, 2.8]
    assert pd.isna(rows["p95_ms"][0])


def test_the_newest_timing_of_a_cell_counts():
    record = make_record()
    timings = [make_timing({record.key: 4.0}, minutes=20), make_timing({record.key: 5.0}, minutes=10)]
    assert rows_of([record], timings)["p50_ms"][0] == 4.0


def test_latencies_of_other_hardware_leave_the_list_and_are_told_in_a_note():
    records = [make_record(s, score=x) for s, x in [("finetune", 0.8), ("lora", 0.7), ("int8", 0.6)]]
    elsewhere = make_timing({records[2].key: 1.0}, environment=make_environment("M4"), minutes=99)
    rows = rows_of(records, [make_timing({records[0].key: 10.0, records[1].key: 9.0}), elsewhere])
    assert list(rows["p50_ms"].dropna()) == [10.0, 9.0]
    note = row(rows, "int8")["latency_note"]
    assert "p50 1.00 ms" in note
    assert "M4" in note
    assert row(rows, "int8")[["p50_ms", "p90_ms", "p95_ms", "speedup", "speedup_low"]].isna().all()


def test_a_table_of_failures_alone_has_the_same_columns_and_types():
    full = rows_of([make_record(warnings=("w",), control="x")], [make_timing({make_record().key: 1.0})])
    failed = rows_of([make_record(status=Status.FAILED, reason="x")])
    assert list(full.columns) == list(failed.columns) == list(ROW_COLUMNS)
    numbers = [name for name, kind in ROW_COLUMNS.items() if kind != "object"]
    assert full[numbers].dtypes.equals(failed[numbers].dtypes)


def test_the_gap_recovered_is_the_share_of_the_teachers_lead_over_the_control():
    def gap(teacher, control, student):
        rows = rows_of_scores({"finetune": teacher, "hard-labels": control, "vanilla-kd": student})
        return row(rows, "vanilla-kd")["gap_recovered"]

    assert gap(0.8, 0.7, 0.75) == 0.5
    assert gap(0.8, 0.7, 0.65) == -0.5
    assert gap(0.8, 0.7, 0.85) == 1.5
    assert pd.isna(gap(0.7, 0.7, 0.75))  # no lead
    assert pd.isna(gap(0.6, 0.7, 0.75))
    assert pd.isna(gap(0.8, None, 0.75))
    assert pd.isna(gap(None, 0.7, 0.75))


def rows_of_scores(scores):
    return aggregate(
        tidy(
            [
                make_record(
                    name,
                    score=score,
                    status=Status.OK if score is not None else Status.FAILED,
                    is_teacher=name == "finetune",
                    control="hard-labels" if name == "vanilla-kd" else None,
                )
                for name, score in scores.items()
            ],
            [],
        )
    )

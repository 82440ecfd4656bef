"""What to ship, on rows whose outcome is counted by hand."""

import io
import json

import pytest
from helpers.comparisons import put_row, put_times, right
from helpers.support import make_record
from rich.console import Console

from kdbench.board.limits import limits_of
from kdbench.board.load import load_cells
from kdbench.board.recommend import recommend
from kdbench.budgets import BackEnd
from kdbench.errors import KdbenchError, UsageError
from kdbench.render.recommend import print_recommendation, reason, recommendation_data
from kdbench.results.records import RecordStore, Status
from kdbench.results.timings import Best, Speed, load_timings, put_timing

# Rows of 1,000 examples: answers right, parameters, p50. `tied` answers 2 others right than `best`, as many.
ROWS = {
    "best": (right(800), 22_000_000, 8.0),
    "tied": (right(800, start=2), 11_000_000, 4.0),
    "weak": (right(700), 5_000_000, 2.0),
    "tiny": (right(600), 1_000_000, 1.0),
}


@pytest.fixture
def results(tmp_path):
    times = {}
    for name, (answers, parameters, ms) in ROWS.items():
        (record,) = put_row(
            tmp_path, name, {0: answers}, parameters=parameters, artifact_bytes=4 * parameters
        )
        times[record.key] = ms
    put_times(tmp_path, times)
    return tmp_path


def recommended(results, task="rotten-tomatoes", **limits):
    flags = dict.fromkeys(("max_latency_ms", "max_params", "max_bytes", "min_quality")) | limits
    return recommend(load_cells(results, budget="quick"), results, task, limits_of(**flags))


def name(candidate):
    return candidate.row["strategy"]


def test_of_rows_shown_to_be_within_the_margin_the_fastest_is_recommended(results):
    found = recommended(results)
    assert name(found.chosen) == "tied"
    assert {name(candidate) for candidate in found.equals} == {"best", "tied"}
    assert found.excluded == ()
    weak = next(candidate for candidate in found.candidates if name(candidate) == "weak")
    assert weak.behind.difference == pytest.approx(0.1)
    assert not weak.is_equal
    assert not weak.may_be_best


def test_a_row_of_which_too_little_is_known_is_not_good_enough_and_named(results):
    put_row(results, "other", {0: right(800, start=100)}, parameters=1)
    found = recommended(results, min_quality="75")
    assert name(found.chosen) == "tied"
    other = next(candidate for candidate in found.candidates if name(candidate) == "other")
    # Equal scores with a standard error of 1.4 points: it may be the best, or a point worse.
    assert other.may_be_best
    assert not other.is_equal
    assert "More seeds or examples may show that other rows are as good: other." in reason(found)
    cells = load_cells(results, budget="quick")
    lenient = recommend(cells, results, "rotten-tomatoes", limits_of(min_quality="75"), margin=0.05)
    assert "other" in {name(candidate) for candidate in lenient.equals}


def put_speeds(results, speeds):
    """Give rows a p95 in ms and sentences per second in batches."""
    (timing,), _ = load_timings(results)
    keys = load_cells(results, budget="quick").cells.set_index("key")["strategy"]

    def model(one):
        p95, per_s = speeds[keys[one.key]]
        bests = (
            one.best_at(Speed.SINGLE),
            Best(speed=Speed.P95, back_end=BackEnd.TORCH, value=p95),
            Best(speed=Speed.THROUGHPUT, back_end=BackEnd.ONNXRUNTIME, value=per_s),
        )
        return one.model_copy(update={"best": bests})

    put_timing(results, timing.model_copy(update={"models": tuple(map(model, timing.models))}))


@pytest.mark.parametrize(
    ("speed", "chosen", "rule"),
    [
        (Speed.SINGLE, "tied", "the lowest p50 in a row's best back end"),
        (Speed.THROUGHPUT, "best", "the most sentences per second in batches in a row's best back end"),
        (Speed.P95, "best", "the lowest p95 in a row's best back end"),
    ],
)
def test_what_fast_means_decides(results, speed, chosen, rule):
    put_speeds(
        results, {"best": (9.0, 500.0), "tied": (20.0, 400.0), "weak": (3.0, 800.0), "tiny": (2.0, 900.0)}
    )
    cells = load_cells(results, budget="quick")
    found = recommend(cells, results, "rotten-tomatoes", [], speed=speed)
    assert name(found.chosen) == chosen
    data = recommendation_data(found)
    assert (data["speed"], rule in data["rule"]) == (speed.value, True)
    # A limit on latency is one on the p95 where that decides.
    limits = limits_of(max_latency_ms="10", max_params=None, max_bytes=None, min_quality="75")
    within = recommend(cells, results, "rotten-tomatoes", limits, speed=speed).candidates
    admitted = ["best"] if speed is Speed.P95 else ["best", "tied"]
    assert sorted(name(candidate) for candidate in within) == admitted


def test_a_million_examples_cost_what_the_machine_costs_meanwhile(results):
    put_speeds(results, {"best": (9, 500.0), "tied": (20, 1000.0), "weak": (3, 800.0), "tiny": (2, 2000.0)})
    found = recommended(results, max_params="12M")
    # 1,000 a second are a million in 1,000 seconds: at 0.36 an hour 0.1.
    costs = recommendation_data(found, 0.36)["cost_per_million"]
    assert costs == pytest.approx({"tied": 0.1, "weak": 0.125, "tiny": 0.05})
    out = Console(file=io.StringIO(), width=200)
    print_recommendation(found, out, 0.36)
    told = (
        "At 0.36 an hour, a million examples in batches on all cores cost: tiny 0.05, tied 0.1, weak 0.125."
    )
    assert told in out.file.getvalue()
    assert "cost_per_million" not in recommendation_data(found)


def test_what_was_not_timed_in_batches_has_no_price(results):
    out = Console(file=io.StringIO(), width=200)
    print_recommendation(recommended(results), out, 0.36)
    assert "so that a million examples have no price" in out.file.getvalue()


def test_limits_leave_rows_out_and_each_says_by_which(results):
    found = recommended(results, max_latency_ms="3", max_params="10M")
    assert name(found.chosen) == "weak"
    assert {out.row["strategy"]: out.reasons for out in found.excluded} == {
        "best": ("--max-latency-ms 3 (8.00 ms)", "--max-params 10M (22.0M)"),
        "tied": ("--max-latency-ms 3 (4.00 ms)", "--max-params 10M (11.0M)"),
    }
    assert found.best_of_all["strategy"] == "best"
    assert found.cost.difference == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("limits", "chosen"),
    [
        ({"max_bytes": "4MB"}, "tiny"),
        ({"max_bytes": "20MB"}, "weak"),
        ({"min_quality": "77"}, "tied"),
        ({"max_latency_ms": "1"}, "tiny"),
        ({"max_latency_ms": "4", "min_quality": "65"}, "tied"),
    ],
)
def test_every_limit_counts(results, limits, chosen):
    assert name(recommended(results, **limits).chosen) == chosen


def test_without_timings_the_smallest_is_recommended_and_it_is_said(tmp_path):
    for row, (answers, parameters, _) in ROWS.items():
        put_row(tmp_path, row, {0: answers}, parameters=parameters)
    found = recommended(tmp_path)
    assert name(found.chosen) == "tied"
    assert not found.is_timed
    assert "the smallest (no timing)" in reason(found)
    with pytest.raises(KdbenchError, match="no row of rotten-tomatoes is timed") as refused:
        recommended(tmp_path, max_latency_ms="5")
    assert not isinstance(refused.value, UsageError)


def test_nothing_within_the_limits_names_the_one_that_binds_and_the_nearest_miss(results):
    with pytest.raises(KdbenchError) as refused:
        recommended(results, max_latency_ms="0.9", max_params="30M")
    told = str(refused.value)
    assert not isinstance(refused.value, UsageError)
    assert "--max-latency-ms 0.9 binds: without it 4 rows would do" in told
    assert "--max-params 30M binds" not in told
    assert "the nearest is tiny, which misses --max-latency-ms 0.9 (1.00 ms)" in told
    with pytest.raises(KdbenchError, match="no single limit alone keeps all out"):
        recommended(results, max_latency_ms="0.5", max_params="0.5M")


def test_limits_that_only_together_keep_all_out_both_bind(results):
    with pytest.raises(KdbenchError) as refused:
        recommended(results, max_params="2M", min_quality="75")
    assert "--max-params 2M binds: without it 2 rows would do" in str(refused.value)
    assert "--min-quality 75 binds: without it 1 row would do" in str(refused.value)


def test_a_row_without_a_score_is_no_candidate(results):
    RecordStore(results).put(make_record("broken", status=Status.FAILED, reason="diverged", parameters=1))
    found = recommended(results)
    assert [(out.row["strategy"], out.reasons) for out in found.excluded] == [
        ("broken", ("no score: failed",))
    ]


def test_a_task_of_failures_has_nothing_to_ship(tmp_path):
    RecordStore(tmp_path).put(make_record("broken", status=Status.FAILED, reason="diverged"))
    with pytest.raises(KdbenchError, match="no row of rotten-tomatoes has a score"):
        recommended(tmp_path)


def test_a_row_whose_answers_are_lost_is_no_equal_of_the_best(results):
    cells = load_cells(results, budget="quick").cells
    key = cells.loc[cells["strategy"] == "tied", "key"].iloc[0]
    (results / "predictions" / f"{key}.safetensors").unlink()
    found = recommended(results)
    assert name(found.chosen) == "best"
    tied = next(candidate for candidate in found.candidates if name(candidate) == "tied")
    assert tied.problem == "tied: the predictions of seed 0 are missing or damaged"
    assert not tied.is_equal


def test_an_unknown_task_is_refused(results):
    with pytest.raises(UsageError, match="did you mean 'rotten-tomatoes'"):
        recommended(results, "rotten-tomatos")


def test_the_reason_says_what_is_shipped_why_and_at_what_cost(results):
    found = recommended(results, max_latency_ms="3")
    told = reason(found)
    assert told.startswith("Ship weak for rotten-tomatoes: 70.0 [")
    assert (
        "It is the best within the limits, and no other row there is shown to be less than 0.5 points worse."
        in told
    )
    assert (
        "The best score without limits is that of best: 80.0 accuracy, 22.0M parameters, 88.0 MB, p50 8.00 ms in torch."
        in told
    )
    assert "the choice costs 10.0 points of accuracy" in told
    assert "takes 23% of its parameters, 23% of its bytes, 25% of its p50" in told
    equals = reason(recommended(results))
    fastest = (
        "It is the fastest of 2 rows on the board (no limit was given) shown to be less than 0.5 points worse"
    )
    assert fastest in equals
    assert "Compared with best it scores +0.0 points" in equals


def test_a_warning_is_told_of_whatever_row_is_named(tmp_path):
    put_row(tmp_path, "best", {0: right(900)}, parameters=9, warnings=("has seen 7 of the answers",))
    put_row(tmp_path, "small", {0: right(700)}, parameters=3, warnings=("answers one label alone",))
    found = recommended(tmp_path)
    assert "It has a warning: has seen 7 of the answers." in reason(found)
    assert recommendation_data(found)["candidates"][1]["warnings"] == "answers one label alone"
    told = reason(recommended(tmp_path, max_params="5"))
    assert "It has a warning: answers one label alone." in told
    assert "; warning: has seen 7 of the answers. Compared with it the choice costs" in told
    file = io.StringIO()
    print_recommendation(found, Console(file=file, width=100))
    assert ", p < 0.001); warning: answers one label alone\n" in file.getvalue()


def test_a_quality_that_may_be_luck_is_below_the_limit(results):
    # 800 of 1,000 are right; the interval ends at 77.5.
    with pytest.raises(KdbenchError, match=r"--min-quality 79 \(80.0, at 95% down to 77.[45]\)"):
        recommended(results, min_quality="79")


def test_the_terminal_names_every_row_and_the_json_holds_the_same(results):
    found = recommended(results, max_latency_ms="5")
    file = io.StringIO()
    print_recommendation(found, Console(file=file, width=100, markup=False, highlight=False))
    assert "best: excluded by --max-latency-ms 5 (8.00 ms)" in file.getvalue()
    assert "weak: 70.0 accuracy" in file.getvalue()
    assert "Rule: " in file.getvalue()
    data = json.loads(json.dumps(recommendation_data(found)))
    assert data["recommended"]["strategy"] == "tied"
    assert data["limits"] == {"--max-latency-ms": 5.0}
    assert [one["strategy"] for one in data["candidates"]] == ["tied", "weak", "tiny"]
    assert data["excluded"] == [{"strategy": "best", "reasons": ["--max-latency-ms 5 (8.00 ms)"]}]
    assert data["best_of_all"]["strategy"] == "best"

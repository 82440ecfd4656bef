"""Two rows side by side, on predictions whose outcome is counted by hand."""

import pytest
from helpers.comparisons import put_row, put_times, right
from helpers.support import make_record
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests

from kdbench.board.compare import Wins, compare
from kdbench.board.load import load_cells
from kdbench.errors import UsageError
from kdbench.render.compare import conclusion
from kdbench.results.records import RecordStore, Status


def compared(results, a="lora", b="hard-labels", tasks=()):
    return compare(load_cells(results, budget="quick"), results, a, b, list(tasks))


def only(comparison):
    (task,) = comparison.tasks
    return task


def test_a_row_that_is_right_wherever_the_other_is_and_more_is_shown_better(tmp_path):
    put_row(tmp_path, "lora", {0: right(800)})
    put_row(tmp_path, "hard-labels", {0: right(750)})
    comparison = compared(tmp_path)
    contrast = only(comparison).contrast
    # 50 of 1,000 examples decide: a standard error of sqrt(0.05 * 0.95 / 1000) = 0.0069.
    assert contrast.difference.difference == pytest.approx(0.05)
    assert contrast.difference.standard_error == pytest.approx(0.0069, rel=0.1)
    assert contrast.difference.low == pytest.approx(0.0365, abs=0.002)
    assert contrast.difference.high == pytest.approx(0.0635, abs=0.002)
    found = contrast.mcnemar[0]
    assert (found.only_a, found.only_b) == (50, 0)
    assert found.p == pytest.approx(2 * 0.5**50)
    assert contrast.randomization_p < 0.001
    assert contrast.is_significant
    assert [comparison.count(sign) for sign in (1, 0, -1)] == [1, 0, 0]
    assert [compared(tmp_path, "hard-labels", "lora").count(sign) for sign in (1, 0, -1)] == [0, 0, 1]


def test_as_many_examples_gained_as_lost_show_nothing_and_the_blind_spot_is_told(tmp_path):
    put_row(tmp_path, "lora", {0: right(800)})
    put_row(tmp_path, "hard-labels", {0: right(800, start=100)})
    contrast = only(compared(tmp_path)).contrast
    assert contrast.difference.difference == 0
    assert (contrast.mcnemar[0].only_a, contrast.mcnemar[0].only_b) == (100, 100)
    assert contrast.mcnemar[0].p == pytest.approx(binomtest(100, 200).pvalue)
    assert contrast.adjusted_p == 1
    # A standard error of sqrt(0.2 / 1000) = 0.0141, and 1.96 + 0.84 of them for a power of 80%.
    assert contrast.smallest_detectable == pytest.approx(0.0396, rel=0.06)


def test_one_row_twice_answered_alike_differs_by_nothing(tmp_path):
    for name in ("lora", "hard-labels"):
        put_row(tmp_path, name, {0: right(700), 1: right(710)})
    difference = only(compared(tmp_path)).contrast.difference
    assert (difference.difference, difference.low, difference.high, difference.p) == (0, 0, 0, 1)


def test_p_is_corrected_over_the_tasks_compared(tmp_path):
    counts = {"a": 760, "b": 770, "c": 800}
    for task, count in counts.items():
        put_row(tmp_path, "lora", {0: right(count, start=50)}, task)
        put_row(tmp_path, "hard-labels", {0: right(750)}, task)
    comparison = compared(tmp_path)
    p = [task.contrast.difference.p for task in comparison.tasks]
    corrected = multipletests(p, method="holm")[1]
    assert [task.contrast.adjusted_p for task in comparison.tasks] == pytest.approx(list(corrected))
    alone = only(compared(tmp_path, tasks=["b"])).contrast
    assert alone.adjusted_p == pytest.approx(p[1])


def test_one_seed_speaks_of_its_model_alone_and_more_seeds_of_the_strategy(tmp_path):
    put_row(tmp_path, "lora", {0: right(800)})
    put_row(tmp_path, "hard-labels", {0: right(750)})
    single = compared(tmp_path)
    assert not only(single).contrast.seeds_are_known
    assert "not the strategies" in conclusion(single)
    for name, count in (("lora", 800), ("hard-labels", 750)):
        put_row(tmp_path, name, {1: right(count + 6), 2: right(count - 5)})
    several = compared(tmp_path)
    assert only(several).contrast.seeds_are_known
    assert "not the strategies" not in conclusion(several)
    assert only(several).contrast.difference.df < 1e6


def test_the_seeds_that_both_have_are_tested_against_each_other(tmp_path):
    put_row(tmp_path, "lora", {0: right(800), 1: right(790)})
    put_row(tmp_path, "hard-labels", {1: right(750), 2: right(740)})
    contrast = only(compared(tmp_path)).contrast
    assert list(contrast.mcnemar) == [1]
    assert contrast.mcnemar[1].only_a == 40
    put_row(tmp_path, "int8", {7: right(750)})
    apart = only(compared(tmp_path, "lora", "int8")).contrast
    assert apart.randomization_p is None
    assert apart.mcnemar == {}
    assert apart.difference.difference == pytest.approx(0.045)


def test_mcnemar_is_for_accuracy_alone(tmp_path):
    for name, count in (("lora", 800), ("hard-labels", 750)):
        put_row(tmp_path, name, {0: right(count)}, metric="macro-f1")
    contrast = only(compared(tmp_path)).contrast
    assert contrast.mcnemar == {}
    assert contrast.randomization_p < 0.001


def test_each_row_has_its_figures_and_the_interval_of_its_score(tmp_path):
    (one,) = put_row(tmp_path, "lora", {0: right(800)}, parameters=1_000_000)
    put_row(tmp_path, "hard-labels", {0: right(750)})
    put_times(tmp_path, {one.key: 4.0})
    task = only(compared(tmp_path))
    assert (task.a["score"], task.a["total_parameters"], task.a["p50_ms"]) == (0.8, 1_000_000, 4.0)
    assert task.b["p50_ms"] is None
    # A binomial interval: 0.8 -+ 1.96 * sqrt(0.8 * 0.2 / 1000).
    assert task.interval_a == pytest.approx((0.775, 0.825), abs=0.004)


def test_a_task_on_which_one_failed_is_named_and_counts_for_nothing(tmp_path):
    for task in ("a", "b"):
        put_row(tmp_path, "lora", {0: right(800)}, task)
    put_row(tmp_path, "hard-labels", {0: right(750)}, "a")
    RecordStore(tmp_path).put(make_record("hard-labels", "b", status=Status.TIMEOUT, reason="took 60 s"))
    comparison = compared(tmp_path)
    failed = next(task for task in comparison.tasks if task.task == "b")
    assert failed.contrast is None
    assert failed.problem == "hard-labels timeout: took 60 s"
    assert "On b no conclusion is possible (hard-labels timeout: took 60 s)." in conclusion(comparison)
    assert sum(comparison.count(sign) for sign in (1, 0, -1)) == 1


def test_lost_predictions_leave_a_task_out_with_the_reason(tmp_path):
    (one,) = put_row(tmp_path, "lora", {0: right(800)})
    put_row(tmp_path, "hard-labels", {0: right(750)})
    (tmp_path / "predictions" / f"{one.key}.safetensors").unlink()
    problem = only(compared(tmp_path)).problem
    assert problem == "lora: the predictions of seed 0 are missing or damaged"


def test_tasks_of_one_row_alone_are_named(tmp_path):
    put_row(tmp_path, "lora", {0: right(80, 100)}, "a")
    put_row(tmp_path, "lora", {0: right(80, 100)}, "b")
    put_row(tmp_path, "hard-labels", {0: right(75, 100)}, "a")
    put_row(tmp_path, "hard-labels", {0: right(75, 100)}, "c")
    comparison = compared(tmp_path)
    assert [task.task for task in comparison.tasks] == ["a"]
    assert (comparison.only_a, comparison.only_b) == (("b",), ("c",))


@pytest.mark.parametrize(
    ("a", "b", "tasks", "told"),
    [
        ("lorra", "hard-labels", [], "did you mean 'lora'"),
        ("lora", "hard", [], "no row 'hard'"),
        ("lora", "lora", [], "two different rows"),
        ("lora", "hard-labels", ["rotten-tomatos"], "did you mean 'rotten-tomatoes'"),
        ("lora", "apart", [], "no task is shared"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, a, b, tasks, told):
    put_row(tmp_path, "lora", {0: right(80, 100)})
    put_row(tmp_path, "hard-labels", {0: right(75, 100)})
    put_row(tmp_path, "apart", {0: right(75, 100)}, "another")
    with pytest.raises(UsageError, match=told) as refused:
        compared(tmp_path, a, b, tasks)
    assert "\n" not in str(refused.value)


def test_the_almost_stochastic_order_is_shown_where_asked_for_and_there_are_seeds(tmp_path):
    put_row(tmp_path, "lora", {seed: right(800 + seed) for seed in range(5)})
    put_row(tmp_path, "hard-labels", {seed: right(700 + seed) for seed in range(5)})
    loaded = load_cells(tmp_path, budget="quick")
    contrast = only(compare(loaded, tmp_path, "lora", "hard-labels", [], aso=True)).contrast
    # Of each of five seeds 100 examples more.
    assert contrast.wins == Wins(wins=500, ties=4500, losses=0)
    # Every seed of the one is above every seed of the other.
    assert contrast.almost_stochastic_order == (0, 1)
    assert only(compared(tmp_path)).contrast.almost_stochastic_order is None
    put_row(tmp_path, "single", {0: right(600)})
    loaded = load_cells(tmp_path, budget="quick")
    single = only(compare(loaded, tmp_path, "lora", "single", [], aso=True)).contrast
    assert single.almost_stochastic_order is None

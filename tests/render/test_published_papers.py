"""The table of published results."""

from collections import Counter

import pytest
from kdbench_tasks.glue import GLUE

from kdbench.evaluation.metrics import METRICS
from kdbench.render.published import all_published_results, family_of

TASKS = {task.name: task for task in GLUE}


def test_every_result_is_of_a_task_and_a_metric_that_suits_it():
    for result in all_published_results():
        task = TASKS[result.task]
        assert task.kind in METRICS[result.metric].kinds
        assert result.metric in (task.metric, *task.metrics, "accuracy")


def test_scores_are_fractions_and_no_result_stands_twice():
    results = all_published_results()
    assert all(-1 <= result.score <= 1 for result in results)
    assert max(result.score for result in results) > 0.5
    counts = Counter(
        (str(result.source), result.system, result.base, result.task, result.split, result.metric)
        for result in results
    )
    assert set(counts.values()) == {1}


def test_every_result_names_its_source_and_place():
    for result in all_published_results():
        assert result.source.authors
        assert 2018 <= result.source.year <= 2026
        # An arXiv number begins with year and month; a paper's year is that of its preprint or the next.
        assert result.source.year - (2000 + int(result.source.arxiv[:2])) in (0, 1)
        assert "able" in result.source.place
        assert (result.speedup is None) == (result.speedup_over is None)


def test_a_student_is_smaller_than_the_base_of_which_it_is_faster():
    by_name = {result.system: result for result in all_published_results() if result.task == "sst2"}
    teacher = by_name["BERT-base (TinyBERT's teacher)"]
    for name in ("TinyBERT4", "TinyBERT6"):
        assert by_name[name].parameters < teacher.parameters
        assert by_name[name].speedup > 1
    # 109M / 14.5M: "7.5x smaller and 9.4x faster" is the paper's own summary.
    assert teacher.parameters / by_name["TinyBERT4"].parameters == pytest.approx(7.5, abs=0.05)
    assert by_name["TinyBERT4"].speedup == 9.4


def test_distilbert_keeps_97_percent_as_its_paper_says():
    # The paper's 97% is over all of GLUE; on these tasks, read from the same table, the share is no smaller.
    of_sanh = [result for result in all_published_results() if result.source.arxiv == "1910.01108"]
    bert, distilled = (
        {result.task: result.score for result in of_sanh if result.system == name}
        for name in ("BERT-base", "DistilBERT")
    )
    assert distilled["sst2"] / bert["sst2"] == pytest.approx(0.985, abs=0.001)
    assert set(bert) == set(distilled)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("all-MiniLM-L6-v2", "minilm"),
        ("bert-base-uncased", "bert"),
        ("FacebookAI/roberta-base", "roberta"),
        ("distilroberta-base", "distilroberta"),
        ("distilbert-base-uncased", "distilbert"),
        ("tiny-model", None),
    ],
)
def test_a_models_name_shows_its_family(model, family):
    assert family_of(model) == family

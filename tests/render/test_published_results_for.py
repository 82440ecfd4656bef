"""Published results beside a board's setting."""

from kdbench.render.published import family_of, results_for

CELL = {
    "task": "sst2",
    "metric": "accuracy",
    "scored_split": "dev",
    "scored_examples": 872,
    "train_examples": 67_349,
    "model": "bert-base-uncased",
}


def beside(cell, system, arxiv):
    return next(
        found
        for found in results_for(cell)
        if found.result.system == system and found.result.source.arxiv == arxiv
    )


def test_the_same_model_on_the_same_split_differs_in_the_training_set_alone():
    found = beside(CELL, "BERT-base", "1910.01108")
    assert found.result.family == family_of(CELL["model"])
    assert found.differences == ("the whole training set (here 67,349 examples)",)


def test_every_difference_is_stated():
    here = CELL | {"model": "all-MiniLM-L6-v2", "scored_examples": 400, "train_examples": 2_000}
    found = beside(here, "DistilBERT", "1910.01108")
    assert found.result.family != family_of(here["model"])
    assert found.differences == (
        "pretrained model distilbert-base-uncased (here all-MiniLM-L6-v2)",
        "scored on 872 examples (here 400 of them)",
        "the whole training set (here 2,000 examples)",
        "distilled during pretraining, fine-tuned on the labels alone",
    )
    tiny = beside(here, "TinyBERT4", "1909.10351")
    assert "test split (here dev)" in tiny.differences
    assert "data augmentation" in tiny.differences
    lstm = beside(here, "BiLSTM, distilled", "1903.12136")
    assert "no pretrained model (here all-MiniLM-L6-v2)" in lstm.differences


def test_another_metric_is_a_difference():
    here = CELL | {"task": "qqp", "metric": "f1", "scored_examples": 40_430, "model": "roberta-base"}
    assert "accuracy (here f1)" in beside(here, "RoBERTa-base", "1907.11692").differences
    assert not any("(here f1)" in line for line in beside(here, "TinyBERT4", "1909.10351").differences)


def test_the_same_family_and_split_come_first():
    found = results_for(CELL)
    is_same = [one.result.family == family_of(CELL["model"]) for one in found]
    assert is_same == sorted(is_same, reverse=True)
    family = [one.result.split for one, same in zip(found, is_same, strict=True) if same]
    assert family == sorted(family)  # dev, which is the board's, before test
    assert len(found) > len(family) > 0


def test_a_hub_id_is_the_model_that_it_names():
    here = CELL | {"model": "google-bert/bert-base-uncased"}
    assert not any("pretrained" in line for line in beside(here, "BERT-base", "1910.01108").differences)


def test_a_task_that_no_paper_has_gets_none():
    assert results_for(CELL | {"task": "toy-sentiment"}) == []
    assert results_for(CELL | {"task": "twitter-ner"}) == []

"""Published results beside a board's setting."""

from dataclasses import replace

from kdbench.render.published import Setting, results_for

SETTING = Setting("sst2", "accuracy", "dev", 872, 67_349, "bert-base-uncased")


def beside(setting, system, arxiv):
    return next(
        found
        for found in results_for(setting)
        if found.result.system == system and found.result.source.arxiv == arxiv
    )


def test_the_same_model_on_the_same_split_differs_in_the_training_set_alone():
    found = beside(SETTING, "BERT-base", "1910.01108")
    assert found.is_same_family
    assert found.differences == ("the whole training set (here 67,349 examples)",)


def test_every_difference_is_stated():
    here = replace(SETTING, model="all-MiniLM-L6-v2", scored_examples=400, train_examples=2_000)
    found = beside(here, "DistilBERT", "1910.01108")
    assert not found.is_same_family
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
    here = Setting("qqp", "f1", "dev", 40_430, 5_000, "roberta-base")
    assert "accuracy (here f1)" in beside(here, "RoBERTa-base", "1907.11692").differences
    assert not any("(here f1)" in line for line in beside(here, "TinyBERT4", "1909.10351").differences)


def test_the_same_family_and_split_come_first():
    found = results_for(SETTING)
    assert [one.is_same_family for one in found] == sorted(
        (one.is_same_family for one in found), reverse=True
    )
    family = [one.result.split for one in found if one.is_same_family]
    assert family == sorted(family)  # dev, which is the board's, before test
    assert len(found) > len(family) > 0


def test_a_hub_id_is_the_model_that_it_names():
    here = replace(SETTING, model="google-bert/bert-base-uncased")
    assert not any("pretrained" in line for line in beside(here, "BERT-base", "1910.01108").differences)


def test_a_task_that_no_paper_has_gets_none():
    assert results_for(replace(SETTING, task="toy-sentiment")) == []

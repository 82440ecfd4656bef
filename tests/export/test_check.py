"""A model that is not the artifact is found out."""

import pytest
import torch

from kdbench.errors import KdbenchError
from kdbench.export.check import check_export
from kdbench.models.build import load_base
from kdbench.results.quality import quality_of
from kdbench.training.predict import predict


@pytest.fixture
def parts(make_experiment, tiny_model):
    experiment = make_experiment()
    labels = experiment.task.task.labels
    one, other = (load_base(tiny_model, experiment.kind, labels, seed=seed).eval() for seed in (0, 1))
    answers = predict(one, experiment.task.scored, experiment.collate, device=torch.device("cpu"))
    return experiment, one, other, answers


def test_a_model_is_like_itself(parts):
    experiment, one, _, answers = parts
    recorded = quality_of(answers, experiment.task.task)
    checked = check_export(one, one, experiment.task, experiment.collate, answers, recorded, exact=True)
    assert (checked.drift, checked.probe_examples) == (0, len(answers))
    assert checked.quality == recorded


def test_another_head_is_refused_and_where_allowed_measured(parts):
    experiment, one, other, answers = parts
    recorded = quality_of(answers, experiment.task.task)
    rest = (experiment.task, experiment.collate, answers, recorded)
    with pytest.raises(KdbenchError, match=r"is not the artifact: on 40 texts logits differ by up to"):
        check_export(other, one, *rest, exact=True)
    checked = check_export(other, one, *rest, exact=False)
    theirs = predict(other, experiment.task.scored, experiment.collate, device=torch.device("cpu"))
    assert checked.drift == pytest.approx(abs(theirs.logits - answers.logits).max())
    assert checked.quality.score == (theirs.predicted == theirs.references).mean()


def test_the_same_model_with_another_score_is_refused(parts):
    experiment, one, _, answers = parts
    recorded = quality_of(answers, experiment.task.task)
    wrong = recorded.model_copy(update={"score": recorded.score - 0.1})
    with pytest.raises(KdbenchError, match="but its run recorded"):
        check_export(one, one, experiment.task, experiment.collate, answers, wrong, exact=True)

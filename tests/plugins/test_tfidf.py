"""Logistic regression on TF-IDF, held against scikit-learn's own pipeline."""

import numpy as np
import pytest
import torch
from kdbench_plugins._tfidf_model import TfidfModel, n_grams
from kdbench_plugins.tfidf import Tfidf
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from kdbench.errors import UsageError
from kdbench.models.artifacts import load_artifact, save_artifact
from kdbench.models.onnx import OnnxModel
from kdbench.training.bench import TrainingBench
from kdbench.training.predict import predict


@pytest.fixture
def fit(make_experiment):
    def fit(**params):
        strategy = Tfidf(Tfidf.Params(**params))
        bench = TrainingBench(make_experiment("toy-sentiment"), strategy, 0, lambda *progress: None)
        return strategy.fit(bench), bench

    return fit


def test_n_grams_are_numbered_and_do_not_reach_over_special_tokens():
    assert n_grams([7, 1, 2, 8, 2, 7], special={7, 8}, vocabulary=9) == [10, 20, 20, 13]
    assert n_grams([7, 8], special={7, 8}, vocabulary=9) == []


def test_a_vector_is_that_of_the_formula():
    model = TfidfModel(vocabulary=9, special=[0], terms=3, outputs=3)
    model.terms.copy_(torch.tensor([10, 13, 20]))  # 1, the pair 1 2, and 2
    model.inverse_frequency.data = torch.tensor([1.0, 2.0, 1.5])
    model.weight.data = torch.eye(3)
    vector = np.array([1.0, 2.0, 1.5 * (1 + np.log(2))])  # 2 occurs twice; 5 is unknown
    ids = torch.tensor([[0, 1, 2, 5, 2, 0, 2, 2], [0, 5, 0, 2, 1, 2, 1, 1]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0, 0, 0]])
    logits = model(ids, mask).logits.detach().numpy()
    np.testing.assert_allclose(logits, [vector / np.linalg.norm(vector), [0, 0, 0]], rtol=1e-6)


def test_logits_are_those_of_scikit_learn(fit):
    model, bench = fit(strengths=(3.0,))
    special, vocabulary = bench.tokenizer.all_special_ids, len(bench.tokenizer)
    vectorizer = TfidfVectorizer(
        analyzer=lambda pieces: n_grams(pieces, special, vocabulary), sublinear_tf=True
    )
    pipeline = make_pipeline(vectorizer, LogisticRegression(C=3.0, max_iter=1000))
    pipeline.fit(bench.task.train["input_ids"][:], bench.task.train["labels"][:])
    scored = bench.task.scored
    answers = predict(model, scored, bench.experiment.collate, device=torch.device("cpu"))
    lead = answers.logits[:, 1] - answers.logits[:, 0]
    np.testing.assert_allclose(lead, pipeline.decision_function(scored["input_ids"][:]), atol=1e-4)
    assert bench.runs[0].best_score == bench.validation_score(model) > 0.6


def test_saved_and_in_onnx_it_answers_the_same(fit, tmp_path):
    model, bench = fit()
    save_artifact(model, bench.tokenizer, tmp_path / "saved")
    batch = bench.collate([bench.task.scored[row] for row in range(9)])
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    expected = model(**inputs).logits
    torch.testing.assert_close(load_artifact(tmp_path / "saved")(**inputs).logits, expected)
    graph = OnnxModel.of(model, inputs)
    torch.testing.assert_close(graph(**inputs).logits, expected, atol=1e-5, rtol=1e-4)


def test_what_no_text_has_often_enough_is_an_error(fit):
    with pytest.raises(UsageError, match="nothing occurs in 9999 training texts; lower min_texts"):
        fit(min_texts=9999)

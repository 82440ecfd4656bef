from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.training import KINDS
from kdbench_plugins._probe_fits import features_of, last_layer
from kdbench_plugins._probe_model import MeanProbe
from kdbench_plugins.linear_probe import LinearProbe
from pydantic import ValidationError
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
)

from kdbench.errors import UsageError
from kdbench.evaluation.metrics import METRICS
from kdbench.models.cost import count_trainable
from kdbench.training.bench import TrainingBench
from kdbench.training.predict import predict


@pytest.fixture
def bench_of(make_experiment):
    def make(task="toy-sentiment", **params):
        strategy = LinearProbe(LinearProbe.Params(**params))
        return strategy, TrainingBench(make_experiment(task), strategy, 0, lambda *progress: None)

    return make


@pytest.mark.parametrize("task", KINDS)
def test_the_last_layer_alone_is_fitted_and_its_cost_is_told(bench_of, task):
    strategy, bench = bench_of(task)
    model = strategy.fit(bench)
    assert count_trainable(model) == 33 * model.classifier.out_features
    (run,) = bench.runs
    rows = bench.task.train
    assert (run.steps, run.examples) == (0, len(rows))
    assert run.tokens == sum(len(pieces) for pieces in rows["input_ids"])
    assert run.train_s > 0
    experiment = bench.experiment
    answers = predict(model, bench.task.validation, experiment.collate, device=experiment.device)
    score = METRICS[bench.task.task.metric].of(answers, bench.task.task.labels)
    assert run.best_score == pytest.approx(score, abs=1e-6)


def test_it_learns_what_a_frozen_encoder_shows(bench_of):
    strategy, bench = bench_of()
    strategy.fit(bench)
    untrained = bench.validation_score(bench.base())
    assert bench.runs[0].best_score > max(0.6, untrained)


@pytest.mark.parametrize("task", ["toy-tags", "toy-score"])
def test_the_penalty_is_that_of_the_best_validation_score(bench_of, task):
    penalties = (100.0, 0.1, 0.0001)
    scores = []
    for penalty in penalties:
        strategy, bench = bench_of(task, penalties=(penalty,))
        strategy.fit(bench)
        scores.append(bench.runs[0].best_score)
    strategy, bench = bench_of(task, penalties=penalties)
    strategy.fit(bench)
    assert bench.runs[0].best_score == pytest.approx(max(scores), abs=1e-3)


@torch.no_grad()
def test_the_features_of_a_text_are_the_mean_of_its_tokens(bench_of):
    _, bench = bench_of()
    base = bench.base()
    model = MeanProbe.around(base, 2)
    rows = bench.task.train.select(range(5))
    features, labels = features_of(model, "classifier", rows, bench)
    assert list(np.concatenate(labels)) == rows["labels"][:]
    for one, pieces in zip(features, rows["input_ids"], strict=True):
        mean = base.bert(torch.tensor([pieces])).last_hidden_state.mean(1)
        torch.testing.assert_close(torch.tensor(one), mean, rtol=0, atol=1e-5)
    assert isinstance(model.classifier, torch.nn.Linear)  # it stands where it stood


@torch.no_grad()
def test_the_features_of_words_are_what_the_head_reads(bench_of):
    _, bench = bench_of("toy-tags")
    model = bench.base()
    rows = bench.task.train.select(range(1))
    (features,), (labels,) = features_of(model, last_layer(model), rows, bench)
    states = model.bert(torch.tensor(rows["input_ids"][:])).last_hidden_state[0]
    first = torch.tensor(rows["labels"][0]) >= 0
    assert len(labels) == first.sum()
    torch.testing.assert_close(torch.tensor(features), states[first], rtol=0, atol=1e-5)


def test_the_last_layer_is_found_in_other_heads():
    small = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    distilled = DistilBertConfig(vocab_size=20, dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    with torch.device("meta"):
        assert last_layer(RobertaForSequenceClassification(RobertaConfig(**small))) == "classifier.out_proj"
        assert last_layer(RobertaForTokenClassification(RobertaConfig(**small))) == "classifier"
        assert last_layer(DistilBertForSequenceClassification(distilled)) == "classifier"
        odd = BertForSequenceClassification(BertConfig(**small))
        odd.classifier = torch.nn.Sequential(odd.classifier, torch.nn.Linear(2, 7))
        with pytest.raises(UsageError, match="has no head that ends with a linear layer"):
            last_layer(odd)


def test_one_label_alone_is_refused(bench_of):
    strategy, bench = bench_of()
    prepared = bench.task
    alike = prepared.train.select([i for i, label in enumerate(prepared.train["labels"]) if label == 1])
    bench.experiment = replace(bench.experiment, task=replace(prepared, train=alike))
    with pytest.raises(
        UsageError, match="all training examples of task 'toy-sentiment' have the label 'positive'"
    ):
        strategy.fit(bench)


def test_what_steers_gradient_steps_is_refused():
    with pytest.raises(ValidationError, match="learning_rate has no effect"):
        LinearProbe.Params(learning_rate=0.1)
    with pytest.raises(ValidationError, match="greater than 0"):
        LinearProbe.Params(penalties=(0.0,))

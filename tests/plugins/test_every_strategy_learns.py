"""Every built-in strategy learns a separable task on a sentence encoder, whose pooler nothing has trained."""

import pytest
import torch
from helpers.training import no_report
from kdbench_plugins import kdbench_strategies
from torch import nn
from transformers import BertModel

from kdbench.api.spec import parse_spec
from kdbench.api.strategy import JointStrategy, Transform
from kdbench.api.task import TaskKind
from kdbench.budgets import BUDGETS
from kdbench.models.foreign import load_tokenizer
from kdbench.training.bench import TrainingBench
from kdbench.training.predict import predict

pytestmark = pytest.mark.slow

FACTOR = 20
"""The steps given, as a multiple of those of the budget `smoke`."""
STRATEGIES = {
    strategy.name: strategy for strategy in kdbench_strategies() if strategy.name != "peft"
}  # it needs a file
BUDGET = BUDGETS["smoke"].model_copy(
    update={
        "name": "learn",
        "train_examples": None,
        "validation_examples": 40,
        "scored_examples": None,
        "steps": {kind: FACTOR * steps for kind, steps in BUDGETS["smoke"].steps.items()},
        "teacher_factor": 2.5,
        "evaluations": 4,
    }
)


@pytest.fixture(scope="module")
def sentence_encoder(tiny_model, registry, tmp_path_factory):
    """The tiny model, pretrained to score texts by the mean of its tokens; its pooler is left as it was drawn."""
    folder = tmp_path_factory.mktemp("models") / "sentence-encoder"
    tokenizer = load_tokenizer(tiny_model)
    examples = list(registry.task("toy-score").rows_of("train"))
    batch = tokenizer([example["text"] for example in examples], padding=True, return_tensors="pt")
    scores = torch.tensor([example["label"] for example in examples])
    torch.manual_seed(0)
    model = BertModel.from_pretrained(tiny_model)
    head = nn.Linear(model.config.hidden_size, 1)
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=3e-3)
    mask = batch["attention_mask"][..., None]
    with torch.enable_grad():
        for _ in range(60):
            means = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
            loss = nn.functional.mse_loss(head(means)[:, 0], scores)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert loss < 0.05
    model.pooler.load_state_dict(BertModel(model.config).pooler.state_dict())
    with torch.no_grad():
        model.pooler.dense.weight.mul_(0.003)  # too little comes through it for a head alone to learn from
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One folder for all tests: the teacher is trained once."""
    return tmp_path_factory.mktemp("results")


def accuracy(strategy, model, bench):
    model = strategy.finalize(model, bench).eval()
    experiment = bench.experiment
    answers = predict(model, experiment.task.scored, experiment.collate, device=experiment.device)
    return experiment.metric.of(answers, experiment.task.task.labels)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, strategy in STRATEGIES.items()
        if TaskKind.SEQUENCE_CLASSIFICATION in strategy.kinds and not issubclass(strategy, JointStrategy)
    ],
)
def test_it_learns_a_separable_task(make_experiment, registry, results, sentence_encoder, name):
    strategy = registry.strategy(parse_spec(name)).stages[-1]
    experiment = make_experiment(budget=BUDGET, results=results, model=sentence_encoder)
    fitted = None
    if isinstance(strategy, Transform):
        finetune = registry.strategy(parse_spec("finetune"))
        fitted = TrainingBench(experiment, finetune, 0, no_report).finetuned()
    bench = TrainingBench(experiment, strategy, 0, no_report, fitted=fitted)
    assert accuracy(strategy, strategy.fit(bench), bench) >= 0.95

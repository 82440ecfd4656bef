"""Every built-in strategy on every architecture, as `docs/support.md` says: it works, or is refused for that reason.

By default each strategy is tried on one architecture, all in turn, and so is each refusal; ``KDBENCH_TEST_SUPPORT=every`` tries
all pairs, and ``make support`` writes the page from what they gave (``make support SUPPORT=new`` tries only pairs that it lacks).
"""

import os
import re
import traceback
from pathlib import Path

import pytest
import torch
from helpers.architecture_folders import make_folder
from helpers.architectures import NAMES
from helpers.support_page import WORKS, read_page, write_page
from helpers.training import no_report
from kdbench_plugins import kdbench_strategies

from kdbench.api.spec import parse_spec
from kdbench.api.strategy import JointStrategy, Transform
from kdbench.api.task import TaskKind
from kdbench.budgets import Budget
from kdbench.errors import UsageError
from kdbench.models.artifacts import load_artifact, save_artifact
from kdbench.models.cost import count_parameters, count_trainable
from kdbench.training.bench import TrainingBench
from kdbench.training.predict import predict

PAGE = Path(__file__).parents[2] / "docs" / "support.md"
BUDGET = Budget(
    name="two-steps",
    train_examples=16,
    validation_examples=4,
    scored_examples=8,
    steps=dict.fromkeys(TaskKind, 2),
    batch_size=dict.fromkeys(TaskKind, 4),
    max_length=32,
    evaluations=1,
)
STRATEGIES = {
    strategy.name: strategy for strategy in kdbench_strategies() if strategy.name != "peft"
}  # it needs a file
TASKS = {TaskKind.SEQUENCE_CLASSIFICATION: "toy-sentiment", TaskKind.TOKEN_CLASSIFICATION: "toy-tags"}
PARAMS = {
    **dict.fromkeys(
        ("hard-labels", "vanilla-kd", "dkd", "rkd", "distilbert", "pkd", "tinybert", "minilm"), "layers=2"
    ),  # of four
    "drop-layers": "drop=2",
}
PAIRS = [(strategy, name) for strategy in STRATEGIES for name in NAMES]
EVERY = bool(os.environ.get("KDBENCH_TEST_SUPPORT"))
WRITTEN = os.environ.get("KDBENCH_WRITE_SUPPORT")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A base model and a folder of results per architecture, each made once."""
    made = {}

    def make(name):
        if name not in made:
            folder = make_folder(name, tmp_path_factory.mktemp("models") / name)
            made[name] = folder, tmp_path_factory.mktemp("results")
        return made[name]

    return make


@pytest.fixture
def outcome(make_experiment, registry, folders, tmp_path_factory):
    """What a strategy does on an architecture: `WORKS`, or the reason of its refusal."""

    def find(strategy, name):
        folder = tmp_path_factory.mktemp("artifacts")
        try:
            check_deployment(strategy, name, make_experiment, registry, folders(name), folder)
        except UsageError as error:
            return re.sub("For(Sequence|Token)Classification", "", str(error))  # the reason is the encoder's
        return WORKS

    return find


def check_deployment(name, architecture, make_experiment, registry, folders, tmp_path):
    """Fit, finalize, save and load: the loaded model answers as the one before, and has as many weights."""
    strategy = registry.strategy(parse_spec(f"{name}[{PARAMS[name]}]" if name in PARAMS else name)).stages[-1]
    served = [task for kind, task in TASKS.items() if kind in strategy.kinds]
    task = served[(list(STRATEGIES).index(name) + NAMES.index(architecture)) % len(served)]
    model_folder, results = folders
    experiment = make_experiment(task, budget=BUDGET, results=results, model=model_folder)
    fitted = None
    if isinstance(strategy, Transform):
        finetune = registry.strategy(parse_spec("finetune"))
        fitted = TrainingBench(experiment, finetune, 0, no_report).finetuned()
    bench = TrainingBench(experiment, strategy, 0, no_report, fitted=fitted)
    if isinstance(strategy, JointStrategy):
        trained = strategy.fit_jointly({task: bench})[task]
    else:
        trained = strategy.fit(bench)
    if strategy.freezes_base:
        assert 0 < count_trainable(trained) < count_parameters(trained)
    model = strategy.finalize(trained, bench)
    save_artifact(model, bench.tokenizer, tmp_path / "artifact")
    again = load_artifact(tmp_path / "artifact")
    assert count_parameters(again) == count_parameters(model)

    def logits(model):
        kept = bench.experiment
        return torch.tensor(
            predict(model.to(kept.device), kept.task.scored, kept.collate, device=kept.device).logits
        )

    assert logits(model).isfinite().all()
    torch.testing.assert_close(logits(again), logits(model), rtol=0, atol=1e-4)


def chosen(page):
    """Each strategy on one architecture where it works, these in turn; and of each of its reasons for refusal one."""
    pairs = []
    for number, strategy in enumerate(STRATEGIES):
        outcomes = {name: page.get((strategy, name), WORKS) for name in NAMES}
        turn = [NAMES[(number + shift) % len(NAMES)] for shift in range(len(NAMES))]
        works = [name for name in turn if outcomes[name] == WORKS]
        pairs += [(strategy, name) for name in works[:1]]
        for reason in sorted({found for found in outcomes.values() if found != WORKS}):
            pairs.append((strategy, next(name for name in turn if outcomes[name] == reason)))
    return pairs


@pytest.mark.skipif(WRITTEN is not None, reason="the page is being written")
@pytest.mark.parametrize(("strategy", "name"), PAIRS if EVERY else chosen(read_page(PAGE)))
def test_a_strategy_does_on_an_architecture_what_the_page_says(outcome, strategy, name):
    found = outcome(strategy, name)
    assert "\n" not in found
    assert found == read_page(PAGE)[strategy, name]


def test_the_page_has_every_strategy_and_architecture_and_nothing_else():
    assert set(read_page(PAGE)) == set(PAIRS)


def test_the_page_is_what_its_command_writes_from_the_same_outcomes(tmp_path):
    write_page(tmp_path / "support.md", read_page(PAGE))
    assert (tmp_path / "support.md").read_text() == PAGE.read_text()


@pytest.mark.skipif(WRITTEN is None, reason="run by `make support`")
def test_write_the_page(outcome):
    known = read_page(PAGE) if WRITTEN == "new" else {}
    found, failed = {pair: known.get(pair, WORKS) for pair in PAIRS}, []
    for pair in [pair for pair in PAIRS if pair not in known]:
        try:
            found[pair] = outcome(*pair)
        except Exception:  # all failures are told at once
            failed.append(f"{pair}: {traceback.format_exc(limit=-3)}")
    assert not failed, "\n".join(failed)
    write_page(PAGE, found)

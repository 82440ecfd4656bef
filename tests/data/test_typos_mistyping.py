import numpy as np
import pytest

from kdbench.api.task import IGNORED
from kdbench.data import load_task, prepare
from kdbench.data.typos import add_typos


@pytest.fixture
def decoded(make_experiment):
    """Return the experiment of a task, and what its noisy rows say by example."""

    def decode(task):
        experiment = make_experiment(task)
        rows = experiment.task.noisy
        words = {}
        for row in rows:
            pieces = experiment.tokenizer.decode(row["input_ids"], skip_special_tokens=True)
            words.setdefault(row["example"], []).append(pieces)
        return experiment, {example: " ".join(parts) for example, parts in words.items()}

    return decode


def test_rows_are_the_scored_examples_with_their_own_errors(decoded, registry):
    experiment, texts = decoded("toy-sentiment")
    prepared = experiment.task
    assert prepared.noisy.column_names == prepared.scored.column_names
    assert prepared.noisy["example"][:] == prepared.scored["example"][:]
    assert prepared.noisy["labels"][:] == prepared.scored["labels"][:]
    assert prepared.noisy["input_ids"][:] != prepared.scored["input_ids"][:]
    sources = list(registry.task("toy-sentiment").load(None)["test"])
    for example, text in texts.items():
        (mistyped,) = add_typos([sources[example]["text"]], example)
        assert text == mistyped


def test_a_sentence_of_words_keeps_its_words_and_their_tags(decoded):
    experiment, _ = decoded("toy-tags")

    def tags(rows):
        found = {}
        for row in rows:
            kept = [label for label in row["labels"] if label != IGNORED]
            found.setdefault(row["example"], []).extend(kept)
        return found

    assert tags(experiment.task.noisy) == tags(experiment.task.scored)
    assert experiment.task.noisy["input_ids"][:] != experiment.task.scored["input_ids"][:]


def test_numbers_to_predict_stay(decoded):
    experiment, _ = decoded("toy-score")
    assert experiment.task.noisy["labels"][:] == experiment.task.scored["labels"][:]


def test_no_more_examples_than_the_bound_and_the_same_each_time(make_experiment, tiny_budget):
    budget = tiny_budget.model_copy(update={"noisy_examples": 7})
    few, again = make_experiment(budget=budget), make_experiment(budget=budget)
    examples = few.task.noisy["example"][:]
    assert len(examples) == 7
    assert set(examples) < set(few.task.scored["example"][:])
    assert sorted(examples) == examples
    assert again.task.noisy["input_ids"][:] == few.task.noisy["input_ids"][:]
    assert np.ptp(examples) > 7  # drawn from all of the split, not from its start


def test_both_texts_of_a_pair_may_have_errors(tmp_path, tiny_model, tiny_budget):
    from helpers.toytasks import ToyTask, settings_in

    from kdbench.models.build import load_tokenizer

    rows = [
        {"text": f"great film {i}", "text_pair": f"awful story {i}", "label": ("no", "yes")[i % 2]}
        for i in range(60)
    ]
    settings = settings_in(tmp_path)
    data = load_task(ToyTask({"train": rows, "test": rows}), settings)
    tokenizer = load_tokenizer(tiny_model)
    prepared = prepare(data, tiny_budget, tokenizer, settings.cache_dir)
    texts = [tokenizer.decode(ids, skip_special_tokens=False) for ids in prepared.noisy["input_ids"][:]]
    first, second = zip(*(text.split("[SEP]")[:2] for text in texts), strict=True)
    assert any("great film" not in text for text in first)
    assert any("awful story" not in text for text in second)
    # One word of each pair at least.
    assert not any("great film" in text and "awful story" in text for text in texts)

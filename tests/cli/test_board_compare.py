"""`kdbench compare`, `recommend` and `board --papers` as a user calls them."""

import json
import re

import pytest
from helpers.commands import Command
from helpers.comparisons import right
from helpers.support import make_record, save_predictions

from kdbench.data import DataSettings, load_task
from kdbench.results.records import RecordStore

LORA, HARD = right(60, of=80), right(40, of=80)


@pytest.fixture
def command(tmp_path, tiny_model, toy_plugin, cache_dir, registry):
    """The command on a results folder of two rows, scored on the real toy data."""
    command = Command(tmp_path, model=tiny_model, plugins=[toy_plugin], cache=cache_dir)
    data = load_task(registry.task("toy-sentiment"), DataSettings(cache_dir=cache_dir))
    for label, answers in (("lora[r=16]", LORA), ("hard-labels", HARD)):
        record = make_record(
            label,
            "toy-sentiment",
            sum(answers) / 80,
            budget="smoke",
            model=tiny_model.name,
            fingerprint=data.fingerprint,
            scored_examples=80,
            parameters=10_000_000 if label == "hard-labels" else 20_000_000,
        )
        RecordStore(command.results).put(record)
        save_predictions(command.results, record.key, answers)
    return command


@pytest.fixture
def here(call, command, cache_dir, monkeypatch):
    """Run a command on those rows in this process."""
    monkeypatch.setenv("KDBENCH_CACHE", str(cache_dir))
    monkeypatch.chdir(command.folder)
    return lambda verb, *arguments: call(*command.line(verb, *arguments)[3:])


@pytest.mark.slow
def test_two_rows_are_compared_in_a_process_of_its_own(command):
    done = command.run("lora[r=16]", "hard-labels", verb="compare")
    assert (done.returncode, done.stderr) == (0, "")
    assert "lora[r=16] scores 25.0 points higher than hard-labels on toy-sentiment" in done.stdout
    assert "McNemar, seed 0: only lora[r=16] is correct on 20 examples, only hard-labels on 0" in done.stdout
    assert "20 of 80 examples predicted differently, 5 of them listed" in done.stdout


def test_the_examples_shown_are_the_texts_of_the_task(here, registry, cache_dir):
    code, out, _ = here("compare", "lora[r=16]", "hard-labels", "--examples", "2", "--json")
    assert code == 0
    (task,) = json.loads(out)["tasks"]
    texts = load_task(registry.task("toy-sentiment"), DataSettings(cache_dir=cache_dir)).splits["test"]
    assert task["examples"]["number"] == 20
    # The rows part ways from example 40, which `hard-labels` is the first to get wrong.
    assert [one["example"] for one in task["examples"]["shown"]] == [40, 41]
    assert [one["text"] for one in task["examples"]["shown"]] == [texts[40]["text"], texts[41]["text"]]
    for one in task["examples"]["shown"]:
        assert one["answer_a"] == one["right"] != one["answer_b"]


def test_the_json_holds_every_figure(here):
    _, out, _ = here("compare", "lora[r=16]", "hard-labels", "--examples", "0", "--json")
    data = json.loads(out)
    assert (data["better"], data["no_difference_shown"], data["worse"]) == (1, 0, 0)
    (task,) = data["tasks"]
    assert task["difference"] == pytest.approx(0.25)
    assert task["low"] < 0.25 < task["high"]
    assert task["mcnemar"]["0"] == {"only_a": 20, "only_b": 0, "p": pytest.approx(2 * 0.5**20)}
    assert (task["a"]["score"], task["b"]["score"]) == (0.75, 0.5)
    assert task["a"]["p50_ms"] is None
    assert task["examples"] is None


def test_a_row_is_recommended_with_the_reason(here):
    code, out, _ = here("recommend", "--task", "toy-sentiment", "--max-params", "20M")
    assert code == 0
    assert out.startswith("Ship lora[r=16] for toy-sentiment: 75.0 [")
    code, out, _ = here("recommend", "--task", "toy-sentiment", "--max-params", "15M", "--json")
    data = json.loads(out)
    assert data["recommended"]["strategy"] == "hard-labels"
    assert data["excluded"] == [{"strategy": "lora[r=16]", "reasons": ["--max-params 15M (20.0M)"]}]
    assert data["cost_against_best_of_all"]["difference"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("code", "arguments", "told"),
    [
        (2, ["compare", "lora[r=61]", "hard-labels"], "did you mean 'lora[r=16]'"),
        (2, ["compare", "hard-labels"], "B"),
        (2, ["compare", "lora[r=16]", "hard-labels", "--examples", "-1"], "--examples"),
        (2, ["compare", "lora[r=16]", "hard-labels", "--task", "toy-sentimnet"], "'toy-sentiment'"),
        (2, ["recommend"], "--task"),
        (2, ["recommend", "--task", "toy-sentimnet"], "'toy-sentiment'"),
        (2, ["recommend", "--task", "toy-sentiment", "--max-params", "few"], "--max-params: 'few'"),
        (2, ["recommend", "--task", "toy-sentiment", "--min-quality", "0.7"], "percent"),
        (1, ["recommend", "--task", "toy-sentiment", "--max-latency-ms", "5"], "is timed"),
        (1, ["recommend", "--task", "toy-sentiment", "--max-params", "1M"], "--max-params 1M binds"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(here, code, arguments, told):
    ended, out, err = here(*arguments)
    assert (ended, out) == (code, "")
    assert re.fullmatch(r"kdbench: [^\n]+\n", err), err
    assert told in err


def test_published_results_stand_on_the_page_behind_the_flag(here, command):
    record = make_record(
        "finetune", "sst2", 0.9, budget="smoke", model=command.settings[3].rpartition("/")[2]
    )
    RecordStore(command.results).put(record)
    page = command.board / "sst2.md"
    code, out, _ = here("board")
    assert code == 0
    assert "Published results" not in out + page.read_text()
    code, out, _ = here("board", "--papers")
    assert code == 0
    assert "Published results on sst2" in out
    assert "## Published results" in page.read_text()
    assert "arXiv:1910.01108" in page.read_text()
    assert "There are none for this task." in (command.board / "toy-sentiment.md").read_text()

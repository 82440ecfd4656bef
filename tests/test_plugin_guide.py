"""The guide's examples, and an installed plugin, do what the guide says: found, trained, saved, loaded again."""

import csv
from pathlib import Path

import pytest
import torch
from helpers.controls import control_of
from helpers.guide import GUIDE, code_blocks
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizer

from kdbench.api.spec import parse_spec
from kdbench.config import load_config
from kdbench.data import load_task
from kdbench.errors import UsageError
from kdbench.models.artifacts import load_artifact, save_artifact
from kdbench.plugins import load_plugins
from kdbench.training.bench import TrainingBench
from kdbench.training.experiment import open_experiment

THIRD_PARTY = Path(__file__).parent / "third_party"
EXAMPLES = Path(__file__).parents[1] / "examples"
WORDS = {
    "account": ["i", "cannot", "log", "in", "my", "password", "expired", "again"],
    "billing": ["the", "invoice", "is", "wrong", "you", "charged", "my", "card", "twice"],
    "outage": ["the", "server", "is", "down", "nothing", "loads", "since", "this", "morning"],
}


def example(class_line):
    (block,) = (block for block in code_blocks(GUIDE) if class_line in block)
    return block


@pytest.fixture
def corpora(tmp_path):
    """A data folder with tickets whose words tell their queue."""
    folder = tmp_path / "corpora"
    for name, queues in (("helpdesk", list(WORDS)), ("tickets", ["billing", "outage"])):
        (folder / name).mkdir(parents=True)
        for split, count in (("train", 120), ("test", 30)):
            with (folder / name / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
                rows = csv.writer(file)
                rows.writerow(["body", "queue"])
                for number in range(count):
                    queue = queues[number % len(queues)]
                    words = WORDS[queue]
                    turn = number % len(words)
                    rows.writerow([f"{split} {number} {' '.join(words[turn:] + words[:turn])}", queue])
    return folder


@pytest.fixture
def base_model(tmp_path):
    """A folder with a BERT of two narrow layers and random weights."""
    folder = tmp_path / "tiny-bert"
    folder.mkdir()
    words = sorted({word for queue in WORDS.values() for word in queue} | {"train", "test", *"0123456789"})
    digits = [f"##{digit}" for digit in range(10)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *digits]
    tokenizer = BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)})
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def deploy(tmp_path, corpora, base_model):
    """Fit a strategy on a task in the smallest budget; return the fitted model and the one loaded from its folder."""

    def fit_and_reload(plugins, strategy, task):
        flags = {
            "budget": "smoke",
            "model": str(base_model),
            "data_dir": corpora,
            "results": tmp_path / "results",
            "cache_dir": tmp_path / "cache",
            "plugins": {"modules": plugins},
        }
        opened = open_experiment(load_config(None, flags), task)
        made = opened.registry.strategy(parse_spec(strategy))
        bench = TrainingBench(opened.experiment, made, 0, lambda *progress: None)
        model = made.finalize(made.fit(bench), bench).eval()
        save_artifact(model, opened.experiment.tokenizer, tmp_path / "artifact")
        return model, load_artifact(tmp_path / "artifact")

    return fit_and_reload


def answers_alike(one, other):
    inputs = {"input_ids": torch.tensor([[2, 9, 10, 3], [2, 11, 3, 0]])}
    inputs["attention_mask"] = (inputs["input_ids"] != 0).long()
    with torch.no_grad():
        return torch.equal(one(**inputs).logits, other(**inputs).logits)


@pytest.mark.parametrize(
    ("name", "line"), [("logit_mse.py", "class LogitMSE"), ("helpdesk.py", "class Helpdesk")]
)
def test_the_guide_shows_the_files_in_examples(name, line):
    assert (EXAMPLES / name).read_text(encoding="utf-8") == example(line)


def test_the_examples_of_the_guide_run_together(deploy):
    plugins = [str(EXAMPLES / "logit_mse.py"), str(EXAMPLES / "helpdesk.py")]
    model, loaded = deploy(plugins, "logit-mse[layers=1,alpha=0.7]", "helpdesk")
    assert model.config.num_hidden_layers == 1
    assert list(model.config.id2label.values()) == ["account", "billing", "outage"]
    assert answers_alike(model, loaded)


def test_the_strategy_of_the_readme_is_trained_and_deployed(deploy, tmp_path):
    (block,) = code_blocks((EXAMPLES.parent / "README.md").read_text(encoding="utf-8"))
    (tmp_path / "logit_mse.py").write_text(block, encoding="utf-8")
    plugins = [str(tmp_path / "logit_mse.py"), str(EXAMPLES / "helpdesk.py")]
    assert answers_alike(*deploy(plugins, "logit-mse[layers=1]", "helpdesk"))


def test_a_plugins_own_model_class_is_trained_deployed_and_loaded_again(deploy, base_model, monkeypatch):
    monkeypatch.syspath_prepend(THIRD_PARTY / "kdbench-mean-pool")
    model, loaded = deploy(["kdbench_mean_pool"], "mean-pool[frozen=true]", "support-tickets")
    assert type(loaded).__name__ == "MeanPoolModel"
    embeddings = BertModel.from_pretrained(base_model).get_input_embeddings()
    assert torch.equal(loaded.embeddings.weight, embeddings.weight)
    assert answers_alike(model, loaded)


def test_the_strategy_of_the_guide_takes_no_more_than_thirty_lines():
    lines = [line for line in example("class LogitMSE").splitlines() if line.strip()]
    assert len(lines) <= 30


@pytest.fixture
def registered(tmp_path):
    """Register a plugin that the guide shows as a whole, named by the line of its class."""

    def register(class_line):
        path = tmp_path / "plugin.py"
        path.write_text(example(class_line), encoding="utf-8")
        registry = load_plugins([str(path)])
        assert registry.plugins[-1].error is None
        return registry

    return register


def test_the_transform_of_the_guide_zeroes_the_share_of_weights_that_it_is_given(registered, base_model):
    transform = registered("class Magnitude").strategy(parse_spec("magnitude[share=0.25]"))
    layer = (
        transform.transform(BertModel.from_pretrained(base_model), None).encoder.layer[0].intermediate.dense
    )
    assert (layer.weight == 0).sum().item() == 0.25 * layer.weight.numel()


def test_the_joint_strategy_of_the_guide_hands_its_encoder_on(registered, base_model):
    class Bench:
        def base(self):
            return BertForSequenceClassification.from_pretrained(base_model)

        def train(self, model):
            torch.nn.init.constant_(
                model.base_model.pooler.dense.bias, model.base_model.pooler.dense.bias[0] + 1
            )
            return model

    joint = registered("class InTurn").strategy(parse_spec("in-turn"))
    models = joint.fit_jointly({"first": Bench(), "second": Bench()})
    assert [model.base_model.pooler.dense.bias[0].item() for model in models.values()] == [1, 2]


def test_the_control_of_the_guides_strategy_is_its_student_on_labels_alone():
    registry = load_plugins([str(EXAMPLES / "logit_mse.py")])
    strategy = registry.strategy(parse_spec("logit-mse[layers=4,alpha=0.7]"))
    assert str(control_of(strategy)) == "hard-labels[layers=4]"
    assert registry.strategy(control_of(strategy)).params.layers == 4


def test_a_row_that_is_wrong_is_named_by_the_guides_task(tmp_path, corpora):
    registry = load_plugins([str(EXAMPLES / "helpdesk.py")])
    with (corpora / "helpdesk" / "train.csv").open("a", encoding="utf-8") as file:
        file.write('"a line\nand another",gardening\n')
    config = load_config(None, {"data_dir": corpora, "cache_dir": tmp_path / "cache"})
    with pytest.raises(UsageError, match=r"train\.csv, line 123: .*'gardening'"):
        load_task(registry.task("helpdesk"), config.data)

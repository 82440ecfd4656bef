import pytest
import torch
from helpers.training import KINDS
from kdbench_plugins.half_precision import BF16, FP16
from safetensors.torch import load_file
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, ModernBertConfig
from transformers import ModernBertForSequenceClassification as ModernBert

from kdbench.api.model_classes import register_model_classes
from kdbench.api.models import FolderModel, architecture_of, build_architecture
from kdbench.errors import UsageError
from kdbench.models.artifacts import load_artifact, save_artifact
from kdbench.training.bench import TrainingBench
from kdbench.training.predict import predict
from kdbench.utils.files import folder_bytes

TYPES = {FP16: torch.float16, BF16: torch.bfloat16}
register_model_classes({"half-precision-wrapped": f"{__name__}:Wrapped"})
HALVES = pytest.mark.parametrize("half", TYPES)


class Wrapped(FolderModel):
    """A model of transformers beside a recurrent layer and a buffer, in one file."""

    def __init__(self, architecture, base=None):
        super().__init__({"architecture": architecture})
        self.model = base if base is not None else build_architecture(architecture)
        self.lstm = nn.LSTM(self.model.config.num_labels, 3, batch_first=True)
        self.lstm_again = self.lstm  # shared weights are kept once in a file
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("count", torch.ones((), dtype=torch.int64))

    def forward(self, **inputs):
        output = self.model(**inputs)
        states, _ = self.lstm(output.logits.reshape(len(output.logits), -1, self.model.config.num_labels))
        output.logits = output.logits + self.scale * states.mean()
        return output


@pytest.fixture
def halve(make_experiment):
    """Return a fine-tuned model before and after, and its experiment."""

    def run(half, task="toy-sentiment", wrap=lambda model: model):
        strategy = half(half.Params())
        experiment = make_experiment(task)
        model = wrap(TrainingBench(experiment, strategy, 0, lambda *progress: None).base())
        full = answers(model, experiment)
        bench = TrainingBench(experiment, strategy, 0, lambda *progress: None, fitted=model)
        return full, strategy.finalize(strategy.fit(bench), bench), experiment

    return run


def answers(model, experiment):
    rows = experiment.task.scored
    return predict(model, rows, experiment.collate, device=torch.device("cpu")).logits


@pytest.mark.parametrize("task", KINDS)
@HALVES
def test_it_answers_nearly_as_before_and_after_reloading_the_same(halve, half, task, tmp_path):
    full, model, experiment = halve(half, task)
    assert {weight.dtype for weight in model.parameters()} == {TYPES[half]}
    halved = answers(model, experiment)
    # float16 keeps 11 bits of a number, bfloat16 8.
    assert 0 < abs(full - halved).max() < (0.02 if half is FP16 else 0.1)
    save_artifact(model, experiment.tokenizer, tmp_path / "artifact")
    reloaded = load_artifact(tmp_path / "artifact")
    assert {weight.dtype for weight in reloaded.parameters()} == {TYPES[half]}
    assert (answers(reloaded, experiment) == halved).all()


@HALVES
def test_a_model_of_ones_own_comes_back_in_half_precision(halve, half, tmp_path):
    _, model, experiment = halve(half, wrap=lambda model: Wrapped(architecture_of(model), model))
    save_artifact(model, experiment.tokenizer, tmp_path / "artifact")
    stored = load_file(tmp_path / "artifact" / "model.safetensors")
    assert {str(weight.dtype) for name, weight in stored.items() if name != "count"} == {str(TYPES[half])}
    assert stored["count"].dtype == torch.int64
    reloaded = load_artifact(tmp_path / "artifact")
    before, after = model.state_dict(), reloaded.state_dict()
    assert before.keys() == after.keys()
    assert all(before[name].dtype == after[name].dtype for name in before)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert reloaded.lstm_again is reloaded.lstm
    assert (answers(reloaded, experiment) == answers(model, experiment)).all()


@HALVES
def test_a_table_that_is_not_saved_keeps_its_precision(half, tmp_path):
    config = ModernBertConfig(
        vocab_size=30,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        pad_token_id=0,
        cls_token_id=1,
        sep_token_id=2,
    )
    model = half(half.Params()).transform(ModernBert(config), None).eval()
    model.save_pretrained(tmp_path)
    reloaded = ModernBert.from_pretrained(tmp_path).eval()
    tables = dict(model.named_buffers())
    assert {table.dtype for table in tables.values()} == {torch.float32}
    inputs = torch.tensor([[1, 5, 6, 7, 8, 9, 2]])
    with torch.no_grad():
        assert torch.equal(reloaded(inputs).logits, model(inputs).logits)


@HALVES
def test_the_file_is_about_half_as_large(half, tmp_path):
    config = BertConfig(
        vocab_size=2000,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
    )
    model = BertForSequenceClassification(config)
    model.save_pretrained(tmp_path / "full")
    half(half.Params()).transform(model, None).save_pretrained(tmp_path / "half")
    ratio = folder_bytes(tmp_path / "half") / folder_bytes(tmp_path / "full")
    assert ratio == pytest.approx(0.5, abs=0.01)


def test_a_weight_by_hand():
    one = nn.Linear(2, 1, bias=False)
    values = torch.tensor([[1 + 2**-10, 2.0**17]])
    rounded = {}
    for half in TYPES:
        one.weight.data = values.clone()
        rounded[half] = half(half.Params()).transform(one, None).weight.float()[0].tolist()
    # float16 holds steps of 2^-10 next to 1 and nothing beyond 65,504; bfloat16 steps of 2^-7 and all of float32's range.
    assert rounded == {FP16: [1 + 2**-10, float("inf")], BF16: [1.0, 2.0**17]}


@HALVES
def test_a_model_without_floating_point_weights_is_refused(half):
    with pytest.raises(UsageError, match=rf"strategy '{half.name}': Identity has no floating-point weights"):
        half(half.Params()).transform(nn.Identity(), None)

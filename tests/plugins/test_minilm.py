import pytest
import torch
from conftest import TINY_BUDGET
from helpers.controls import control_of
from kdbench_plugins.minilm import MiniLM
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from kdbench.api.bench import model_inputs
from kdbench.api.spec import parse_spec
from kdbench.api.task import TaskKind
from kdbench.errors import UsageError
from kdbench.training.bench import TrainingBench

KINDS = ["toy-sentiment", "toy-tags", "toy-score"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One folder for all tests: a teacher is trained once for each task and budget."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture
def make(make_experiment, results):
    """A strategy, its bench, and the list that gets each step's (steps of its stage, loss)."""

    def make(task="toy-sentiment", *, experiment=None, **params):
        strategy, told = MiniLM(MiniLM.Params(**params)), []

        def report(phase, step, steps, loss):
            if phase == "training":
                told.append((steps, loss))

        bench = TrainingBench(
            make_experiment(task, **{"results": results, **(experiment or {})}), strategy, 0, report
        )
        return strategy, bench, told

    return make


@pytest.fixture
def four_headed_teacher(tiny_model, tmp_path):
    """The folder of a fine-tuned model that has twice the base model's heads."""
    config = BertConfig.from_pretrained(
        tiny_model, num_attention_heads=4, id2label={0: "negative", 1: "positive"}
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path / "teacher")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "teacher")
    return tmp_path / "teacher"


def budget(steps, train_examples=64):
    settings = {
        "steps": dict.fromkeys(TaskKind, steps),
        "train_examples": train_examples,
        "evaluations": 1,
    }
    return TINY_BUDGET.model_copy(update=settings)


@pytest.mark.parametrize("task", KINDS)
def test_both_stages_train_a_plain_student_within_the_budgets_steps(make, task):
    strategy, bench, _ = make(task, layers=2, relation_share=0.3, experiment={"budget": budget(5)})
    start = bench.student(strategy.params)
    model = strategy.fit(bench)
    assert [run.steps for run in bench.runs] == [2, 3]
    assert [run.best_score is None for run in bench.runs] == [True, False]
    assert type(model) is type(start)
    assert model.config.num_hidden_layers == 2
    for name in ("bert.encoder.layer.1.attention.self.value.weight", "classifier.weight"):
        assert not torch.equal(model.state_dict()[name], start.state_dict()[name])


def test_a_student_that_is_the_teacher_has_nothing_to_match(make):
    strategy, bench, told = make(layers=4, dropout=0.0, alpha=1.0)
    strategy.fit(bench)
    # Training may compute in bfloat16. Three layers of the four begin at 0.21; labels would cost 0.7 in either stage.
    assert told[0] == (2, pytest.approx(0, abs=1e-3))
    assert told[2] == (2, pytest.approx(0, abs=1e-3))


@pytest.mark.parametrize(("width", "heads"), [(32, 8), (16, 1)])
def test_relations_come_to_match_on_one_batch(make, width, heads):
    strategy, bench, told = make(
        layers=2,
        hidden_size=width,
        relation_heads=heads,
        relation_share=0.95,
        relation_learning_rate=0.01,
        dropout=0.0,
        experiment={"budget": budget(20, train_examples=8)},
    )
    strategy.fit(bench)
    losses = [loss for steps, loss in told if steps == 19]
    assert losses[-1] < losses[0] / 2


def test_teacher_and_student_may_have_other_numbers_of_heads(make, four_headed_teacher):
    strategy, bench, _ = make(
        layers=2, init="base", hidden_size=16, experiment={"teacher": four_headed_teacher}
    )
    student = strategy.fit(bench)
    assert (student.config.num_attention_heads, bench.teacher.config.num_attention_heads) == (2, 4)
    assert strategy._relation_heads(student, bench.teacher) == 4


def test_nothing_after_the_last_layers_attention_is_trained_on_relations(make):
    strategy, bench, _ = make(layers=2)
    student = bench.student(strategy.params)
    before = {name: weight.detach().clone() for name, weight in student.named_parameters()}
    strategy._match_relations(student, bench, 0.5)
    changed = {name for name, weight in student.named_parameters() if not torch.equal(weight, before[name])}
    last = "bert.encoder.layer.1."
    read = {
        f"{last}attention.self.{vector}.{part}"
        for vector in ("query", "key", "value")
        for part in ("weight", "bias")
    }
    assert {name for name in changed if name.startswith(last)} == read
    assert not any(name.startswith(("classifier", "bert.pooler")) for name in changed)
    assert "bert.encoder.layer.0.output.dense.weight" in changed


@pytest.mark.parametrize("teacher_layer", [None, 2])
@torch.no_grad()
def test_its_first_loss_is_the_papers_sum(make, teacher_layer):
    """Relations of the student's layer 2 against the teacher's, from hidden states and weights, one text at a time."""
    strategy, bench, told = make(
        layers=2,
        teacher_layer=teacher_layer,
        relation_heads=4,
        init="base",
        dropout=0.0,
        experiment={"budget": budget(4, train_examples=8)},
    )
    with torch.enable_grad():
        strategy.fit(bench)
    student, teacher = bench.student(strategy.params).eval(), bench.teacher

    def relations(model, states, layer, name):
        linear = getattr(model.bert.encoder.layer[layer - 1].attention.self, name)
        slices = linear(states[layer - 1]).view(-1, 4, 8)
        return torch.softmax(torch.einsum("qhd,khd->hqk", slices, slices) / 8**0.5, dim=-1)

    total = 0
    for row in bench.task.train:
        inputs = model_inputs(bench.experiment.collate([row]))
        mine, its = (model(**inputs, output_hidden_states=True).hidden_states for model in (student, teacher))
        for name in ("query", "key", "value"):
            target = relations(teacher, its, teacher_layer or 4, name)
            answer = relations(student, mine, 2, name)
            total += (target * (target / answer).log()).sum(dim=-1).mean()
    assert len(bench.task.train) == 8
    assert told[0][1] == pytest.approx(total.item() / 8, rel=0.03)  # training may compute in bfloat16


def test_a_layer_that_the_teacher_lacks_is_refused(make):
    strategy, bench, _ = make(layers=2, teacher_layer=5)
    with pytest.raises(UsageError, match="teacher_layer=5: the teacher has 4 layers; name one from 1 to 4"):
        strategy.fit(bench)


@pytest.mark.parametrize(("width", "heads"), [(32, 3), (18, 4)])
def test_relation_heads_that_do_not_divide_a_width_are_refused(make, width, heads):
    strategy, bench, _ = make(layers=2, hidden_size=width, relation_heads=heads)
    with pytest.raises(UsageError, match=f"{heads} relation heads do not divide both .* {width} and .* 32"):
        strategy.fit(bench)


def test_its_control_is_the_same_student_on_labels_alone():
    params = MiniLM.Params(layers=2, init="base", dropout=0.2, relation_heads=4, alpha=0.1)
    assert control_of(MiniLM(params)) == parse_spec("hard-labels[layers=2,init=base,dropout=0.2]")

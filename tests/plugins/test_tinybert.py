import pytest
import torch
from conftest import TINY_BUDGET
from helpers.controls import control_of
from kdbench_plugins.tinybert import TinyBERT
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from kdbench.api.bench import model_inputs
from kdbench.api.params import StudentParams
from kdbench.api.spec import parse_spec
from kdbench.api.task import TaskKind
from kdbench.errors import UsageError
from kdbench.models.build import build_student
from kdbench.models.cost import count_parameters
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
        strategy, told = TinyBERT(TinyBERT.Params(**params)), []

        def report(phase, step, steps, loss):
            if phase == "training":
                told.append((steps, loss))

        bench = TrainingBench(
            make_experiment(task, **{"results": results, **(experiment or {})}), strategy, 0, report
        )
        return strategy, bench, told

    return make


def budget(steps, train_examples=64):
    settings = {
        "steps": dict.fromkeys(TaskKind, steps),
        "train_examples": train_examples,
        "evaluations": 1,
    }
    return TINY_BUDGET.model_copy(update=settings)


@pytest.mark.parametrize("task", KINDS)
def test_both_stages_train_a_plain_student_within_the_budgets_steps(make, task):
    strategy, bench, _ = make(task, layers=2, experiment={"budget": budget(5)})
    start = bench.student(strategy.params)
    model = strategy.fit(bench)
    assert [run.steps for run in bench.runs] == [2, 3]
    assert [run.best_score is None for run in bench.runs] == [True, False]
    assert type(model) is type(start)
    assert model.config.num_hidden_layers == 2
    for name in ("bert.encoder.layer.1.output.dense.weight", "classifier.weight"):
        assert not torch.equal(model.state_dict()[name], start.state_dict()[name])


def test_a_narrower_student_of_four_layers_learns_and_comes_back_from_its_files(make, tmp_path):
    strategy, bench, _ = make(layers=4, hidden_size=16)
    model = strategy.fit(bench).eval()
    assert (model.config.hidden_size, model.config.intermediate_size) == (16, 32)
    model.save_pretrained(tmp_path / "model")
    reloaded = BertForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    batch = model_inputs(bench.experiment.collate([bench.task.scored[i] for i in range(4)]))
    with torch.no_grad():
        torch.testing.assert_close(reloaded(**batch).logits, model(**batch).logits)


def test_a_student_that_is_the_teacher_has_nothing_to_match(make):
    strategy, bench, told = make(layers=4, dropout=0.0)
    strategy.fit(bench)
    # Training may compute in bfloat16. Three layers of the four begin at 0.33; labels would cost 0.7 in either stage.
    assert told[0] == (2, pytest.approx(0, abs=1e-3))
    assert told[2] == (2, pytest.approx(0, abs=1e-3))


@pytest.mark.parametrize("width", [32, 16])
def test_layers_come_to_match_on_one_batch(make, width):
    strategy, bench, told = make(
        layers=2,
        hidden_size=width,
        layer_share=0.95,
        layer_learning_rate=0.01,
        dropout=0.0,
        experiment={"budget": budget(20, train_examples=8)},
    )
    strategy.fit(bench)
    losses = [loss for steps, loss in told if steps == 19]
    assert losses[-1] < losses[0] / 2


def test_layer_matching_leaves_the_head_alone(make):
    strategy, bench, _ = make(layers=2)
    student = bench.student(strategy.params)
    head = student.classifier.weight.detach().clone()
    layer = student.bert.encoder.layer[0].output.dense.weight.detach().clone()
    strategy._match_layers(student, bench, bench.task.train, 0.5)
    assert torch.equal(student.classifier.weight, head)
    assert not torch.equal(student.bert.encoder.layer[0].output.dense.weight, layer)


@torch.no_grad()
def test_its_first_loss_is_the_papers_sum(make):
    """Equations 7 to 9 for layers 1 and 2 against 3 and 0, from hidden states and weights, one text at a time."""
    strategy, bench, told = make(
        layers=2,
        layer_map=(3, 0),
        init="base",
        dropout=0.0,
        experiment={"budget": budget(4, train_examples=8)},
    )
    with torch.enable_grad():
        strategy.fit(bench)
    student, teacher = bench.student(strategy.params).eval(), bench.teacher

    def scores(model, states, layer):
        attention = model.bert.encoder.layer[layer - 1].attention.self
        query, key = (
            linear(states[layer - 1]).view(-1, 2, 16) for linear in (attention.query, attention.key)
        )
        return torch.einsum("qhd,khd->hqk", query, key) / 4

    def mse(first, second):
        return (first - second).square().mean()

    total = 0
    for row in bench.task.train:
        inputs = model_inputs(bench.experiment.collate([row]))
        mine, its = (model(**inputs, output_hidden_states=True).hidden_states for model in (student, teacher))
        total += mse(mine[0], its[0]) + mse(mine[1], its[3]) + mse(mine[2], its[0])
        total += mse(scores(student, mine, 1), scores(teacher, its, 3))
    assert len(bench.task.train) == 8
    assert told[0][1] == pytest.approx(total.item() / 8, rel=0.02)  # training may compute in bfloat16


@pytest.mark.parametrize(
    ("depth", "teacher_depth", "expected"),
    [(4, 12, (3, 6, 9, 12)), (3, 6, (2, 4, 6)), (4, 6, (1, 3, 4, 6)), (1, 6, (6,)), (2, 2, (1, 2))],
)
def test_layers_are_evenly_spaced_by_default(depth, teacher_depth, expected):
    assert TinyBERT(TinyBERT.Params())._teacher_layers(depth, teacher_depth) == expected


@pytest.mark.parametrize("layer_map", [(1, 2, 3), (4,), (1, 5), (-1, 2), ()])
def test_a_map_of_another_length_or_beyond_the_teacher_is_refused(make, layer_map):
    strategy, bench, _ = make(layers=2, layer_map=layer_map)
    with pytest.raises(
        UsageError, match=r"layer_map=\[.*\]: name a teacher layer from 1 to 4, or 0 .* 2 layers"
    ):
        strategy.fit(bench)


def test_a_teacher_of_other_heads_is_refused(make, tiny_model, tmp_path):
    config = BertConfig.from_pretrained(
        tiny_model, num_attention_heads=4, id2label={0: "negative", 1: "positive"}
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path / "teacher")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "teacher")
    strategy, bench, _ = make(init="base", experiment={"teacher": tmp_path / "teacher"})
    with pytest.raises(UsageError, match="the student has 2 attention heads and the teacher 4"):
        strategy.fit(bench)


def test_its_control_is_the_same_student_on_labels_alone():
    params = TinyBERT.Params(layers=2, init="base", dropout=0.2, temperature=3.0, layer_share=0.3)
    assert control_of(TinyBERT(params)) == parse_spec("hard-labels[layers=2,init=base,dropout=0.2]")


@pytest.mark.parametrize("task", KINDS)
def test_with_augmentation_both_stages_train_on_unlabelled_rows_too(make, task):
    strategy, bench, told = make(task, layers=2, augmentation=True, copies=1)
    strategy.fit(bench)
    assert 0 < bench.unlabelled_examples <= len(bench.task.train)
    assert [run.steps for run in bench.runs] == [2, 2]
    plain, plain_bench, plainly_told = make(task, layers=2)
    plain.fit(plain_bench)
    assert plain_bench.unlabelled_examples == 0
    assert all(first != second for first, second in zip(told, plainly_told, strict=True))


def test_a_teacher_that_is_there_already_changes_nothing(make, tmp_path):
    def fitted():
        strategy, bench, _ = make(layers=2, hidden_size=16, experiment={"results": tmp_path})
        return strategy.fit(bench).state_dict()

    first, again = fitted(), fitted()  # the first trains the teacher
    assert all(torch.equal(first[name], again[name]) for name in first)


BASES = [BertConfig(), BertConfig(hidden_size=384, num_hidden_layers=6, intermediate_size=1536)]


def student_weights(base, **params):
    """Return the encoder's weights of a student of `base`."""
    with torch.device("meta"):
        start = BertForSequenceClassification(base)
        kind = TaskKind.SEQUENCE_CLASSIFICATION
        return count_parameters(build_student(StudentParams(**params), start=start, kind=kind, seed=0).bert)


@pytest.mark.parametrize("base", BASES)
def test_the_published_student_has_14_350_248_weights(base):
    assert student_weights(base, layers=4, hidden_size=312, intermediate_size=1200) == 14_350_248


@pytest.mark.parametrize("base", BASES)
def test_by_default_its_feed_forward_layers_are_1248_wide_as_four_times_the_width(base):
    wider = 4 * 48 * (312 + 1 + 312)
    assert student_weights(base, layers=4, hidden_size=312) == 14_350_248 + wider

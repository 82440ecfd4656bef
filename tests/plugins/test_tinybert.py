import pytest
import torch
from helpers.distilling import weights_by_stage
from helpers.training import KINDS, Reports, changed_budget
from kdbench_plugins.tinybert import TinyBERT, evenly_spaced_layers
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from kdbench.api.bench import model_inputs
from kdbench.api.params import StudentParams
from kdbench.api.task import TaskKind
from kdbench.errors import UsageError
from kdbench.models.build import build_student
from kdbench.models.cost import count_parameters


def test_a_narrower_student_of_four_layers_learns_and_comes_back_from_its_files(make_bench, tmp_path):
    strategy, bench = make_bench("tinybert[layers=4,hidden_size=16]")
    model = strategy.fit(bench).eval()
    assert (model.config.hidden_size, model.config.intermediate_size) == (16, 32)
    model.save_pretrained(tmp_path / "model")
    reloaded = BertForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    batch = model_inputs(bench.experiment.collate([bench.task.scored[i] for i in range(4)]))
    with torch.no_grad():
        torch.testing.assert_close(reloaded(**batch).logits, model(**batch).logits)


def test_layer_matching_leaves_the_head_alone(make_bench):
    before, after, _ = weights_by_stage(*make_bench("tinybert[layers=2]"))
    layer = "bert.encoder.layer.0.output.dense.weight"
    assert torch.equal(after["classifier.weight"], before["classifier.weight"])
    assert not torch.equal(after[layer], before[layer])


@torch.no_grad()
@pytest.mark.parametrize("terms", ["absolute", "relative"])
def test_its_first_loss_is_the_papers_sum(make_bench, terms):
    """Equations 7 to 9 for layers 1 and 2 against 3 and 0, from hidden states and weights, one text at a time.

    Relative terms are each divided by the mean square of the teacher's side.
    """
    reports = Reports()
    strategy, bench = make_bench(
        f"tinybert[layers=2,layer_map=[3,0],init=base,dropout=0.0,terms={terms}]",
        report=reports,
        budget=changed_budget(4, train_examples=8),
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

    losses, squares = torch.zeros(4), torch.zeros(4)
    for row in bench.task.train:
        inputs = model_inputs(bench.experiment.collate([row]))
        mine, its = (model(**inputs, output_hidden_states=True).hidden_states for model in (student, teacher))
        pairs = [
            (mine[0], its[0]),
            (mine[1], its[3]),
            (mine[2], its[0]),
            (scores(student, mine, 1), scores(teacher, its, 3)),
        ]
        losses += torch.stack([mse(own, target) for own, target in pairs])
        squares += torch.stack([target.square().mean() for _, target in pairs])
    expected = (losses / squares if terms == "relative" else losses / 8).sum().item()
    assert len(bench.task.train) == 8
    assert reports.losses[0][1] == pytest.approx(expected, rel=0.02)  # training may compute in bfloat16


@pytest.mark.parametrize(
    ("depth", "teacher_depth", "expected"),
    [(4, 12, (3, 6, 9, 12)), (3, 6, (2, 4, 6)), (4, 6, (1, 3, 4, 6)), (1, 6, (6,)), (2, 2, (1, 2))],
)
def test_layers_are_evenly_spaced_by_default(depth, teacher_depth, expected):
    assert evenly_spaced_layers(depth, teacher_depth) == expected


@pytest.mark.parametrize("layer_map", [(1, 2, 3), (4,), (1, 5), (-1, 2), ()])
def test_a_map_of_another_length_or_beyond_the_teacher_is_refused(make_bench, layer_map):
    strategy, bench = make_bench(TinyBERT(TinyBERT.Params(layers=2, layer_map=layer_map)))
    with pytest.raises(
        UsageError, match=r"layer_map=\[.*\]: give a teacher layer from 1 to 4, or 0 .* 2 layers"
    ):
        strategy.fit(bench)


def test_a_teacher_of_other_heads_is_refused(make_bench, tiny_model, tmp_path):
    config = BertConfig.from_pretrained(
        tiny_model, num_attention_heads=4, id2label={0: "negative", 1: "positive"}
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path / "teacher")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "teacher")
    strategy, bench = make_bench("tinybert[init=base]", teacher=tmp_path / "teacher")
    with pytest.raises(UsageError, match="the student has 2 attention heads and the teacher 4"):
        strategy.fit(bench)


@pytest.mark.slow
@pytest.mark.parametrize("task", KINDS)
def test_with_augmentation_both_stages_train_on_unlabelled_rows_too(make_bench, task):
    reports, of_plain = Reports(), Reports()
    strategy, bench = make_bench("tinybert[layers=2,augmentation=true,copies=1]", task, report=reports)
    strategy.fit(bench)
    assert 0 < bench.unlabelled_examples <= len(bench.task.train)
    assert [run.steps for run in bench.runs] == [2, 2]
    plain, plain_bench = make_bench("tinybert[layers=2]", task, report=of_plain)
    plain.fit(plain_bench)
    assert plain_bench.unlabelled_examples == 0
    assert all(first != second for first, second in zip(reports.losses, of_plain.losses, strict=True))


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

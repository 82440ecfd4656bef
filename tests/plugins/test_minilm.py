from types import SimpleNamespace

import pytest
import torch
from helpers.distilling import weights_by_stage
from helpers.training import Reports, changed_budget, same
from kdbench_plugins.minilm import MiniLM
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    FNetConfig,
    FNetForSequenceClassification,
)

from kdbench.api.bench import model_inputs
from kdbench.errors import UsageError

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 16}


@pytest.fixture
def four_headed_teacher(tiny_model, tmp_path):
    """The folder of a fine-tuned model that has twice the base model's heads."""
    config = BertConfig.from_pretrained(
        tiny_model, num_attention_heads=4, id2label={0: "negative", 1: "positive"}
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path / "teacher")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "teacher")
    return tmp_path / "teacher"


@pytest.mark.slow
def test_teacher_and_student_may_have_other_numbers_of_heads(make_bench, four_headed_teacher):
    def fitted(params=""):
        strategy, bench = make_bench(
            f"minilm[layers=2,init=base,hidden_size=16{params}]", teacher=four_headed_teacher
        )
        student = strategy.fit(bench)
        assert (student.config.num_attention_heads, bench.teacher.config.num_attention_heads) == (2, 4)
        return student

    by_default = fitted()
    assert same(by_default, fitted(",relation_heads=4"))
    assert not same(by_default, fitted(",relation_heads=2"))


def test_nothing_after_the_last_layers_attention_is_trained_on_relations(make_bench):
    before, after, _ = weights_by_stage(*make_bench("minilm[layers=2]"))
    changed = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    last = "bert.encoder.layer.1."
    read = {
        f"{last}attention.self.{vector}.{part}"
        for vector in ("query", "key", "value")
        for part in ("weight", "bias")
    }
    assert {name for name in changed if name.startswith(last)} == read
    assert not any(name.startswith(("classifier", "bert.pooler")) for name in changed)
    assert "bert.encoder.layer.0.output.dense.weight" in changed


@pytest.mark.parametrize("layer", [None, 2])
@torch.no_grad()
def test_its_first_loss_is_the_papers_sum(make_bench, layer):
    """Relations of the student's layer 2 against the teacher's, from hidden states and weights, one text at a time."""
    reports, chosen = Reports(), f",teacher_layer={layer}" if layer else ""
    strategy, bench = make_bench(
        f"minilm[layers=2,relation_heads=4,init=base,dropout=0.0{chosen}]",
        report=reports,
        budget=changed_budget(4, train_examples=8),
    )
    with torch.enable_grad():
        strategy.fit(bench)
    student, teacher = bench.student(strategy.params).eval(), bench.teacher

    def relations(model, states, number, name):
        linear = getattr(model.bert.encoder.layer[number - 1].attention.self, name)
        slices = linear(states[number - 1]).view(-1, 4, 8)
        return torch.softmax(torch.einsum("qhd,khd->hqk", slices, slices) / 8**0.5, dim=-1)

    total = 0
    for row in bench.task.train:
        inputs = model_inputs(bench.experiment.collate([row]))
        mine, its = (model(**inputs, output_hidden_states=True).hidden_states for model in (student, teacher))
        for name in ("query", "key", "value"):
            target = relations(teacher, its, layer or 4, name)
            answer = relations(student, mine, 2, name)
            total += (target * (target / answer).log()).sum(dim=-1).mean()
    assert len(bench.task.train) == 8
    assert reports.losses[0][1] == pytest.approx(
        total.item() / 8, rel=0.03
    )  # training may compute in bfloat16


def test_a_layer_that_the_teacher_lacks_is_refused(make_bench):
    strategy, bench = make_bench("minilm[layers=2,teacher_layer=5]")
    with pytest.raises(
        UsageError, match="teacher_layer=5: the teacher has 4 layers; set it to one from 1 to 4"
    ):
        strategy.fit(bench)


@pytest.mark.parametrize(("width", "heads"), [(32, 3), (18, 4)])
def test_relation_heads_that_do_not_divide_a_width_are_refused(make_bench, width, heads):
    strategy, bench = make_bench(f"minilm[layers=2,hidden_size={width},relation_heads={heads}]")
    with pytest.raises(UsageError, match=f"{heads} relation heads do not divide both .* {width} and .* 32"):
        strategy.fit(bench)


@pytest.mark.parametrize(
    "made",
    [
        FNetForSequenceClassification(FNetConfig(vocab_size=60, **SIZES)),  # mixes words without attention
    ],
    ids=lambda made: type(made).__name__,
)
def test_a_model_without_ordinary_attention_is_refused(made):
    strategy = MiniLM(MiniLM.Params())
    with pytest.raises(
        UsageError,
        match=r"minilm.* cannot find the layers of FNet.*; take a base model built as BERT, RoBERTa",
    ):
        strategy._match_relations(made, SimpleNamespace(teacher=made), 0.5)

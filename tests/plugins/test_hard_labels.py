import pytest
import torch
from helpers.controls import control_of
from helpers.training import every_kind, same

from kdbench.errors import UsageError


@every_kind
def test_a_student_of_half_the_layers_is_trained_on_every_kind(make_bench, task):
    strategy, bench = make_bench("hard-labels[layers=2]", task)
    start = bench.student(strategy.params)
    model = strategy.finalize(strategy.fit(bench), bench)
    assert model.config.num_hidden_layers == len(model.bert.encoder.layer) == 2
    assert not torch.equal(model.classifier.weight, start.classifier.weight)
    layer = "bert.encoder.layer.1.output.dense.weight"
    assert not torch.equal(model.state_dict()[layer], start.state_dict()[layer])


def test_it_starts_from_the_teachers_layers(make_bench):
    strategy, bench = make_bench("hard-labels[layers=[0,3]]")
    student = bench.student(strategy.params)
    for mine, kept in ((0, 0), (1, 3)):
        query = "bert.encoder.layer.{}.attention.self.query.weight"
        assert torch.equal(
            student.state_dict()[query.format(mine)], bench.teacher.state_dict()[query.format(kept)]
        )


def test_whether_there_is_a_teacher_does_not_matter_to_it(make_bench, tmp_path):
    strategy, bench = make_bench("hard-labels[init=base]", results=tmp_path)
    first = strategy.fit(bench)
    make_bench("vanilla-kd", results=tmp_path)[1].teacher  # noqa: B018 - trains it
    _, bench = make_bench("hard-labels[init=base]", results=tmp_path)
    assert same(strategy.fit(bench), first)


def test_layers_that_the_base_lacks_are_refused_with_what_it_has(make_bench):
    strategy, bench = make_bench("hard-labels[layers=5]")
    with pytest.raises(UsageError, match="layers=5: the base model has 4 layers"):
        strategy.fit(bench)


def test_it_is_nobodys_distillation_and_has_no_control(make_bench):
    strategy, _ = make_bench("hard-labels")
    assert control_of(strategy) is None

import pytest
import torch
from helpers.controls import control_of
from kdbench_plugins.pkd import PKD, matched_layers

from kdbench.api.bench import model_inputs
from kdbench.api.losses import patient_loss, soft_target_loss, task_loss
from kdbench.api.spec import parse_spec
from kdbench.errors import UsageError

KINDS = ["toy-sentiment", "toy-tags", "toy-score"]


def pkd(**params):
    return PKD(PKD.Params(**params))


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("match", "student", "teacher", "expected"),
    [
        ("skip", 6, 12, [2, 4, 6, 8, 10]),  # the paper's
        ("last", 6, 12, [7, 8, 9, 10, 11]),
        ("skip", 3, 12, [4, 8]),
        ("last", 3, 12, [10, 11]),
        ("skip", 3, 6, [2, 4]),
        ("last", 3, 6, [4, 5]),
        ("skip", 3, 4, [1, 2]),
        ("skip", 4, 4, [1, 2, 3]),
        ("last", 4, 4, [1, 2, 3]),
    ],
)
def test_layers_are_matched_as_in_the_paper(match, student, teacher, expected):
    pairs = matched_layers(match, student, teacher)
    assert pairs == list(zip(range(1, student), expected, strict=True))


@pytest.mark.parametrize("match", ["skip", "last"])
def test_every_student_layer_but_the_last_learns_from_a_layer_of_its_own_but_the_last(match):
    for teacher in range(2, 25):
        for student in range(2, teacher + 1):
            mine, theirs = zip(*matched_layers(match, student, teacher), strict=True)
            assert mine == tuple(range(1, student))
            assert all(0 < layer < teacher for layer in theirs)
            assert list(theirs) == sorted(set(theirs))


@pytest.mark.parametrize(("student", "teacher"), [(1, 6), (4, 3)])
def test_a_student_of_one_layer_or_deeper_than_its_teacher_is_refused(student, teacher):
    with pytest.raises(UsageError, match=f"a student of {student} layers .*from 2 to {teacher}"):
        matched_layers("skip", student, teacher)


@pytest.mark.parametrize("task", KINDS)
def test_without_weight_on_the_teacher_it_is_its_control_bit_for_bit(make_bench, task):
    strategy, bench = make_bench(pkd(layers=2, alpha=0.0, beta=0.0, learning_rate=1e-4), task, seed=2)
    control, at = make_bench("hard-labels[layers=2,learning_rate=0.0001]", task, seed=2)
    assert same(strategy.fit(bench), control.fit(at))


def test_what_is_matched_and_weighed_makes_a_difference(make_bench):
    def fitted(**params):
        strategy, bench = make_bench(pkd(**params))
        return strategy.fit(bench)

    default = fitted()
    for changed in ({"match": "last"}, {"beta": 0.0}, {"alpha": 0.0}):
        assert not same(fitted(**changed), default)


@pytest.mark.parametrize("task", KINDS)
def test_its_loss_is_the_papers_formula_at_cls_or_for_tokens_at_every_piece(make_bench, task):
    strategy, bench = make_bench(pkd(match="last", alpha=0.2, beta=10.0, temperature=5.0), task)
    taken = []
    bench.train = lambda model, *, loss: taken.append((model.eval(), loss))
    strategy.fit(bench)
    ((student, loss),) = taken
    assert strategy.teacher_outputs == "hidden_states"
    batch = bench.experiment.collate([bench.task.train[i] for i in range(6)])
    where = batch["attention_mask"].clone()
    assert 0 in where
    if task != "toy-tags":
        where[:, 1:] = 0
    with torch.no_grad():
        mine, theirs = (
            model(**model_inputs(batch), output_hidden_states=True) for model in (student, bench.teacher)
        )
        patient = patient_loss(mine.hidden_states[1:3], theirs.hidden_states[2:4], where)  # 3 layers of 4
        soft = soft_target_loss(mine.logits, theirs.logits, batch["labels"], temperature=5.0)
        hard = task_loss(mine.logits, batch["labels"])
        torch.testing.assert_close(loss(mine, batch, theirs), 0.8 * hard + 0.2 * soft + 10 * patient)


def test_a_student_of_another_width_is_refused_with_what_to_do(make_bench):
    strategy, bench = make_bench(pkd(hidden_size=16))
    with pytest.raises(UsageError, match=r"'pkd'.* 16 wide and the teacher's 32.*leave out hidden_size"):
        strategy.fit(bench)


def test_its_control_is_the_same_student_on_labels_alone():
    assert control_of(pkd(match="last", beta=10.0)) == parse_spec("hard-labels")
    assert control_of(pkd(layers=2, init="base")) == parse_spec("hard-labels[layers=2,init=base]")

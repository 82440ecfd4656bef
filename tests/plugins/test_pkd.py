import pytest
import torch
from helpers.distilling import loss_on_batch
from helpers.training import KINDS, same
from kdbench_plugins.pkd import PKD, matched_layers

from kdbench.api.losses import patient_loss, soft_target_loss, task_loss
from kdbench.errors import UsageError


def pkd(**params):
    return PKD(PKD.Params(**params))


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


@pytest.mark.slow
def test_what_is_matched_and_weighed_makes_a_difference(make_bench):
    def fitted(**params):
        strategy, bench = make_bench(pkd(**params))
        return strategy.fit(bench)

    default = fitted()
    for changed in ({"match": "last"}, {"beta": 0.0}, {"alpha": 0.0}):
        assert not same(fitted(**changed), default)


@pytest.mark.parametrize("task", KINDS)
def test_its_loss_is_the_papers_formula_at_cls_or_for_tokens_at_every_piece(make_bench, task):
    found = loss_on_batch(*make_bench(pkd(match="last", alpha=0.2, beta=10.0, temperature=5.0), task))
    mine, theirs, labels = found.student, found.teacher, found.batch["labels"]
    where = found.batch["attention_mask"].clone()
    assert 0 in where
    if task != "toy-tags":
        where[:, 1:] = 0
    patient = patient_loss(mine.hidden_states[1:3], theirs.hidden_states[2:4], where)  # 3 layers of 4
    soft = soft_target_loss(mine.logits, theirs.logits, labels, temperature=5.0)
    hard = task_loss(mine.logits, labels)
    torch.testing.assert_close(found.value, 0.8 * hard + 0.2 * soft + 10 * patient)

import pytest
import torch
from helpers.controls import control_of
from kdbench_plugins.distilbert import DistilBERT

from kdbench.api.bench import model_inputs
from kdbench.api.losses import cosine_loss, soft_target_loss, task_loss
from kdbench.api.spec import parse_spec
from kdbench.errors import UsageError

KINDS = ["toy-sentiment", "toy-tags", "toy-score"]


def distilbert(**params):
    return DistilBERT(DistilBERT.Params(**params))


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("task", KINDS)
def test_without_weight_on_the_teacher_it_is_its_control_bit_for_bit(make_bench, task):
    strategy, bench = make_bench(
        distilbert(layers=2, soft_weight=0.0, hard_weight=3.0, cosine_weight=0.0, learning_rate=1e-4),
        task,
        seed=2,
    )
    control, at = make_bench("hard-labels[layers=2,learning_rate=0.0001]", task, seed=2)
    assert same(strategy.fit(bench), control.fit(at))


def test_each_weight_makes_a_difference_and_only_their_ratios_do(make_bench):
    def fitted(**params):
        strategy, bench = make_bench(distilbert(**params), "toy-tags")
        return strategy.fit(bench)

    default = fitted()
    for weight in ("soft_weight", "hard_weight", "cosine_weight"):
        assert not same(fitted(**{weight: 0.0}), default)
    assert same(fitted(soft_weight=20.0, hard_weight=8.0, cosine_weight=4.0), default)


@pytest.mark.parametrize("task", KINDS)
def test_its_loss_is_five_two_and_one_eighths_of_its_parts(make_bench, task):
    strategy, bench = make_bench(distilbert(), task)
    taken = []
    bench.train = lambda model, *, loss: taken.append((model.eval(), loss))
    strategy.fit(bench)
    ((student, loss),) = taken
    assert strategy.teacher_outputs == "hidden_states"
    batch = bench.experiment.collate([bench.task.train[i] for i in range(6)])
    with torch.no_grad():
        mine, theirs = (
            model(**model_inputs(batch), output_hidden_states=True) for model in (student, bench.teacher)
        )
        parts = (
            soft_target_loss(mine.logits, theirs.logits, batch["labels"], temperature=2.0),
            task_loss(mine.logits, batch["labels"]),
            cosine_loss(mine.hidden_states[3], theirs.hidden_states[4], batch["attention_mask"]),
        )
        expected = (5 * parts[0] + 2 * parts[1] + parts[2]) / 8
        torch.testing.assert_close(loss(mine, batch, theirs), expected)
        assert loss(theirs, batch, theirs).item() == pytest.approx(
            task_loss(theirs.logits, batch["labels"]).item() / 4, rel=1e-4
        )


def test_a_student_of_another_width_is_refused_with_what_to_do(make_bench):
    strategy, bench = make_bench(distilbert(hidden_size=16))
    with pytest.raises(
        UsageError, match=r"'distilbert'.* 16 wide and the teacher's 32.*leave out hidden_size"
    ):
        strategy.fit(bench)


def test_weights_that_leave_no_loss_are_refused():
    with pytest.raises(ValueError, match="are all 0"):
        DistilBERT.Params(soft_weight=0.0, hard_weight=0.0, cosine_weight=0.0)


def test_its_control_is_the_same_student_on_labels_alone():
    assert control_of(distilbert(cosine_weight=3.0)) == parse_spec("hard-labels")
    assert control_of(distilbert(layers=2, init="base")) == parse_spec("hard-labels[layers=2,init=base]")

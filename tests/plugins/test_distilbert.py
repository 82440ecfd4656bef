import pytest
import torch
from helpers.distilling import loss_on_batch
from helpers.training import KINDS, same
from kdbench_plugins.distilbert import DistilBERT

from kdbench.api.losses import cosine_loss, soft_target_loss, task_loss


def distilbert(**params):
    return DistilBERT(DistilBERT.Params(**params))


@pytest.mark.slow
def test_each_weight_makes_a_difference_and_only_their_ratios_do(make_bench):
    def fitted(**params):
        strategy, bench = make_bench(distilbert(**params), "toy-tags")
        return strategy.fit(bench)

    default = fitted()
    for weight in ("soft_weight", "hard_weight", "cosine_weight"):
        assert not same(fitted(**{weight: 0.0}), default)
    assert same(fitted(soft_weight=20.0, hard_weight=8.0, cosine_weight=4.0), default)


def test_weights_that_leave_no_loss_are_refused():
    with pytest.raises(ValueError, match="are all 0"):
        DistilBERT.Params(soft_weight=0.0, hard_weight=0.0, cosine_weight=0.0)


@pytest.mark.parametrize("task", KINDS)
def test_its_loss_is_five_two_and_one_eighths_of_its_parts(make_bench, task):
    found = loss_on_batch(*make_bench(distilbert(), task))
    mine, theirs, labels = found.student, found.teacher, found.batch["labels"]
    soft = soft_target_loss(mine.logits, theirs.logits, labels, temperature=2.0)
    hard = task_loss(mine.logits, labels)
    cosine = cosine_loss(mine.hidden_states[3], theirs.hidden_states[4], found.batch["attention_mask"])
    torch.testing.assert_close(found.value, (5 * soft + 2 * hard + cosine) / 8)
    assert found.value_of_teacher.item() == pytest.approx(
        task_loss(theirs.logits, labels).item() / 4, rel=1e-4
    )

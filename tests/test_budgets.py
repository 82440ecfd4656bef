import pytest

from kdbench.budgets import BUDGETS
from kdbench.kinds import TaskKind

SENTENCES, TOKENS = TaskKind.SEQUENCE_CLASSIFICATION, TaskKind.TOKEN_CLASSIFICATION


@pytest.mark.parametrize(
    ("kind", "examples", "steps"),
    [
        (SENTENCES, 2000, 120),  # 3,840 examples: not yet two passes
        (SENTENCES, 480, 90),  # six passes of 15 steps
        (SENTENCES, 481, 91),  # 6 * 481 / 32 = 90.2
        (TOKENS, 1615, 240),
    ],
)
def test_a_small_task_is_not_gone_over_more_often_than_the_budget_allows(kind, examples, steps):
    assert BUDGETS["quick"].steps_for(kind, examples) == steps


def test_without_a_limit_the_steps_are_those_of_the_kind():
    assert BUDGETS["full"].steps_for(SENTENCES, 10) == BUDGETS["full"].steps[SENTENCES]

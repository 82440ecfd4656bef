import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kdbench.stats import TieRank, tie_ranks


def differing(models, *pairs) -> np.ndarray:
    shown = np.zeros((models, models), dtype=bool)
    for i, j in pairs:
        shown[i, j] = shown[j, i] = True
    return shown


def shown(ranks) -> list[str | None]:
    return [rank and str(rank) for rank in ranks]


def test_groups_share_a_rank_and_the_next_counts_all_before_it():
    # 1 and 3 are alike; 0 and 2 are below, and alike.
    differs = differing(4, (1, 0), (1, 2), (3, 0), (3, 2))
    assert shown(tie_ranks([0.7, 0.9, 0.6, 0.8], differs)) == ["3=", "1=", "3=", "1="]


def test_a_rank_of_ones_own_bears_no_sign():
    assert shown(tie_ranks([0.5, 0.9], differing(2, (0, 1)))) == ["2", "1"]
    assert shown(tie_ranks([0.5], differing(1))) == ["1"]


def test_only_the_leader_counts():
    # The last differs from the one above it, not from the leader: all three are tied.
    assert shown(tie_ranks([0.9, 0.8, 0.7], differing(3, (1, 2)))) == ["1=", "1=", "1="]
    # The last differs from the leader alone.
    assert shown(tie_ranks([0.9, 0.8, 0.7], differing(3, (0, 2)))) == ["1=", "1=", "3"]


def test_who_stands_below_a_new_leader_does_not_return_to_the_old_one():
    assert shown(tie_ranks([0.9, 0.8, 0.7], differing(3, (0, 1)))) == ["1", "2=", "2="]


def test_models_that_answer_alike_share_a_rank_though_another_of_their_score_stands_between_them():
    # 1 and 3 answer alike; 2 scores the same by other answers, and alone is shown to differ from the leader.
    differs = differing(4, (0, 2))
    assert shown(tie_ranks([0.9, 0.8, 0.8, 0.8], differs)) == ["1=", "1=", "4", "1="]


def test_a_model_without_a_score_has_no_place():
    assert shown(tie_ranks([np.nan, 0.9, 0.8], differing(3, (1, 2)))) == [None, "1", "2"]
    assert tie_ranks([], differing(0)) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.randoms())
def test_ranks_follow_scores_and_each_leader_is_shown_better_than_what_leads_next(scores, random):
    models = len(scores)
    differs = differing(models, *((i, j) for i in range(models) for j in range(i) if random.random() < 0.5))
    ranks = tie_ranks(scores, differs)
    places = np.array([rank.rank for rank in ranks])
    assert places.min() == 1
    for i in range(models):
        assert ranks[i] == TieRank(1 + int(np.sum(places < places[i])), bool(np.sum(places == places[i]) > 1))
        for j in range(models):
            if scores[i] > scores[j]:
                assert places[i] <= places[j]

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdbench import TaskKind
from kdbench.api.task import IGNORED
from kdbench.data.batches import LengthGroupedSampler

skewed = np.minimum(200, 3 + np.random.default_rng(0).geometric(0.05, size=3000))


def padding_share(order: list[int], lengths: np.ndarray, batch_size: int) -> float:
    batches = [lengths[order[i : i + batch_size]] for i in range(0, len(order), batch_size)]
    cells = sum(len(batch) * batch.max() for batch in batches)
    return 1 - lengths.sum() / cells


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=400),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 2**31 - 1),
)
def test_every_index_comes_exactly_once_an_epoch(lengths, batch_size, seed):
    sampler = LengthGroupedSampler(lengths, batch_size, seed)
    assert len(sampler) == len(lengths)
    for _ in range(3):
        assert sorted(sampler) == list(range(len(lengths)))


def test_order_follows_from_seed_and_epoch_alone():
    def epochs(seed: int, disturb: bool) -> list[list[int]]:
        sampler = LengthGroupedSampler(skewed[:300], 8, seed)
        orders = []
        for number in range(3):
            if disturb:
                torch.manual_seed(number)
                np.random.seed(number)
                random.seed(number)
            orders.append(list(sampler))
        return orders

    once = epochs(7, disturb=False)
    assert epochs(7, disturb=True) == once
    assert once[0] != once[1] != once[2]
    assert epochs(8, disturb=False)[0] != once[0]


def test_batches_of_similar_lengths_need_far_less_padding_than_a_random_order():
    grouped = padding_share(list(LengthGroupedSampler(skewed, 32, seed=0)), skewed, 32)
    shuffled = padding_share(np.random.default_rng(1).permutation(len(skewed)).tolist(), skewed, 32)
    assert shuffled > 0.6
    assert grouped < 0.1


def test_short_and_long_batches_come_in_mixed_order():
    order = list(LengthGroupedSampler(skewed, 32, seed=0))
    means = [skewed[order[i : i + 32]].mean() for i in range(0, len(order) - 31, 32)]
    assert abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.3


def test_a_short_batch_comes_last_and_splits_no_other():
    lengths = np.repeat([5, 50], [66, 66])  # 132 = 16 batches of 8 and one of 4
    order = list(LengthGroupedSampler(lengths, 8, seed=3))
    mixed = [i for i in range(0, 128, 8) if len(set(lengths[order[i : i + 8]])) > 1]
    assert len(mixed) <= 1  # the one that bridges the two lengths


@pytest.fixture
def collate(make_experiment):
    return make_experiment().collate


def test_short_rows_are_padded_and_masked(collate):
    rows = [
        {"id": 5, "input_ids": [2, 9, 3], "token_type_ids": [0, 1, 1], "labels": 1},
        {"id": 2, "input_ids": [2, 9, 8, 7, 3], "token_type_ids": [0, 0, 1, 1, 1], "labels": 0},
    ]
    batch = collate(rows)
    assert {name: value.tolist() for name, value in batch.items()} == {
        "input_ids": [[2, 9, 3, 0, 0], [2, 9, 8, 7, 3]],
        "token_type_ids": [[0, 1, 1, 0, 0], [0, 0, 1, 1, 1]],
        "attention_mask": [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]],
        "labels": [1, 0],
        "id": [5, 2],
    }
    assert all(value.dtype == torch.int64 for value in batch.values())


def test_labels_of_tokens_are_padded_with_what_losses_ignore(make_experiment):
    collate = make_experiment("toy-tags").collate
    rows = [
        {"id": 0, "input_ids": [2, 9, 3], "labels": [IGNORED, 4, IGNORED]},
        {"id": 1, "input_ids": [2, 9, 8, 3], "labels": [IGNORED, 1, 0, IGNORED]},
    ]
    batch = collate(rows)
    assert batch["labels"].tolist() == [
        [IGNORED, 4, IGNORED, IGNORED],
        [IGNORED, 1, 0, IGNORED],
    ]
    assert "token_type_ids" not in batch


def test_labels_of_regression_stay_floats(collate):
    rows = [{"id": 0, "input_ids": [2, 3], "labels": 0.5}, {"id": 1, "input_ids": [2, 3], "labels": -1.0}]
    labels = collate(rows)["labels"]
    assert labels.dtype == torch.float32
    assert labels.tolist() == [0.5, -1.0]


def test_padding_is_the_tokenizers_own(make_experiment):
    from kdbench.data.batches import Collator

    tokenizer = make_experiment().tokenizer
    tokenizer.pad_token = "[MASK]"
    rows = [{"id": 0, "input_ids": [2, 3], "labels": 0}, {"id": 1, "input_ids": [2, 9, 3], "labels": 0}]
    padded = Collator(tokenizer, TaskKind.SEQUENCE_CLASSIFICATION)(rows)["input_ids"]
    assert padded[0].tolist() == [2, 3, tokenizer.mask_token_id]

import torch
from transformers import BertTokenizerFast

from kdbench.measure.timing import GRID, synthetic_batch, vocabulary


def test_the_grid_goes_from_the_fewest_word_pieces_to_the_most():
    assert len(GRID) == 12
    assert GRID[0] == (1, 16)
    assert GRID[-1] == (32, 128)
    pieces = [size * length for size, length in GRID]
    assert pieces == sorted(pieces)


def test_a_batch_is_full_of_real_word_pieces():
    ids = [7, 11, 13, 40]
    batch = synthetic_batch(ids, ["input_ids", "attention_mask", "token_type_ids"], 8, 64)
    assert {name: (value.shape, value.dtype) for name, value in batch.items()} == dict.fromkeys(
        ["input_ids", "attention_mask", "token_type_ids"], (torch.Size([8, 64]), torch.int64)
    )
    assert set(batch["input_ids"].flatten().tolist()) == set(ids)
    assert batch["attention_mask"].all()
    assert not batch["token_type_ids"].any()
    assert len({tuple(row) for row in batch["input_ids"].tolist()}) == 8


def test_two_batches_of_a_size_are_the_same_and_have_what_a_model_reads():
    first, again = (synthetic_batch(range(50), ["input_ids", "attention_mask"], 4, 16) for _ in range(2))
    assert set(first) == {"input_ids", "attention_mask"}
    assert torch.equal(first["input_ids"], again["input_ids"])


def test_special_word_pieces_are_none_of_the_vocabulary(tiny_model):
    tokenizer = BertTokenizerFast.from_pretrained(tiny_model)
    ids = vocabulary(tokenizer)
    assert not {tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id} & set(ids)
    assert len(ids) == len(tokenizer) - 5

"""A row's answers, brought into one order."""

import numpy as np
import pytest
from helpers.support import make_record, save_predictions

from kdbench.api.predictions import Predictions
from kdbench.board.cells import tidy
from kdbench.board.frames import rows_of
from kdbench.board.predictions import load_scored
from kdbench.errors import KdbenchError


def cells_of(records):
    return rows_of(tidy(records, []))


def test_the_seeds_share_one_order_of_examples(tmp_path):
    records = [make_record(seed=seed) for seed in (0, 1)]
    save_predictions(tmp_path, records[0].key, [True, False, True, True], ids=[9, 4, 6, 2])
    save_predictions(tmp_path, records[1].key, [True, True, False, False], ids=[2, 4, 6, 9])
    scored = load_scored(cells_of(records), tmp_path)
    assert scored.ids.tolist() == [2, 4, 6, 9]
    assert scored.seeds == (0, 1)
    # Accuracy adds 1 for a right answer, and 1 for the example.
    assert scored.statistics[:, :, 0].tolist() == [[1, 0, 1, 1], [1, 1, 0, 0]]
    assert (scored.statistics[:, :, 1] == 1).all()
    assert scored.of_seeds([1]).tolist() == scored.statistics[1:].tolist()
    # The first seed answered ids 9, 4, 6, 2 whose references are 0, 1, 0, 1, and was wrong on the second.
    assert [answer.tolist() for answer in scored.answers(0)] == [[1], [0], [0], [0]]
    assert [answer.tolist() for answer in scored.references()] == [[1], [1], [0], [0]]


def test_the_words_of_a_sentence_stay_together(tmp_path):
    record = make_record()
    Predictions(
        ids=np.array([5, 3, 4]),
        logits=np.eye(2, dtype=np.float32)[[0, 1, 1, 0]],
        references=np.array([0, 1, 0, 0]),
        offsets=np.array([0, 1, 1, 4]),  # the sentence with id 3 has no word
    ).save(tmp_path / "predictions" / f"{record.key}.safetensors")
    scored = load_scored(cells_of([record]), tmp_path)
    assert scored.ids.tolist() == [3, 4, 5]
    assert [answer.tolist() for answer in scored.answers(0)] == [[], [1, 1, 0], [0]]
    assert [answer.tolist() for answer in scored.references()] == [[], [1, 0, 0], [0]]
    assert scored.statistics[0, :, 0].tolist() == [0, 2, 1]


def test_seeds_scored_on_different_examples_do_not_belong_together(tmp_path):
    records = [make_record(seed=seed) for seed in (0, 1)]
    save_predictions(tmp_path, records[0].key, [True, False], ids=[0, 1])
    save_predictions(tmp_path, records[1].key, [True, False], ids=[0, 2])
    with pytest.raises(KdbenchError, match="different examples"):
        load_scored(cells_of(records), tmp_path)


def test_a_missing_file_is_told_by_its_seed_and_not_by_its_folder(tmp_path):
    with pytest.raises(KdbenchError, match="predictions of seed 3 are missing") as told:
        load_scored(cells_of([make_record(seed=3)]), tmp_path)
    assert str(tmp_path) not in str(told.value)

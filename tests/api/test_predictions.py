from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

from kdbench.api.predictions import Predictions
from kdbench.errors import KdbenchError

SENTIMENT = Predictions(
    ids=np.array([7, 3, 5]),
    logits=np.array([[0.1, 0.9], [2.0, -1.0], [0.5, 0.5]], dtype=np.float32),
    references=np.array([1, 1, 0]),
)
SIMILARITY = Predictions(
    ids=np.array([0, 1]),
    logits=np.array([[4.25], [0.5]], dtype=np.float32),
    references=np.array([5.0, 0.0], dtype=np.float32),
)
# Three sentences of two, no and one word.
TAGGING = Predictions(
    ids=np.array([4, 9, 2]),
    logits=np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32),
    references=np.array([0, 1, 1]),
    offsets=np.array([0, 2, 2, 3]),
)
GROUPED = replace(SENTIMENT, groups=np.array([4, 1, 4]))
KINDS = pytest.mark.parametrize("predictions", [SENTIMENT, SIMILARITY, TAGGING, GROUPED])


def test_the_largest_logit_is_the_class_and_the_first_of_equal_ones():
    assert SENTIMENT.predicted.tolist() == [1, 0, 0]
    assert SENTIMENT.predicted.dtype == np.int64


def test_the_only_output_of_a_regression_is_its_value():
    assert SIMILARITY.predicted.tolist() == [4.25, 0.5]


def test_length_counts_examples_not_words():
    assert len(TAGGING) == 3
    assert TAGGING.predicted.tolist() == [0, 1, 2]


@KINDS
def test_what_is_saved_is_what_is_loaded(tmp_path, predictions):
    path = tmp_path / "folder" / "cell.safetensors"
    predictions.save(path)
    loaded = Predictions.load(path)
    for name in ("ids", "logits", "references", "offsets"):
        before, after = getattr(predictions, name), getattr(loaded, name)
        np.testing.assert_array_equal(before, after)
        assert before is None or before.dtype == after.dtype
    assert list(path.parent.iterdir()) == [path]


@KINDS
def test_a_change_of_any_array_is_noticed(tmp_path, predictions):
    path = tmp_path / "cell.safetensors"
    predictions.save(path)
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    for place in range(start, len(whole), 8):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(KdbenchError, match=r"cannot read .* delete it with its record and run again"):
            Predictions.load(path)


def test_predictions_without_a_checksum_are_read(tmp_path):
    arrays = {"ids": SENTIMENT.ids, "logits": SENTIMENT.logits, "references": SENTIMENT.references}
    (tmp_path / "old.safetensors").write_bytes(safetensors.numpy.save(arrays))
    assert Predictions.load(tmp_path / "old.safetensors").logits.tolist() == SENTIMENT.logits.tolist()


def test_logits_that_do_not_lie_in_row_order_survive_saving(tmp_path):
    transposed = np.array([[0.1, 2.0, 0.5], [0.9, -1.0, 0.5]], dtype=np.float32).T
    replace(SENTIMENT, logits=transposed).save(tmp_path / "cell.safetensors")
    assert Predictions.load(tmp_path / "cell.safetensors").logits.tolist() == SENTIMENT.logits.tolist()


@KINDS
def test_a_file_cut_off_anywhere_is_named_in_one_line(tmp_path, predictions):
    path = tmp_path / "cell.safetensors"
    predictions.save(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(KdbenchError, match=r"^cannot read .*cell\.safetensors .*run again$"):
            Predictions.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(KdbenchError, match=r"nothing\.safetensors \(No such file"):
        Predictions.load(tmp_path / "nothing.safetensors")


def test_a_safetensors_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors.numpy.save({"weight": np.zeros((2, 2), dtype=np.float32)}))
    with pytest.raises(KdbenchError, match="its arrays must be ids, logits, references"):
        Predictions.load(path)


def test_a_file_whose_arrays_disagree_is_refused(tmp_path):
    path = tmp_path / "cell.safetensors"
    arrays = {"ids": SENTIMENT.ids[:2], "logits": SENTIMENT.logits, "references": SENTIMENT.references}
    path.write_bytes(safetensors.numpy.save(arrays))
    with pytest.raises(KdbenchError, match="3 logits and 3 references for 2 units"):
        Predictions.load(path)


@pytest.mark.parametrize(
    ("predictions", "change", "complaint"),
    [
        (SENTIMENT, {"logits": SENTIMENT.logits.astype(np.float64)}, "logits must have .* of float32"),
        (SENTIMENT, {"logits": SENTIMENT.logits[:, 0]}, "logits must have 2 dimension"),
        (SENTIMENT, {"ids": SENTIMENT.ids.astype(np.int32)}, "ids must have .* of int64"),
        (SENTIMENT, {"references": np.array([1, 1, 2])}, "not one of the 2 classes"),
        (SENTIMENT, {"references": np.array([1, 1, -100])}, "not one of the 2 classes"),
        (SENTIMENT, {"references": np.ones(3, dtype=np.float32)}, "regression needs one output, not 2"),
        (SENTIMENT, {"logits": SENTIMENT.logits * np.float32(np.nan)}, "lower the learning rate"),
        (SIMILARITY, {"logits": SIMILARITY.logits + np.float32(np.inf)}, "lower the learning rate"),
        (SENTIMENT, {"groups": np.array([1, 1])}, "2 groups for 3 examples"),
        (TAGGING, {"offsets": np.array([0, 2, 3])}, "do not delimit 3 examples"),
        (TAGGING, {"offsets": np.array([0, 2, 1, 3])}, "do not delimit 3 examples"),
        (TAGGING, {"offsets": np.array([0, 2, 2, 2])}, "do not delimit 3 examples"),
    ],
)
def test_answers_that_cannot_be_scored_are_refused(predictions, change, complaint):
    with pytest.raises(KdbenchError, match=complaint):
        replace(predictions, **change)

import mmap

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdbench.api.bench import model_inputs
from kdbench.api.task import IGNORED
from kdbench.models.build import load_base
from kdbench.training.bench import TrainingBench
from kdbench.training.teacher import CachedLogits, TeacherStore
from kdbench.training.trainer import TrainingRun


@st.composite
def ids_and_batch(draw):
    ids = draw(st.lists(st.integers(0, 10_000), min_size=1, max_size=40, unique=True))
    return ids, draw(st.lists(st.sampled_from(ids), min_size=1, max_size=20))


@given(ids_and_batch())
def test_texts_find_their_own_logits_in_any_order_and_subset(tmp_path_factory, drawn):
    ids, batch_ids = drawn
    folder = tmp_path_factory.mktemp("cache") / "logits"
    CachedLogits.write(folder, ids, [np.array([[row, -row]], dtype=np.float32) for row in ids])
    batch = {"id": torch.tensor(batch_ids), "labels": torch.zeros(len(batch_ids), dtype=torch.long)}
    logits = CachedLogits(folder, per_word=False)(batch).logits
    assert logits.dtype == torch.float32
    assert logits.tolist() == [[row, -row] for row in batch_ids]


@given(ids_and_batch(), st.randoms(use_true_random=False))
def test_words_find_their_own_logits_in_any_order_subset_and_padding(tmp_path_factory, drawn, draw):
    ids, batch_ids = drawn
    folder = tmp_path_factory.mktemp("cache") / "logits"
    words = {row: draw.randint(1, 6) for row in ids}
    answers = {row: [[row, word, 0.5] for word in range(words[row])] for row in ids}
    CachedLogits.write(folder, ids, [np.array(answers[row], dtype=np.float32) for row in ids])

    labels = torch.full((len(batch_ids), 12), IGNORED)
    places = []
    for i, row in enumerate(batch_ids):
        places.append(sorted(draw.sample(range(12), words[row])))
        labels[i, places[-1]] = 1
    logits = CachedLogits(folder, per_word=True)({"id": torch.tensor(batch_ids), "labels": labels}).logits

    assert logits.shape == (len(batch_ids), 12, 3)
    for i, row in enumerate(batch_ids):
        assert logits[i, places[i]].tolist() == answers[row]
    assert not logits[labels == IGNORED].any()


@pytest.fixture
def stored(tmp_path):
    CachedLogits.write(tmp_path / "logits", [3, 8], [np.ones((2, 3)), np.ones((1, 3))])
    return CachedLogits(tmp_path / "logits", per_word=True)


@pytest.mark.parametrize("unknown", [0, 5, 9])
def test_a_row_that_the_teacher_never_saw_is_an_error_that_names_it(stored, unknown):
    with pytest.raises(KeyError, match=rf"\[{unknown}\]"):
        stored({"id": torch.tensor([3, unknown]), "labels": torch.tensor([[1, 1], [1, IGNORED]])})


def test_a_row_with_another_number_of_words_is_an_error(stored):
    with pytest.raises(KeyError, match="other words"):
        stored({"id": torch.tensor([3]), "labels": torch.tensor([[1, IGNORED]])})


def test_the_logits_stay_on_disk(stored):
    held = stored._logits
    assert isinstance(held, np.memmap)
    assert isinstance(held._mmap, mmap.mmap)


@pytest.mark.parametrize("task", ["toy-sentiment", "toy-tags", "toy-score"])
def test_shuffled_training_rows_get_the_answers_that_the_teacher_gives_them(task, make_bench):
    _, bench = make_bench("vanilla-kd", task)
    experiment = bench.experiment
    model = load_base(experiment.base.path, experiment.kind, experiment.task.task.labels, seed=0).eval()
    with torch.no_grad():
        model.classifier.weight.mul_(100)  # an untrained head tells examples hardly apart
    store = TeacherStore(experiment)
    store.save(model, TrainingRun(train_s=0, steps=0, examples=0, tokens=0, best_score=0))

    seen: list[tuple[dict, torch.Tensor]] = []

    def loss(student, batch, teacher):
        seen.append((dict(batch), teacher.logits))
        return student.logits.sum() * 0

    bench.train(bench.base(), loss=loss, teacher_outputs="logits")

    assert len(seen) == 4
    for batch, cached in seen:
        assert batch["id"].tolist() != sorted(batch["id"].tolist())
        with torch.no_grad():
            answers = model(**model_inputs(batch)).logits
        counted = batch["labels"] != IGNORED
        spread = answers[counted].std(dim=0).min()
        # Where bfloat16 made the cache it is good to a few hundredths; two examples swapped would differ by far more.
        assert (cached - answers)[counted].abs().mean() < 0.1 * spread


def test_every_training_row_has_its_logits_however_small_the_batches(make_bench):
    _, bench = make_bench("vanilla-kd", "toy-tags")
    assert isinstance(bench, TrainingBench)
    bench.teacher  # noqa: B018 - trains it
    logits, _ = TeacherStore(bench.experiment).logits(bench.task.train)
    rows = bench.task.train.shuffle(seed=5)
    for start in (0, 7, len(rows) - 1):
        batch = bench.experiment.collate([rows[start]])
        words = int((batch["labels"] != IGNORED).sum())
        assert int(logits(batch).logits.any(-1).sum()) == words

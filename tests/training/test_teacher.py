import hashlib
import multiprocessing
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdbench.api.bench import model_inputs
from kdbench.api.spec import StrategySpec
from kdbench.api.task import IGNORED
from kdbench.config import RunConfig
from kdbench.models.build import load_base
from kdbench.training.bench import TrainingBench
from kdbench.training.cached_outputs import CachedLogits
from kdbench.training.experiment import open_experiment
from kdbench.training.teacher import TEACHER_PARAMS, RunningTeacher, TeacherStore, teacher_key
from kdbench.training.trainer import TrainingRun
from kdbench.utils.sealed import sealed_folder


def digest(model):
    content = b"".join(value.numpy().tobytes() for _, value in sorted(model.state_dict().items()))
    return hashlib.sha256(content).hexdigest()


def take_teacher(config: str, barrier, answers) -> None:
    """Ask for the teacher at the same moment as another process, and tell whether it was trained here."""
    opened = open_experiment(RunConfig.model_validate_json(config), "toy-sentiment")
    phases = set()
    strategy = opened.registry.strategy(StrategySpec(name="hard-labels"))
    bench = TrainingBench(opened.experiment, strategy, 0, lambda phase, *progress: phases.add(phase))
    barrier.wait(60)
    weights = digest(bench.teacher)
    answers.put((weights, "training the teacher" in phases))


@pytest.mark.slow
def test_two_processes_at_once_train_it_once_even_if_it_was_damaged(make_config):
    config = make_config().model_dump_json()
    experiment = open_experiment(RunConfig.model_validate_json(config), "toy-sentiment").experiment
    with sealed_folder(TeacherStore(experiment, 0).folder) as partial:
        for name in ("training.json", "model.safetensors"):
            (partial / name).write_text("content")
    (TeacherStore(experiment, 0).folder / "model.safetensors").write_bytes(b"")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kdbench.run.cell"])  # what takes long is imported once for both
    barrier, answers = context.Barrier(2), context.Queue()
    processes = [context.Process(target=take_teacher, args=(config, barrier, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    (first, trained_first), (second, trained_second) = (answers.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert first == second
    assert sorted([trained_first, trained_second]) == [False, True]


def test_it_is_trained_once_for_every_strategy_of_a_seed(make_bench):
    _, bench = make_bench("hard-labels")
    first = digest(bench.teacher)
    folder = TeacherStore(bench.experiment, 0).folder
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert folder / "training.json" in written
    for spec in ("vanilla-kd", "hard-labels[layers=2]", "pkd[learning_rate=0.1]"):
        _, other = make_bench(spec)
        assert digest(other.teacher) == first
    _, other = make_bench("vanilla-kd", seed=1)
    assert digest(other.teacher) != first
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_its_logits_are_computed_once(make_bench):
    _, bench = make_bench("vanilla-kd")
    bench.teacher  # noqa: B018 - trains it
    rows = bench.task.train
    _, seconds = TeacherStore(bench.experiment, 0).logits(rows)
    (file,) = TeacherStore(bench.experiment, 0).folder.glob("logits-*/logits.npy")
    written = file.stat().st_mtime_ns
    assert TeacherStore(bench.experiment, 0).logits(rows)[1] == seconds
    assert seconds.wall > 0
    assert seconds.cpu > 0
    assert file.stat().st_mtime_ns == written


def test_other_rows_have_logits_of_their_own(make_bench):
    _, bench = make_bench("vanilla-kd")
    bench.teacher  # noqa: B018 - trains it
    store, rows = TeacherStore(bench.experiment, 0), bench.task.train
    few, _ = store.logits(rows.select(range(3)))
    turned = [
        row["input_ids"][:1] + row["input_ids"][-2:0:-1] + row["input_ids"][-1:]
        for row in rows.select(range(3))
    ]
    other, _ = store.logits(rows.select(range(3)).remove_columns("input_ids").add_column("input_ids", turned))
    batch = bench.experiment.collate([rows[0], rows[1], rows[2]])
    assert not torch.equal(few(batch).logits, other(batch).logits)
    with pytest.raises(KeyError, match="no outputs for the rows"):
        few(bench.experiment.collate([rows[3]]))


def test_what_training_it_took_is_kept(make_bench):
    _, bench = make_bench("hard-labels")
    bench.teacher  # noqa: B018 - trains it
    run = TeacherStore(bench.experiment, 0).run()
    assert (run.steps, run.examples) == (4, 32)
    assert run.train_s > 0
    assert 0 <= run.best_score <= 1


def test_another_name_stands_for_whatever_changes_its_weights(
    make_experiment, tiny_model, tiny_budget, tmp_path
):
    one = make_experiment()
    fine_tuned, other_weights = tmp_path / "fine-tuned", tmp_path / "other"
    model = load_base(tiny_model, one.kind, one.task.task.labels, seed=0)
    model.save_pretrained(fine_tuned)
    with torch.no_grad():
        model.get_input_embeddings().weight[7, 3] += 1e-3
    model.base_model.save_pretrained(other_weights)
    for folder in (fine_tuned, other_weights):
        one.tokenizer.save_pretrained(folder)

    changed = [
        make_experiment("toy-tags"),
        replace(one, task=replace(one.task, fingerprint="of other data")),
        make_experiment(teacher=fine_tuned),
        make_experiment(teacher=fine_tuned, budget=tiny_budget.model_copy(update={"train_examples": 65})),
        make_experiment(model=other_weights),
        make_experiment(budget=tiny_budget.model_copy(update={"train_examples": 65})),
        make_experiment(budget=tiny_budget.model_copy(update={"max_length": 31})),
        make_experiment(budget=tiny_budget.model_copy(update={"evaluations": 3})),
    ]
    names = [teacher_key(experiment, 0) for experiment in (one, *changed)]
    names.append(teacher_key(one, 1))
    assert len(set(names)) == len(names)


def test_its_name_does_not_change_with_what_leaves_its_weights_alone(make_experiment, tiny_budget, tmp_path):
    one = make_experiment()
    same = [
        make_experiment(results=tmp_path / "elsewhere"),
        make_experiment(budget=tiny_budget.model_copy(update={"seeds": 7, "latency_rounds": 99})),
    ]
    assert {teacher_key(experiment, 0) for experiment in same} == {teacher_key(one, 0)}


def test_a_given_classifier_is_that_of_every_seed_and_a_given_encoder_is_not(
    make_experiment, tiny_model, tmp_path
):
    one = make_experiment()
    load_base(tiny_model, one.kind, one.task.task.labels, seed=0).save_pretrained(tmp_path)
    one.tokenizer.save_pretrained(tmp_path)
    given = make_experiment(teacher=tmp_path)
    assert teacher_key(given, 0) == teacher_key(given, 1)
    encoder = make_experiment(teacher=tiny_model)
    assert teacher_key(encoder, 0) != teacher_key(encoder, 1)


def test_nothing_is_kept_of_a_training_that_was_cut_off(make_bench):
    def interrupted(*progress):
        raise KeyboardInterrupt

    _, bench = make_bench("hard-labels", report=interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench.teacher  # noqa: B018 - trains it
    store = TeacherStore(bench.experiment, 0)
    assert not store.exists()
    assert [path for path in store.folder.parent.iterdir() if path.suffix != ".lock"] == []


@pytest.mark.parametrize("task", ["toy-sentiment", "toy-tags"])
def test_a_running_teacher_shows_its_layers_and_answers_as_at_rest(make_bench, task):
    _, bench = make_bench("vanilla-kd", task)
    batch = bench.experiment.collate([bench.task.train[i] for i in range(5)])
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    running = RunningTeacher(bench.teacher, bench.experiment, attentions=True)
    with torch.no_grad(), bench.experiment.precision:
        at_rest = bench.teacher(**inputs).logits
    outputs = running(batch)
    torch.testing.assert_close(outputs.logits, at_rest, rtol=1e-4, atol=1e-5)
    rows, length = batch["input_ids"].shape
    assert [state.shape for state in outputs.hidden_states] == [(rows, length, 32)] * 5
    assert [attention.shape for attention in outputs.attentions] == [(rows, 2, length, length)] * 4
    assert not outputs.logits.requires_grad


def test_every_parameter_of_it_is_at_its_default():
    assert not TEACHER_PARAMS.model_fields_set


def test_its_folder_is_a_model_that_transformers_loads(make_bench):
    from transformers import AutoModelForSequenceClassification

    _, bench = make_bench("hard-labels")
    bench.teacher  # noqa: B018 - trains it
    folder = Path(TeacherStore(bench.experiment, 0).folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.config.id2label == {0: "negative", 1: "positive"}
    assert digest(model) == digest(bench.teacher)


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


@pytest.mark.slow
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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system does not tell what is mapped")
def test_the_logits_stay_on_disk(stored, tmp_path):
    assert stored is not None  # it maps the file as long as it lives
    mapped = {Path(one.path) for one in psutil.Process().memory_maps(grouped=True)}
    assert tmp_path / "logits" / "logits.npy" in mapped


@pytest.mark.parametrize("task", ["toy-sentiment", "toy-tags", "toy-score"])
def test_shuffled_training_rows_get_the_answers_that_the_teacher_gives_them(task, make_bench):
    _, bench = make_bench("vanilla-kd", task)
    experiment = bench.experiment
    model = load_base(experiment.base.path, experiment.kind, experiment.task.task.labels, seed=0).eval()
    with torch.no_grad():
        model.classifier.weight.mul_(100)  # an untrained head tells examples hardly apart
    store = TeacherStore(experiment, 0)
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
    logits, _ = TeacherStore(bench.experiment, 0).logits(bench.task.train)
    rows = bench.task.train.shuffle(seed=5)
    for start in (0, 7, len(rows) - 1):
        batch = bench.experiment.collate([rows[start]])
        words = int((batch["labels"] != IGNORED).sum())
        assert int(logits(batch).logits.any(-1).sum()) == words

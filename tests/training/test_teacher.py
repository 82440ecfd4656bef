import hashlib
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kdbench.api.spec import StrategySpec
from kdbench.config import RunConfig
from kdbench.models.build import load_base
from kdbench.training.bench import TrainingBench
from kdbench.training.experiment import open_experiment
from kdbench.training.teacher import TEACHER_PARAMS, RunningTeacher, TeacherStore, teacher_key


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


def test_two_processes_at_once_train_it_once(make_config):
    config = make_config().model_dump_json()
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


def test_it_is_trained_once_for_every_strategy_and_seed(make_bench):
    _, bench = make_bench("hard-labels")
    first = digest(bench.teacher)
    folder = TeacherStore(bench.experiment).folder
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert folder / "training.json" in written
    for spec, seed in (("vanilla-kd", 0), ("hard-labels[layers=2]", 1), ("lora[learning_rate=0.1]", 2)):
        _, other = make_bench(spec, seed=seed)
        assert digest(other.teacher) == first
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_its_logits_are_computed_once(make_bench):
    _, bench = make_bench("vanilla-kd")
    bench.teacher  # noqa: B018 - trains it
    rows = bench.task.train
    _, seconds = TeacherStore(bench.experiment).logits(rows)
    (file,) = TeacherStore(bench.experiment).folder.glob("logits-*/logits.npy")
    written = file.stat().st_mtime_ns
    assert TeacherStore(bench.experiment).logits(rows)[1] == seconds > 0
    assert file.stat().st_mtime_ns == written


def test_other_rows_have_logits_of_their_own(make_bench):
    _, bench = make_bench("vanilla-kd")
    bench.teacher  # noqa: B018 - trains it
    store, rows = TeacherStore(bench.experiment), bench.task.train
    few, _ = store.logits(rows.select(range(3)))
    turned = [
        row["input_ids"][:1] + row["input_ids"][-2:0:-1] + row["input_ids"][-1:]
        for row in rows.select(range(3))
    ]
    other, _ = store.logits(rows.select(range(3)).remove_columns("input_ids").add_column("input_ids", turned))
    batch = bench.experiment.collate([rows[0], rows[1], rows[2]])
    assert not torch.equal(few(batch).logits, other(batch).logits)
    with pytest.raises(KeyError, match="no logits for the rows"):
        few(bench.experiment.collate([rows[3]]))


def test_what_training_it_took_is_kept(make_bench):
    _, bench = make_bench("hard-labels")
    bench.teacher  # noqa: B018 - trains it
    run = TeacherStore(bench.experiment).run()
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
    names = [teacher_key(experiment) for experiment in (one, *changed)]
    assert len(set(names)) == len(names)


def test_its_name_does_not_change_with_what_leaves_its_weights_alone(make_experiment, tiny_budget, tmp_path):
    one = make_experiment()
    same = [
        make_experiment(results=tmp_path / "elsewhere"),
        make_experiment(budget=tiny_budget.model_copy(update={"seeds": 7, "latency_rounds": 99})),
    ]
    assert {teacher_key(experiment) for experiment in same} == {teacher_key(one)}


def test_nothing_is_kept_of_a_training_that_was_cut_off(make_bench):
    _, bench = make_bench("hard-labels")

    def interrupted(*progress):
        raise KeyboardInterrupt

    bench._report = interrupted
    with pytest.raises(KeyboardInterrupt):
        bench.teacher  # noqa: B018 - trains it
    store = TeacherStore(bench.experiment)
    assert not store.exists()
    assert [path for path in store.folder.parent.iterdir() if path.suffix != ".lock"] == []


@pytest.mark.parametrize("task", ["toy-sentiment", "toy-tags"])
def test_a_running_teacher_shows_its_layers_and_answers_as_at_rest(make_bench, task):
    _, bench = make_bench("vanilla-kd", task)
    batch = bench.experiment.collate([bench.task.train[i] for i in range(5)])
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    running = RunningTeacher(bench.teacher, attentions=True)
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
    folder = Path(TeacherStore(bench.experiment).folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.config.id2label == {0: "negative", 1: "positive"}
    assert digest(model) == digest(bench.teacher)

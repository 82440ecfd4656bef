import numpy as np
import pytest
import torch
from helpers.training import Reports, every_kind, same

from kdbench.api.losses import soft_target_loss, task_loss
from kdbench.api.spec import parse_spec
from kdbench.api.task import UNLABELLED
from kdbench.errors import UsageError
from kdbench.results.records import RecordStore
from kdbench.run.cell import CellOrder, score_cell, train_cell
from kdbench.run.keys import cell_key
from kdbench.training.predict import predict


def fitted(make_bench, spec, task="toy-sentiment", **options):
    strategy, bench = make_bench(spec, task, **options)
    return strategy.finalize(strategy.fit(bench), bench)


@every_kind
def test_with_it_the_model_is_another(make_bench, task):
    weak, strong = (fitted(make_bench, f"vanilla-kd[alpha={alpha}]", task) for alpha in (0.0, 1.0))
    assert not same(weak, strong)


@every_kind
def test_temperature_matters_to_classes_and_not_to_values(make_bench, tiny_budget, task):
    budget = tiny_budget.model_copy(update={"evaluations": 1})  # AdamW's first steps are alike for all losses
    cool, hot = (
        fitted(make_bench, f"vanilla-kd[temperature={t},alpha=0.7,learning_rate=0.001]", task, budget=budget)
        for t in (1.0, 8.0)
    )
    assert same(cool, hot) == (task == "toy-score")


def test_its_first_loss_is_the_papers_formula(make_bench):
    reports = Reports()
    strategy, bench = make_bench(
        "vanilla-kd[alpha=0.3,temperature=4.0,init=base,dropout=0.0]", "toy-tags", report=reports
    )
    seen = []

    def loss(student, batch, teacher):
        seen.append(batch)
        return task_loss(student.logits, batch["labels"])

    _, other = make_bench("hard-labels[init=base]", "toy-tags")
    other.train(other.base(), loss=loss)
    strategy.fit(bench)
    _, first = reports.losses[0]

    student, batch = bench.student(strategy.params).eval(), seen[0]
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.no_grad():
        answers, targets = student(**inputs).logits, bench.teacher(**inputs).logits
    soft = soft_target_loss(answers, targets, batch["labels"], temperature=4.0)
    expected = 0.3 * soft + 0.7 * task_loss(answers, batch["labels"])
    assert first == pytest.approx(expected.item(), rel=0.02)  # training may compute in bfloat16


@pytest.mark.slow
def test_a_student_taught_by_the_teacher_alone_comes_to_answer_as_it_does(make_bench, tiny_budget):
    budget = tiny_budget.model_copy(
        update={"train_examples": 192, "steps": dict.fromkeys(tiny_budget.steps, 40), "evaluations": 1}
    )
    strategy, bench = make_bench("vanilla-kd[alpha=1.0,learning_rate=0.003,init=base]", budget=budget)

    def distance(model):
        rows = bench.task.scored
        student, teacher = (
            torch.tensor(predict(one, rows, bench.experiment.collate, device=bench.experiment.device).logits)
            for one in (model, bench.teacher)
        )
        labels = torch.zeros(len(student), dtype=torch.long)
        return soft_target_loss(student, teacher, labels, temperature=1.0).item()

    before = distance(bench.student(strategy.params))
    assert distance(strategy.fit(bench)) < before / 3
    assert np.isfinite(before)


@pytest.fixture
def texts(tmp_path):
    """A file of thirty texts and two blank lines."""
    file = tmp_path / "more texts.txt"
    lines = [f"the film was {'very ' * (i % 5)}{word}" for i in range(15) for word in ("good", "bad")]
    file.write_text("\n".join(["", *lines, " "]) + "\n", encoding="utf-8")
    return file


def trained_rows(make_bench, spec, task):
    """Return the bench of a strategy that was fitted, the rows that it was given, and the examples that it trained on."""
    strategy, bench = make_bench(spec, task)
    train, given, ids = bench.train, [], set()

    def noting(model, *, rows, loss, **settings):
        given.append(rows)
        return train(
            model,
            rows=rows,
            loss=lambda *seen: (ids.update(seen[1]["id"].tolist()), loss(*seen))[1],
            **settings,
        )

    bench.train = noting
    strategy.fit(bench)
    (rows,) = given
    example = dict(zip(rows["id"], rows["example"], strict=True))
    return bench, rows, {example[row] for row in ids}


@every_kind
def test_what_the_budget_leaves_out_is_trained_on_without_labels_in_as_many_steps(make_bench, task):
    bench, rows, seen = trained_rows(make_bench, "vanilla-kd[transfer=unlabelled,transfer_limit=100]", task)
    examples, labelled = set(rows["example"]), set(bench.task.train["example"])
    assert examples > labelled
    assert len(examples) == 64 + 100
    assert bench.unlabelled_examples == len(seen - labelled) > 0
    assert seen & labelled
    assert (bench.runs[0].steps, bench.runs[0].examples) == (4, 32)


@every_kind
def test_the_texts_of_a_file_are_trained_on_without_labels(make_bench, task, texts):
    bench, rows, seen = trained_rows(make_bench, f'vanilla-kd[transfer="{texts}"]', task)
    assert len(set(rows["example"])) == 64 + 30
    assert bench.unlabelled_examples == len(seen - set(bench.task.train["example"])) > 0
    assert bench.runs[0].steps == 4


def test_a_text_without_a_label_has_no_part_in_the_hard_loss(make_bench):
    strategy, bench = make_bench("vanilla-kd[alpha=0.4,transfer=unlabelled]")
    taken = []
    bench.train = lambda model, *, loss, **settings: taken.append(loss)
    strategy.fit(bench)
    torch.manual_seed(0)
    student, teacher = torch.nn.Module(), torch.nn.Module()
    student.logits, teacher.logits = torch.randn(4, 2), torch.randn(4, 2)
    labels = torch.tensor([1, UNLABELLED, 0, UNLABELLED])
    known = labels >= 0
    soft = soft_target_loss(student.logits, teacher.logits, torch.zeros(4, dtype=torch.long), temperature=2.0)
    hard = task_loss(student.logits[known], labels[known])
    torch.testing.assert_close(taken[0](student, {"labels": labels}, teacher), 0.4 * soft + 0.6 * hard)


@pytest.mark.slow
@pytest.mark.parametrize(("source", "most"), [("unlabelled", 48), ("file", 30)])
def test_the_record_tells_how_many_texts_without_a_label_were_used(make_config, texts, source, most):
    config = make_config(task=["toy-tags"])
    spec = parse_spec(f'vanilla-kd[transfer="{texts if source == "file" else source}"]')
    order = CellOrder(config=config, spec=spec, task="toy-tags", seed=0, key="0" * 20).model_dump_json()
    for stage in (train_cell, score_cell):
        stage(order, lambda *progress: None)
    record = RecordStore(config.results).get("0" * 20)
    assert 0 < record.cost.unlabelled_examples <= most
    assert (record.cost.steps, record.task.train_examples) == (6, 64)


def test_a_cell_follows_from_the_bytes_of_its_file(make_bench, texts):
    strategy, bench = make_bench(f'vanilla-kd[transfer="{texts}"]')
    before = cell_key(strategy, bench.experiment, 0)
    assert cell_key(strategy, bench.experiment, 0) == before
    with texts.open("a") as file:
        file.write("one more\n")
    assert cell_key(strategy, bench.experiment, 0) != before
    texts.unlink()
    with pytest.raises(UsageError, match=r"more texts.txt does not exist"):
        cell_key(strategy, bench.experiment, 0)


def test_a_budget_that_leaves_nothing_out_is_refused_with_what_to_do(make_bench, tiny_budget):
    whole = tiny_budget.model_copy(update={"train_examples": None})
    strategy, bench = make_bench("vanilla-kd[transfer=unlabelled]", budget=whole)
    with pytest.raises(UsageError, match="leaves no training example of task 'toy-sentiment' out; set"):
        strategy.fit(bench)

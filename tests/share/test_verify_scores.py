"""A key is recomputed from a record, or it is said which part of it is in no record."""

from dataclasses import replace
from pathlib import Path

import pytest

from kdbench.api.spec import parse_spec
from kdbench.data.answers import AnswersFile
from kdbench.results.answers import AnswersInfo
from kdbench.results.records import Record
from kdbench.run.keys import cell_key
from kdbench.run.provenance import model_info, strategy_info, task_info
from kdbench.share.verify_report import Report
from kdbench.share.verify_scores import check_key


@pytest.fixture
def record_of(make_experiment, registry):
    """The record that a cell of `spec` would leave, under the key that the run gives it."""
    from helpers.support import make_record

    def make(spec, task="toy-sentiment", partners=(), **experiment):
        opened = make_experiment(task, **experiment)
        strategy = registry.strategy(parse_spec(spec))
        others = [make_experiment(name) for name in partners]
        return Record.model_validate_json(
            make_record()
            .model_copy(
                update={
                    "key": cell_key(strategy, opened, 1, others),
                    "strategy": strategy_info(registry, parse_spec(spec)),
                    "task": task_info(opened.task),
                    "model": model_info(opened),
                    "budget": opened.budget,
                    "seed": 1,
                }
            )
            .model_dump_json()
        )

    return make


@pytest.fixture
def checked(registry):
    """Problems and reasons of one key."""

    def check(record, tasks=()):
        report = Report()
        check_key("here", record, tasks, registry, report)
        return report.problems, [reason.removeprefix("keys: ") for reason in report.unchecked]

    return check


@pytest.mark.parametrize(
    ("spec", "task"),
    [
        ("finetune", "toy-tags"),
        ("lora[r=4]", "toy-score"),
        ("lora[learning_rate=0.5]", "toy-sentiment"),
        ("tinybert[layers=[0,2]]", "toy-sentiment"),
        ("hard-labels+int8", "toy-sentiment"),
        ("int8", "toy-sentiment"),
    ],
)
def test_the_key_of_a_run_comes_out_of_its_record(record_of, checked, spec, task):
    assert checked(record_of(spec, task)) == ([], [])


def test_the_key_of_a_joint_strategy_comes_out_where_all_of_its_tasks_are_there(record_of, checked):
    record = record_of("multi-task", partners=["toy-sentiment", "toy-tags"])
    other = record_of("multi-task", "toy-tags", partners=["toy-sentiment", "toy-tags"])
    tasks = {(one.task.name, one.task.fingerprint) for one in (record, other)}
    assert checked(record, tasks) == ([], [])
    assert checked(record, {(record.task.name, record.task.fingerprint)}) == (
        [],
        ["the tasks that a joint strategy was trained on are not in the record"],
    )


def test_a_file_of_the_user_s_is_in_no_record(record_of, checked, tmp_path):
    (tmp_path / "texts.txt").write_text("one text\n")
    record = record_of(f'vanilla-kd[transfer="{tmp_path / "texts.txt"}"]')
    assert checked(record) == (
        [],
        ["the hashes of the user's files that a strategy read are not in the record"],
    )


def test_a_given_teacher_s_hash_is_in_no_record(record_of, checked):
    record = record_of("finetune")
    given = record.model_copy(
        update={"model": record.model.model_copy(update={"teacher": "mine"}), "key": "0" * 20}
    )
    assert checked(given) == ([], ["the hash of an external teacher is not in the record"])


def test_the_hash_of_answers_is_in_the_record(record_of, checked, make_experiment, registry):
    record = record_of("finetune")
    file = AnswersFile(Path("answers.csv"), "a" * 64, None)
    key = cell_key(registry.strategy(parse_spec("finetune")), replace(make_experiment(), answers=file), 1)
    counts = {"answers": 1, "forms": {"label": 1}, "labelled": 1, "unlabelled": 0, "unlabelled_examples": 0}
    answers = AnswersInfo(sha256=file.sha256, **counts)
    model = record.model.model_copy(update={"teacher": file.name, "answers": answers})
    assert checked(record.model_copy(update={"model": model, "key": key})) == ([], [])
    problems, _ = checked(record.model_copy(update={"model": model}))
    assert "is not the hash of its strategy" in problems[0]


def test_a_strategy_that_is_not_installed_is_told(record_of, checked):
    record = record_of("finetune")
    other = record.model_copy(update={"strategy": record.strategy.model_copy(update={"name": "theirs"})})
    assert checked(other)[1] == [
        "the strategy 'theirs' is not installed, and may depend on something that records do not include"
    ]


def test_another_version_s_default_is_not_known(record_of, checked):
    record = record_of("finetune")
    strategy = record.strategy.model_copy(update={"version": "0.0.1"})
    (reason,) = checked(record.model_copy(update={"strategy": strategy, "key": "0" * 20}))[1]
    assert "made by version 0.0.1 of 'finetune'" in reason


def test_a_made_up_key_is_a_problem(record_of, checked):
    (problem,), reasons = checked(record_of("finetune").model_copy(update={"key": "0" * 20}))
    assert "is not the hash of" in problem
    assert reasons == []


def test_parameters_of_another_form_are_a_problem(record_of, checked):
    record = record_of("finetune")
    strategy = record.strategy.model_copy(update={"params": {"finetune": 3}})
    (problem,), _ = checked(record.model_copy(update={"strategy": strategy}))
    assert "do not have the format that kdbench writes" in problem

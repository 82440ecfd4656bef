import shlex

from helpers.support import make_record

from kdbench.board.cells import tidy
from kdbench.render.notes import rerun_command
from kdbench.results.tuning import Tuning


def command(*records):
    lines = rerun_command(tidy(records, []))
    return shlex.split("\n".join(lines))


def test_the_command_names_budget_seeds_tasks_and_strategies():
    lines = rerun_command(
        tidy([make_record(s, t, seed=n) for s in ("lora[r=4]", "finetune") for t in "ba" for n in (0, 1)], [])
    )
    assert lines == [
        "kdbench run --budget quick --seeds 2 \\",
        "--task a --task b \\",
        "--strategy finetune --strategy 'lora[r=4]'",
    ]


def test_a_name_is_one_word_whatever_it_holds():
    assert command(make_record("$(touch /tmp/x); 'a' \n b"))[-1] == "$(touch /tmp/x); 'a' b"


def test_a_model_of_the_users_own_and_local_data_are_named():
    record = make_record(model="my-bert")
    task = record.task.model_copy(update={"source": "local glue/SST-2"})
    assert command(record.model_copy(update={"task": task}))[6:10] == [
        "--model",
        "my-bert",
        "--data-dir",
        "DIR",
    ]


def test_settings_are_asked_for_where_the_budget_is_the_user_s_own():
    record = make_record()
    budget = record.budget.model_copy(update={"name": "long"})
    found = command(record.model_copy(update={"budget": budget}))
    assert found[3:8] == ["long", "--seeds", "1", "--config", "FILE"]


def test_the_search_for_tuned_rows_comes_first():
    record = make_record("lora[r=4,tuned]+int8")
    tuning = Tuning(
        strategy="lora",
        params={"learning_rate": 0.004},
        trials=12,
        tuning_s=60,
        score=0.8,
        default_score=None,
        validation_examples=1000,
        repeats=2,
    )
    cells = tidy([record.model_copy(update={"tuning": (tuning,)}), make_record("finetune")], [])
    assert rerun_command(cells) == [
        "kdbench tune --budget quick --trials 12 \\",
        "--task rotten-tomatoes \\",
        "--strategy 'lora[r=4]' &&",
        "kdbench run --budget quick --seeds 1 \\",
        "--task rotten-tomatoes \\",
        "--strategy finetune --strategy 'lora[r=4,tuned]+int8'",
    ]
    assert cells["note"][0] == (
        "Tuned: learning_rate=0.004, the best of 12 trials of lora on 1,000 validation examples, mean of 2 seeds: 80.0 "
        "there, which as the best of several is optimistic; the defaults -."
    )

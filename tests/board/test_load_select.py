from helpers.support import make_record

from kdbench.board.load import select
from kdbench.results.tuning import Tuning


def test_a_board_shows_one_budget():
    records = [make_record(budget="quick"), make_record(budget="standard")]
    kept, _ = select(records, budget="standard")
    assert [record.budget.name for record in kept] == ["standard"]


def test_keys_keep_nothing_but_these_cells():
    records = [make_record("finetune"), make_record("lora")]
    kept, left_out = select(records, budget="quick", keys={records[1].key, "pending"})
    assert kept == [records[1]]
    assert left_out == []


def test_the_newer_of_two_records_of_a_cell_wins_and_the_older_is_named():
    old = make_record("lora", score=0.9, key="0" * 20, minutes=0)
    new = make_record("lora", score=0.5, key="1" * 20, minutes=1)
    kept, left_out = select([new, old], budget="quick")
    assert kept == [new]
    assert left_out == [
        "left out record 00000000000000000000 (lora on rotten-tomatoes, seed 0): 11111111111111111111 is newer and of the same strategy, task and seed"
    ]


def test_without_a_model_the_newest_records_base_model_is_shown_and_the_others_named():
    records = [
        make_record("finetune", model="bert-tiny", weights="ab" * 32, minutes=0),
        make_record("lora", model="bert-tiny", weights="ab" * 32, minutes=1),
        make_record("finetune", minutes=2),
    ]
    kept, left_out = select(records, budget="quick")
    assert [record.model.name for record in kept] == ["all-MiniLM-L6-v2"]
    assert len(left_out) == 1
    assert "2 records of the base model bert-tiny (abababab)" in left_out[0]
    assert "--model" in left_out[0]


def test_a_base_model_is_chosen_by_name_or_weights():
    records = [make_record(model="bert-tiny", weights="ab" * 32), make_record(minutes=1)]
    for model in ("bert-tiny", "ab" * 32):
        kept, left_out = select(records, budget="quick", model=model)
        assert [record.model.name for record in kept] == ["bert-tiny"]
        assert left_out == []


def test_scores_on_other_data_or_by_another_metric_are_left_out_and_counted():
    records = [
        make_record("finetune", fingerprint="old data"),
        make_record("hard-labels", metric="f1"),
        make_record("lora", minutes=1),
        make_record("finetune", "sst2", fingerprint="other"),
    ]
    kept, left_out = select(records, budget="quick")
    assert [(record.task.name, record.strategy.name) for record in kept] == [
        ("rotten-tomatoes", "lora"),
        ("sst2", "finetune"),
    ]
    assert len(left_out) == 1
    assert left_out[0].startswith("left out 2 records of rotten-tomatoes: measured with other data")


def test_how_many_seeds_and_timings_were_wanted_does_not_part_records():
    first = make_record("finetune")
    budget = first.budget.model_copy(update={"seeds": 5, "latency_rounds": 500})
    second = make_record("finetune", seed=1).model_copy(update={"budget": budget})
    assert select([first, second], budget="quick")[0] == [first, second]


def test_other_steps_part_records():
    first = make_record("finetune")
    steps = dict.fromkeys(first.budget.steps, 7)
    budget = first.budget.model_copy(update={"steps": steps})
    second = make_record("lora", minutes=1).model_copy(update={"budget": budget})
    assert select([first, second], budget="quick")[0] == [second]


def test_a_task_name_that_leads_out_of_the_folder_is_left_out():
    kept, left_out = select([make_record(task="../../etc/passwd")], budget="quick")
    assert kept == []
    assert "cannot be a file's name" in left_out[0]


def test_the_order_does_not_depend_on_the_order_of_the_files():
    records = [make_record(s, t, seed=n) for s in ("lora", "finetune") for t in ("b", "a") for n in (1, 0)]
    forward = select(records, budget="quick")[0]
    assert forward == select(records[::-1], budget="quick")[0]
    assert [(r.task.name, r.strategy.name, r.seed) for r in forward[:3]] == [
        ("a", "finetune", 0),
        ("a", "finetune", 1),
        ("a", "lora", 0),
    ]


def tuned(rate, seed, minutes):
    record = make_record("lora[tuned]", seed=seed, minutes=minutes, key=f"{rate}-{seed}")
    tuning = Tuning(
        strategy="lora",
        params={"learning_rate": rate},
        trials=10,
        tuning_s=60,
        score=0.8,
        default_score=0.7,
        validation_examples=1000,
        repeats=1,
    )
    strategy = record.strategy.model_copy(update={"params": {"learning_rate": rate}})
    return record.model_copy(update={"tuning": (tuning,), "strategy": strategy})


def test_seeds_of_a_tuned_row_have_the_same_parameters_those_of_the_newest():
    old = [tuned(0.1, 0, 0), tuned(0.1, 1, 1)]
    new = tuned(0.2, 0, 2)
    kept, left_out = select([*old, new], budget="quick")
    assert kept == [new]
    assert left_out == [
        f"left out record {old[seed].key} (lora[tuned] on rotten-tomatoes, seed {seed}): {new.key} has parameters of a newer tuning"
        for seed in (1, 0)
    ]
    assert select(old, budget="quick") == (old, [])

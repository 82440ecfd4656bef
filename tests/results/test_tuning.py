"""Studies and trials: the best one, the cost, and what is read back."""

from helpers.tuning import make_study

from kdbench.results.tuning import StudyStore


def test_of_equal_trials_the_first_is_the_best_and_failed_ones_never_are():
    assert make_study("lora", 0.8, None, 0.8).best.number == 1
    assert make_study("lora", None, None).best is None


def test_what_was_found_is_told_with_its_cost():
    tuning = (result := make_study("lora", 0.8, 0.82, None)).tuning("lora", result.best)
    assert (tuning.params, tuning.trials, tuning.tuning_s) == ({"learning_rate": 0.002}, 3, 90.0)
    assert (tuning.score, tuning.default_score, tuning.repeats) == (0.82, 0.8, 2)


def test_a_study_is_read_back_as_it_was_written_but_for_broken_and_copied_trials(tmp_path):
    result = make_study("lora", 0.8, None, 0.7)
    store = StudyStore(tmp_path)
    store.put_study(result.study)
    for trial in result.trials:
        store.put(trial)
    trials = store.folder(result.study.key) / "trials"
    (trials / "0004.json").write_text("{")
    (trials / "0005.json").write_bytes((trials / "0001.json").read_bytes())
    assert store.get(result.study.key) == result
    assert store.load() == [result]

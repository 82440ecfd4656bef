"""The tables of a search, from hand-made trials."""

import io
from datetime import datetime, timezone

import pandas as pd
import pytest
from rich.console import Console

from kdbench.render.tuning import TunedRow, tuning_tables, write_tuning
from kdbench.results.tuning import SearchResult, Study, StudyStore, Trial

ENDED = datetime(2026, 11, 3, tzinfo=timezone.utc)


def make_study(strategy="lora", *scores, repeats=2):
    study = Study(
        key=f"key-of-{strategy}",
        strategy=strategy,
        tasks=("sst2",),
        metrics=("accuracy",),
        budget="quick",
        model="my-bert",
        weights_sha256="0" * 64,
        seeds=tuple(range(1_000_000, 1_000_000 + repeats)),
        validation_examples=1000,
        is_unseen=True,
    )
    trials = [
        Trial(
            study=study.key,
            number=number,
            params={} if number == 1 else {"learning_rate": number / 1000},
            score=score,
            scores={} if score is None else {"sst2": (score - 0.01, score + 0.01)},
            reason="it diverged" if score is None else None,
            seconds=30.0,
            finished_at=ENDED,
        )
        for number, score in enumerate(scores, start=1)
    ]
    return SearchResult(study, trials)


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


@pytest.fixture
def rows():
    return [
        TunedRow(make_study("lora", 0.8, 0.82, None), {"learning_rate": "upper"}),
        TunedRow(make_study("pkd", 0.815, 0.8, 0.79), {}),
        TunedRow(make_study("ia3", None, None, None), {}),
    ]


def test_the_tables_show_trials_defaults_best_parameters_and_time(rows):
    text = io.StringIO()
    console = Console(file=text, width=140)
    for table in tuning_tables(rows):
        console.print(table)
    printed = " ".join(text.getvalue().split())
    assert "sst2, accuracy on 1,000 validation examples x 2 repeats" in printed
    assert "lora 3 80.0 82.0 learning_rate=0.002 90.0 s pkd 3 81.5 81.5 the defaults 90.0 s" in printed
    assert "ia3 3 - - - 90.0 s" in printed
    assert "ia3: 3 of 3 trials failed; the first: it diverged" in printed
    assert "lora: learning_rate is at the upper edge of its range" in printed
    assert "lora: 1 of 3 trials failed; the first: it diverged" in printed
    assert "is optimistic" in printed


def test_the_files_have_a_line_per_strategy_and_all_trials(rows, tmp_path):
    folder = write_tuning(tmp_path, "quick", rows)
    assert folder == tmp_path / "tuning" / "quick"
    page = (folder / "sst2.md").read_text(encoding="utf-8")
    assert "| lora | 3 | 80.0 | 82.0 | learning\\_rate=0.002 | 90.0 s |" in page
    assert "nothing else uses these" in page
    table = pd.read_csv(folder / "sst2.csv").set_index("strategy")
    assert table.loc["lora", "best_score"] == 0.82
    assert table.loc["lora", "at_edge"] == "learning_rate (upper)"
    assert table.loc["pkd", "best_trial"] == 1
    trials = pd.read_csv(folder / "trials.csv")
    assert len(trials) == 9
    assert trials["reason"].notna().sum() == 4
    assert trials["score_sst2"][1] == "0.81;0.83"

"""The tables of a search, from hand-made trials."""

import io

import pandas as pd
import pytest
from helpers.tuning import make_study
from rich.console import Console

from kdbench.render.tuning import TunedRow, tuning_tables, write_tuning


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

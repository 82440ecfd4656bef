import bz2
import csv
from collections import Counter

import pytest
from kdbench_tasks.rotten_tomatoes import RottenTomatoes

from kdbench.api.task import Opened
from kdbench.data import DataSettings, load_task, open_source


@pytest.fixture(scope="module")
def data():
    return load_task(RottenTomatoes(), DataSettings())


def test_every_distinct_snippet_is_there_once_with_its_label(data):
    path = open_source(RottenTomatoes(), DataSettings()).files["data"]
    with bz2.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] != "plot"]
    assert Counter(row["category"] for row in rows) == {"fresh": 7_403, "rotten": 5_405}
    labels = {row["text"].strip(): row["category"] for row in rows}
    found = [row for split in data.splits.values() for row in split]
    assert len(found) == len(labels) == 12_752
    assert {row["text"]: row["label"] for row in found} == labels


def test_no_film_and_no_snippet_stands_on_both_sides(data):
    train, test = data.splits["train"], data.splits["test"]
    assert not set(train["group"]) & set(test["group"])
    assert data.duplicates == 0
    assert len(set(train["group"])) + len(set(test["group"])) == 507
    assert 0.18 < len(test) / 12_752 < 0.22


def test_a_films_side_hangs_on_its_name_alone(tmp_path):
    films = [f"film {i}" for i in range(40)]

    def test_films(names):
        path = tmp_path / "data.csv"
        with path.open("w", newline="") as file:
            rows = [["category", "text", "movie_name"], *[["fresh", f"about {name}", name] for name in names]]
            csv.writer(file).writerows(rows)
        return {
            row["group"] for row in RottenTomatoes().load(Opened("package", files={"data": path}))["test"]
        }

    every = test_films(films)
    assert 0 < len(every) < 20
    assert test_films(films[::-1][:30]) == every & set(films[10:])


def test_plots_and_repeated_snippets_are_left_out(tmp_path):
    path = tmp_path / "data.csv"
    rows = [
        ("category", "text", "movie_name"),
        ("plot", "Once.", "a"),
        ("fresh", "Fine.", "b"),
        ("fresh", "Fine. ", "c"),
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    splits = RottenTomatoes().load(Opened("package", files={"data": path}))
    assert [row["text"] for split in splits.values() for row in split] == ["Fine."]

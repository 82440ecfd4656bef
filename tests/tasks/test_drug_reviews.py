import io
from collections import Counter

import pandas as pd
import pytest
from kdbench_tasks.drug_reviews import DrugReviews

from kdbench.data import DataSettings, load_task, open_source


@pytest.fixture(scope="module")
def data():
    return load_task(DrugReviews(), DataSettings())


@pytest.mark.parametrize(("split", "count"), [("train", 600), ("test", 379)])
def test_the_rows_are_those_that_another_reader_finds(data, split, count):
    path = open_source(DrugReviews(), DataSettings()).files[split]
    expected = pd.read_csv(io.BytesIO(path.read_bytes()), sep="\t", index_col=0)
    rows = data.splits[split]
    assert len(rows) == len(expected) == count
    assert Counter(rows["label"]) == expected["rating"].value_counts().to_dict()
    assert rows[0]["label"] == expected["rating"].iloc[0]
    assert expected["review"].iloc[-1].strip('"').startswith(rows[-1]["text"][:20])


def test_what_the_web_page_added_is_gone(data):
    texts = [text for rows in data.splits.values() for text in rows["text"]]
    assert not [text for text in texts if text.startswith('"') or "&#039;" in text or "&quot;" in text]
    assert data.splits["train"][0]["text"].startswith(
        "I recently received an injection of nalbuphine in a walk-in"
    )
    assert any("don't" in text for text in texts)

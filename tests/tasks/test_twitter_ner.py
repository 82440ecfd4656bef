from collections import Counter

import pytest
from kdbench_tasks.twitter_ner import TwitterNer

from kdbench.data import DataSettings, load_task, open_source


@pytest.fixture(scope="module")
def data():
    return load_task(TwitterNer(), DataSettings())


def test_every_distinct_tweet_is_there_once_and_480_are_held_out(data):
    text = open_source(TwitterNer(), DataSettings()).files["data"].read_text(encoding="utf-8")
    tweets = [block for block in text.split("\n\t\n") if block.strip()]
    assert len(tweets) == 2_394
    assert {name: len(rows) for name, rows in data.splits.items()} == {"test": 480, "train": 1_815}
    found = {tuple(words) for rows in data.splits.values() for words in rows["words"]}
    assert found == {
        tuple(line.split("\t")[0].strip(" ") for line in tweet.split("\n") if line.strip())
        for tweet in tweets
    }
    assert len(found) == 480 + 1_815
    assert data.duplicates == 0


def test_all_ten_types_stand_in_both_splits(data):
    for rows in data.splits.values():
        begun = Counter(tag for tags in rows["tags"] for tag in tags if tag.startswith("B-"))
        assert len(begun) == 10


def test_the_first_tweets_are_those_of_the_file(data):
    tweet = next(row for rows in data.splits.values() for row in rows if row["words"][0] == "@paulwalk")
    entities = [(word, tag) for word, tag in zip(tweet["words"], tweet["tags"], strict=True) if tag != "O"]
    assert entities == [
        ("Empire", "B-facility"),
        ("State", "I-facility"),
        ("Building", "I-facility"),
        ("ESB", "B-facility"),
    ]

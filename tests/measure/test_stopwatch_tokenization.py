import pytest
from transformers import BertTokenizerFast

from kdbench.measure.stopwatch import texts_of, time_tokenizers


def no_report(*progress):
    pass


def test_a_sentence_takes_what_its_tokenizer_takes():
    now, asked = 0.0, []

    def tokenizer(ms):
        def tokenize(*texts, truncation, max_length):
            nonlocal now
            now += ms
            asked.append((texts, truncation, max_length))

        return tokenize

    def stopwatch(call):
        before = now
        call()
        return now - before

    texts = [("a good film",), ("a bad one",)]
    timed = time_tokenizers(
        {"slow": tokenizer(2.0), "fast": tokenizer(0.5)},
        texts,
        max_length=16,
        rounds=20,
        report=no_report,
        stopwatch=stopwatch,
    )
    assert (timed["slow"].p50_ms, timed["slow"].mean_ms, timed["slow"].calls) == (2, 2, 20)
    assert timed["fast"].mean_ms == 0.5
    assert {call[0] for call in asked} == set(texts)
    assert {call[1:] for call in asked} == {(True, 16)}


def test_a_real_tokenizer_is_timed(tiny_model):
    tokenizer = BertTokenizerFast.from_pretrained(tiny_model)
    timed = time_tokenizers(
        {"a": tokenizer}, [("good film",), ("bad", "film")], max_length=8, rounds=20, report=no_report
    )
    assert 0 < timed["a"].p50_ms < 1000


@pytest.mark.parametrize(
    ("example", "texts"),
    [
        ({"text": "good", "label": "fresh"}, ("good",)),
        ({"text": "one", "text_pair": "two", "label": "same"}, ("one", "two")),
        ({"words": ["Anna", "went", "home"], "tags": ["B", "O", "O"]}, ("Anna went home",)),
    ],
)
def test_texts_are_an_examples_own(example, texts):
    assert texts_of(example) == texts

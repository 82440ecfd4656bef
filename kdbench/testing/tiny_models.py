"""Write tiny random encoders of three architectures, with tokenizers that know most words of the tiny tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    DistilBertConfig,
    DistilBertModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizer,
)
from transformers.models.distilbert import DistilBertTokenizer

POSITIONS = 64
"""The most word pieces that the models read."""
_LAYERS, _WIDTH, _HEADS, _INNER = 4, 32, 2, 64
_SPREAD = 0.1
"""The standard deviation of new weights: with the usual 0.02, so small a model would answer all texts alike."""


def write_bert(folder: Path, words: Iterable[str]) -> None:
    """Write a BERT of 4 layers x 32 with random weights, whose uncased word pieces contain `words` and all letters."""
    vocabulary = _write_word_pieces(folder, words)
    BertTokenizer(str(folder / "vocab.txt"), model_max_length=POSITIONS).save_pretrained(folder)
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=_WIDTH,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        intermediate_size=_INNER,
        max_position_embeddings=POSITIONS,
        initializer_range=_SPREAD,
    )
    model: Any = _drawn(BertModel, config)
    model.pooler.dense.bias.data.fill_(0.01)  # as a trained pooler's, which strategies may freeze
    model.save_pretrained(folder)


def write_roberta(folder: Path, words: Iterable[str]) -> None:
    """Write a RoBERTa of that size: byte-level pieces, no segments, and positions that begin behind the padding's."""
    from tokenizers import ByteLevelBPETokenizer

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        [" ".join(words)] * 2, vocab_size=400, special_tokens=special, show_progress=False
    )
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = trained.save_model(str(folder))
    RobertaTokenizer(vocabulary, merges, model_max_length=POSITIONS).save_pretrained(folder)
    config = RobertaConfig(
        vocab_size=trained.get_vocab_size(),
        hidden_size=_WIDTH,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        intermediate_size=_INNER,
        max_position_embeddings=POSITIONS + 2,
        type_vocab_size=1,
        initializer_range=_SPREAD,
    )
    _drawn(RobertaModel, config).save_pretrained(folder)


def write_distilbert(folder: Path, words: Iterable[str]) -> None:
    """Write a DistilBERT of that size: no segments, no pooler, and other names for everything."""
    vocabulary = _write_word_pieces(folder, words)
    DistilBertTokenizer(str(folder / "vocab.txt"), model_max_length=POSITIONS).save_pretrained(folder)
    config = DistilBertConfig(
        vocab_size=vocabulary,
        dim=_WIDTH,
        n_layers=_LAYERS,
        n_heads=_HEADS,
        hidden_dim=_INNER,
        max_position_embeddings=POSITIONS,
        initializer_range=_SPREAD,
    )
    _drawn(DistilBertModel, config).save_pretrained(folder)


ARCHITECTURES: Mapping[str, Callable[[Path, Iterable[str]], None]] = {
    "bert": write_bert,
    "roberta": write_roberta,
    "distilbert": write_distilbert,
}
"""The architectures that strategies are checked on, with the function that writes a model of each."""


def _write_word_pieces(folder: Path, words: Iterable[str]) -> int:
    """Write ``vocab.txt`` and return how many pieces it has."""
    pieces = [*ascii_lowercase, *(f"##{letter}" for letter in ascii_lowercase)]
    whole = sorted(set(words) - set(pieces))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *whole, *pieces]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    return len(vocabulary)


def _drawn(model_class: Any, config: Any) -> PreTrainedModel:
    """Return a model with random weights, always the same; the process's random state stays as it is."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: PreTrainedModel = model_class(config)
    return model

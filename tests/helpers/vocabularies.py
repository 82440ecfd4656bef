"""Tokenizers of every kind for the toy tasks' words: WordPiece, byte-level BPE, SentencePiece's BPE and Unigram.

Half of the words are pieces of their own, so that texts have long pieces, parts of words and letters.
"""

from __future__ import annotations

from string import ascii_lowercase
from typing import Any

import helpers.toy_plugin as toys
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AlbertTokenizer,
    BertTokenizerFast,
    DebertaV2Tokenizer,
    MPNetTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

WORDS = sorted(
    {*toys.GOOD, *toys.BAD, *toys.FILLER, "anna", "bruno", "clara", "paris", "oslo", "new", "york"}
)
_WHOLE = WORDS[::2]
_PARTS = ("er", "an", "in", "or", "the", "ou")


def _wordpieces(specials: list[str]) -> dict[str, int]:
    letters = [*ascii_lowercase, *(f"##{letter}" for letter in ascii_lowercase)]
    parts = [f"##{part}" for part in _PARTS]
    pieces = [*specials, *(word for word in WORDS if word not in letters), *parts, *letters]
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}


def _merges(start: str) -> list[tuple[str, str]]:
    """Merges for parts that occur in many words, and then for whole words from their first letter on."""
    merges = [(part[:1], part[1:]) for part in _PARTS if len(part) == 2]
    for word in _WHOLE:
        symbols = list(start + word)
        for merge in list(merges):  # as training does, a word is joined from what earlier merges left of it
            symbols = _joined(symbols, merge)
        while len(symbols) > 1:
            merges.append((symbols[0], symbols[1]))
            symbols = _joined(symbols, merges[-1])
    return list(dict.fromkeys(merges))


def _joined(symbols: list[str], merge: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for symbol in symbols:
        if joined and (joined[-1], symbol) == merge:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined


def _bpe(
    start: str, alphabet: list[str], specials: list[str]
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    merges = _merges(start)
    pieces = [*specials, *alphabet, *(left + right for left, right in merges)]
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}, merges


def _byte_level(specials: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    return _bpe("Ġ", sorted(pre_tokenizers.ByteLevel.alphabet()), specials)


def _unigram(specials: list[str]) -> list[tuple[str, float]]:
    parts = [(part, -6.0 - number / 10) for number, part in enumerate(_PARTS)]
    words = [(f"▁{word}", -5.0 - number / 100) for number, word in enumerate(_WHOLE)]
    letters = [(letter, -9.0 - number / 10) for number, letter in enumerate(ascii_lowercase)]
    rare = [("▁ouagadougou", -15.0), ("▁", -4.0)]
    return [*((special, 0.0) for special in specials), *words, *parts, *letters, *rare]


def tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Return a tokenizer of the kind that the architecture `name` is published with, for up to 64 pieces."""
    made: PreTrainedTokenizerBase = _TOKENIZERS[name]()
    made.model_max_length = 64
    return made


def _bert() -> Any:
    return BertTokenizerFast(vocab=_wordpieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))


def _mpnet() -> Any:
    return MPNetTokenizer(vocab=_wordpieces(["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]))


def _roberta() -> Any:
    vocab, merges = _byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return RobertaTokenizer(vocab=vocab, merges=merges)


def _at_the_end(backend: Tokenizer, names: dict[str, str], first: str, last: str) -> Any:
    """Return a tokenizer whose special tokens come after all others, as in ModernBERT's and EuroBERT's."""
    backend.add_special_tokens([AddedToken(token, special=True) for token in dict.fromkeys(names.values())])
    backend.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B {last}",
        special_tokens=[(token, backend.token_to_id(token)) for token in (first, last)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, model_input_names=["input_ids", "attention_mask"], **names
    )


def _modernbert() -> Any:
    vocab, merges = _byte_level([])
    backend = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.decoder = decoders.ByteLevel()
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return _at_the_end(backend, {f"{key}_token": value for key, value in names.items()}, "[CLS]", "[SEP]")


def _eurobert() -> Any:
    """A word that is a piece is taken before any merge."""
    vocab, merges = _byte_level([])
    vocab["Ġouagadougou"] = len(vocab)
    backend = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.decoder = decoders.ByteLevel()
    names = {
        "pad_token": "<|pad|>",
        "bos_token": "<|begin|>",
        "eos_token": "<|end|>",
        "mask_token": "<|mask|>",
    }
    return _at_the_end(backend, names, "<|begin|>", "<|end|>")


def _mmbert() -> Any:
    """SentencePiece's BPE with a piece for each byte, as Gemma's."""
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocab, merges = _bpe("▁", ["▁", *ascii_lowercase], specials)
    backend = Tokenizer(
        models.BPE(vocab=vocab, merges=merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    names = {"pad": "<pad>", "unk": "<unk>", "bos": "<bos>", "eos": "<eos>", "mask": "<mask>"}
    return _at_the_end(backend, {f"{key}_token": value for key, value in names.items()}, "<bos>", "<eos>")


def _xlm_roberta() -> Any:
    pieces = _unigram(["<s>", "<pad>", "</s>", "<unk>"])
    return XLMRobertaTokenizer(vocab=[*pieces, ("<mask>", 0.0)])


def _albert() -> Any:
    return AlbertTokenizer(vocab=_unigram(["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]))


def _deberta_v3() -> Any:
    return DebertaV2Tokenizer(vocab=_unigram(["[PAD]", "[CLS]", "[SEP]", "[UNK]"]))  # [MASK] comes last


_TOKENIZERS = {
    "bert": _bert,
    "distilbert": _bert,
    "electra": _bert,
    "mpnet": _mpnet,
    "roberta": _roberta,
    "modernbert": _modernbert,
    "mmbert": _mmbert,
    "eurobert": _eurobert,
    "xlm-roberta": _xlm_roberta,
    "albert": _albert,
    "deberta-v3": _deberta_v3,
}
KINDS = (
    "bert",
    "mpnet",
    "roberta",
    "modernbert",
    "mmbert",
    "eurobert",
    "xlm-roberta",
    "albert",
    "deberta-v3",
)
"""The tokenizers that differ."""

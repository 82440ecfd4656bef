"""Choose the pieces of a vocabulary that a text needs, so that it is split as before without the others.

A tokenizer is read as what its library saves (``tokenizer.json``). Every rule keeps a subset of the pieces in which any text
that the whole vocabulary splits into kept pieces is split into the same pieces:

- WordPiece takes the longest known piece first, so that any subset does.
- Unigram takes the pieces of the largest total score (Kudo 2018, arXiv:1804.10959, section 3.1), which stay the best of
  fewer. What is unknown costs as much as the worst piece and a constant, so that the worst piece is kept.
- BPE joins neighbours by a list of merges, the earliest first (Sennrich et al. 2016, arXiv:1508.07909, section 3.2). The
  pieces that occur on the way to a kept piece are kept, and the merges between kept pieces: at every step the earliest
  merge is then the one of before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from kdbench import UsageError

State = dict[str, Any]
"""The content of a ``tokenizer.json``."""
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
"""A piece for one byte of a character that the vocabulary lacks."""
_WORD_START = "▁"
"""What SentencePiece writes for a blank."""


def needed(state: State, used: set[int]) -> set[int]:
    """Return the ids of the pieces that texts made of the pieces `used` need, those among them.

    Added are special and added tokens, single characters and bytes, by which other words of the same letters can be read,
    and what the kind of vocabulary needs to split texts as before (see above).

    Raises:
        UsageError: pieces of this kind of vocabulary cannot be removed.
    """
    _check_kind(state)
    ids = vocabulary(state)
    pieces = {number: piece for piece, number in ids.items()}
    model = state["model"]
    special = {token["id"] for token in state["added_tokens"]} & pieces.keys()
    unknown = model.get("unk_token")
    if unknown in ids:
        special.add(ids[unknown])
    texts = [pieces[number] for number in used - special if number in pieces]
    kept = {*used & pieces.keys(), *special, *_single(state, ids, texts)}
    if model["type"] == "Unigram":
        worst = min(range(len(model["vocab"])), key=lambda number: model["vocab"][number][1])
        kept |= {worst, *([] if model["unk_id"] is None else [model["unk_id"]])}
    if model["type"] == "BPE":
        kept |= {ids[piece] for piece in _ways(state, texts) if piece in ids}
    return kept | {token["id"] for token in state["added_tokens"]}


def trimmed(state: State, new_ids: Mapping[int, int]) -> State:
    """Return a copy of `state` with only the pieces of `new_ids`, renumbered; new ids rise with the old."""
    state = json.loads(json.dumps(state))
    model = state["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [entry for number, entry in enumerate(model["vocab"]) if number in new_ids]
        model["unk_id"] = None if model["unk_id"] is None else new_ids[model["unk_id"]]
    else:
        model["vocab"] = {
            piece: new_ids[number] for piece, number in model["vocab"].items() if number in new_ids
        }
    if model["type"] == "BPE":
        vocab = model["vocab"]
        model["merges"] = [
            [left, right]
            for left, right in map(_pair, model["merges"])
            if left in vocab and right in vocab and left + right in vocab
        ]
    for token in state["added_tokens"]:
        token["id"] = new_ids[token["id"]]
    state["truncation"] = state["padding"] = None  # set by callers
    _renumber(state["post_processor"] or {}, new_ids)
    return state


def vocabulary(state: State) -> dict[str, int]:
    """Return the id of every piece of a tokenizer's model; added tokens may have further ids."""
    vocab = state["model"]["vocab"]
    return {entry[0]: number for number, entry in enumerate(vocab)} if isinstance(vocab, list) else vocab


def _check_kind(state: State) -> None:
    """Raise a UsageError unless it is known how the tokenizer splits a word."""
    model = state["model"]
    kind = model["type"]
    marks = [name for name in ("continuing_subword_prefix", "end_of_word_suffix") if model.get(name)]
    if kind in ("WordPiece", "Unigram") or (kind == "BPE" and not marks):
        return
    other = f"BPE with {marks[0]}" if kind == "BPE" else kind
    raise UsageError(
        f"strategy 'trim-vocab' trims WordPiece, BPE and Unigram vocabularies, and this base model's is {other}, of which it "
        "is not known how it would split words with fewer pieces; take prune-ffn or drop-layers"
    )


def _single(state: State, ids: Mapping[str, int], texts: Iterable[str]) -> set[int]:
    """Return the ids of pieces of one character or byte, by which words of the letters of `texts` can always be read."""
    model = state["model"]
    prefix = model["continuing_subword_prefix"] if model["type"] == "WordPiece" else ""
    letters = {letter for text in texts for letter in text.removeprefix(prefix)}
    single = {*letters, *(prefix + letter for letter in letters)}
    if model.get("byte_fallback"):
        single |= {piece for piece in ids if _BYTE.fullmatch(piece)}
    if _uses_bytes(state):
        from tokenizers import pre_tokenizers

        single |= set(pre_tokenizers.ByteLevel.alphabet())
    if model["type"] != "WordPiece":
        single.add(_WORD_START)
    return {ids[piece] for piece in single if piece in ids}


def _uses_bytes(state: State) -> bool:
    """Return whether texts are turned into bytes, each written as a letter, before they are split."""
    return '"ByteLevel"' in json.dumps([state["normalizer"], state["pre_tokenizer"]])


def _ways(state: State, pieces: Iterable[str]) -> set[str]:
    """Return all pieces that occur when each of `pieces` is joined from its characters."""
    ranks = {_pair(merge): rank for rank, merge in enumerate(state["model"]["merges"])}
    found: set[str] = set()
    for piece in pieces:
        symbols = list(piece)
        found.update(symbols)
        while True:
            merges = [(ranks[pair], place) for place, pair in enumerate(pairwise(symbols)) if pair in ranks]
            if not merges:
                break
            _, place = min(merges)
            symbols[place : place + 2] = [symbols[place] + symbols[place + 1]]
            found.add(symbols[place])
    return found


def _pair(merge: Any) -> tuple[str, str]:
    """Return the two pieces of a merge, written as a pair or, in older files, with a blank between them."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _renumber(processor: dict[str, Any], new_ids: Mapping[int, int]) -> None:
    """Renumber the special tokens in a tokenizer's post-processor, of any kind."""
    for token in processor.get("special_tokens", {}).values():
        token["ids"] = [new_ids[number] for number in token["ids"]]
    for name in {"cls", "sep"} & processor.keys():
        processor[name][1] = new_ids[processor[name][1]]
    for step in processor.get("processors", ()):
        _renumber(step, new_ids)

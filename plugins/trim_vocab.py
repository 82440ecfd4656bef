"""Trim the vocabulary to the task."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pydantic import Field

from kdbench import Bench, Transform, UntrainedParams, UsageError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class TrimVocab(Transform):
    """Remove the word pieces that the task's text does not use, from embedding table and tokenizer."""

    class Params(UntrainedParams):
        min_count: int = Field(
            1, ge=1, description="keep word pieces that occur at least this often in the task's training text"
        )

    name = "trim-vocab"
    title = "Vocabulary trimmed to the task"
    citation = (
        "Ushio et al. 2023, Efficient Multilingual Language Model Compression through Vocabulary Trimming, "
        "arXiv:2305.15020"
    )
    family = "compression"
    note = (
        "Words that are not in the training text are split into smaller pieces than before, or into letters."
    )
    params: Params

    def transform(self, model: nn.Module, bench: Bench) -> nn.Module:
        """Return `model` with the embeddings of the kept word pieces, and set the bench's tokenizer to match."""
        from kdbench_plugins._pruning import hf_model

        inner = hf_model(model, self.name)
        used: Counter[int] = Counter()
        for rows in (bench.task.train, bench.task.unlabelled):
            for pieces in rows["input_ids"][:]:
                used.update(pieces)
        tokenizer = bench.tokenizer
        new_ids = kept_pieces(
            tokenizer, {piece for piece, count in used.items() if count >= self.params.min_count}
        )
        keep_embeddings(inner, new_ids)
        bench.replace_tokenizer(trimmed_tokenizer(tokenizer, new_ids))
        return model


def kept_pieces(tokenizer: PreTrainedTokenizerBase, used: set[int]) -> dict[int, int]:
    """Return the word pieces to keep: new id by old id, in the old order.

    These are `used`, the special and added tokens, and every single character of `used`, at a word's start and
    inside, that is in the vocabulary: any word of the same letters can still be split. A word that was split into
    `used` pieces is split the same way, since the longest known piece is taken first; a word that was unknown may
    become known.

    Raises:
        UsageError: the tokenizer is not WordPiece.
    """
    state = _wordpiece(tokenizer)
    vocabulary, prefix = state["model"]["vocab"], state["model"]["continuing_subword_prefix"]
    added = {token["id"] for token in state["added_tokens"]} | {vocabulary[state["model"]["unk_token"]]}
    letters = {
        letter
        for piece, number in vocabulary.items()
        if number in used - added
        for letter in piece.removeprefix(prefix)
    }
    single = letters | {prefix + letter for letter in letters}
    kept = used | added | {vocabulary[piece] for piece in single if piece in vocabulary}
    return {old: new for new, old in enumerate(sorted(kept))}


def trimmed_tokenizer(
    tokenizer: PreTrainedTokenizerBase, new_ids: Mapping[int, int]
) -> PreTrainedTokenizerBase:
    """Return a copy of `tokenizer` with only the word pieces of `new_ids`, renumbered."""
    from kdbench import load_tokenizer

    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        state = _wordpiece(tokenizer)
        state["model"]["vocab"] = {
            piece: new_ids[number] for piece, number in state["model"]["vocab"].items() if number in new_ids
        }
        for token in state["added_tokens"]:
            token["id"] = new_ids[token["id"]]
        state["truncation"] = state["padding"] = None  # set by callers
        _renumber(state["post_processor"] or {}, new_ids)
        (Path(folder) / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
        return load_tokenizer(Path(folder))


def keep_embeddings(model: PreTrainedModel, new_ids: Mapping[int, int]) -> None:
    """Keep the rows of `new_ids` in the embedding table of `model`, and renumber its special tokens."""
    from torch import nn

    table: Any = model.get_input_embeddings()
    padding = None if table.padding_idx is None else new_ids.get(table.padding_idx)
    rows = table.weight.detach()[list(new_ids)]
    model.set_input_embeddings(nn.Embedding.from_pretrained(rows, freeze=False, padding_idx=padding))
    model.config.vocab_size = len(new_ids)
    for name, number in vars(model.config).items():
        if name.endswith("_token_id") and isinstance(number, int):
            setattr(model.config, name, new_ids.get(number))


def _wordpiece(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return the state of a WordPiece tokenizer."""
    state: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    if state["model"]["type"] != "WordPiece":
        raise UsageError(
            f"strategy 'trim-vocab' trims WordPiece vocabularies only, and this base model's is {state['model']['type']}: "
            "without some of its pieces it would split known words differently; take a BERT, DistilBERT or ELECTRA"
        )
    return state


def _renumber(processor: dict[str, Any], new_ids: Mapping[int, int]) -> None:
    """Renumber the special tokens in a tokenizer's post-processor, of any kind."""
    for token in processor.get("special_tokens", {}).values():
        token["ids"] = [new_ids[number] for number in token["ids"]]
    for name in {"cls", "sep"} & processor.keys():
        processor[name][1] = new_ids[processor[name][1]]
    for step in processor.get("processors", ()):
        _renumber(step, new_ids)

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
        often = {piece for piece, count in used.items() if count >= self.params.min_count}
        new_ids = kept_pieces(tokenizer, often | _before_padding(inner))
        trimmed = trimmed_tokenizer(tokenizer, new_ids)
        keep_embeddings(inner, new_ids)
        bench.replace_tokenizer(trimmed)
        return model


def kept_pieces(tokenizer: PreTrainedTokenizerBase, used: set[int]) -> dict[int, int]:
    """Return the word pieces to keep: new id by old id, in the old order.

    These are `used`, the special and added tokens, and every single character of `used` (in WordPiece, at a word's start and
    inside) that is in the vocabulary: any word of the same letters can still be split. A word that was split into kept
    pieces is split the same way (see `kdbench_plugins._vocabulary`); a word that was unknown may become known.

    Raises:
        UsageError: it is not known how the tokenizer splits words.
    """
    from kdbench_plugins._vocabulary import needed

    kept = needed(_state(tokenizer), used)
    return {old: new for new, old in enumerate(sorted(kept))}


def trimmed_tokenizer(
    tokenizer: PreTrainedTokenizerBase, new_ids: Mapping[int, int]
) -> PreTrainedTokenizerBase:
    """Return a copy of `tokenizer` with only the word pieces of `new_ids`, renumbered.

    Raises:
        UsageError: transformers gives the copy's pieces other numbers.
    """
    from kdbench_plugins._vocabulary import trimmed

    from kdbench import load_tokenizer

    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        state = trimmed(_state(tokenizer), new_ids)
        (Path(folder) / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
        copy = load_tokenizer(Path(folder))
    expected = {piece: new_ids[old] for piece, old in tokenizer.get_vocab().items() if old in new_ids}
    if copy.get_vocab() != expected:
        raise UsageError(
            f"strategy 'trim-vocab': transformers would number the remaining pieces of a {type(tokenizer).__name__} otherwise "
            "than they are; take prune-ffn or drop-layers"
        )
    return copy


def _state(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return state


def _before_padding(model: PreTrainedModel) -> set[int]:
    """Return the ids that padding must keep before it where a table of positions starts after padding's number (RoBERTa)."""
    paddings = [
        module.padding_idx
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    ]
    return set(range(max(paddings, default=-1) + 1))


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
        elif name.endswith("_token_id") and isinstance(number, list):
            setattr(model.config, name, [new_ids[one] for one in number if one in new_ids])

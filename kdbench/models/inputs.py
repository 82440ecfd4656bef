"""Find what a model can read of what its tokenizer makes: positions, segment ids, vocabulary."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AutoModel, PretrainedConfig, PreTrainedTokenizerBase

from kdbench.errors import UsageError

_POSITION_TABLES = ("position_embeddings", "embed_positions", "wpe", "positions_embed")
"""The names, in various architectures, of the table of absolute positions."""
_SEGMENTS = "token_type_ids"


def missing_settings(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> dict[str, Any]:
    """Return the settings that `tokenizer` lacks for the model of `config`, as arguments of ``from_pretrained``.

    These are the length of its table of positions, where the tokenizer states no limit or a larger one, and the inputs
    without segment ids, where the model has fewer segments than a pair of texts (RoBERTa has one) and takes them all
    as the first.
    """
    settings: dict[str, Any] = {}
    positions = _positions(config)
    if positions is not None and positions < tokenizer.model_max_length:
        settings["model_max_length"] = positions
    segments = getattr(config, "type_vocab_size", None)
    if segments and max(tokenizer("a", "a").get(_SEGMENTS, [0])) >= segments:
        settings["model_input_names"] = [name for name in tokenizer.model_input_names if name != _SEGMENTS]
    return settings


def _positions(config: PretrainedConfig) -> int | None:
    """Return the number of word pieces that the model's table of positions is made for; None if it has no table."""
    stated = getattr(config, "max_position_embeddings", None)
    if not isinstance(stated, int):
        return None
    try:
        with torch.device("meta"):  # without weights, which takes some ms
            model = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    except Exception:  # architectures check their settings in many ways; loading the weights reports it
        return None
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in _POSITION_TABLES:
            # RoBERTa and its kind count positions from the one after the padding's; BART and OPT leave out some.
            unused = (
                module.padding_idx + 1 if module.padding_idx is not None else getattr(module, "offset", 0)
            )
            return min(stated, int(module.num_embeddings) - int(unused))
    return None


def check_vocabulary(name: str, tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> None:
    """Check that the model called `name` has an embedding for every id of its tokenizer.

    Raises:
        UsageError: it has not.
    """
    rows = getattr(config.get_text_config(), "vocab_size", None)
    token, largest = max(tokenizer.get_vocab().items(), key=lambda item: item[1], default=("", -1))
    if isinstance(rows, int) and largest >= rows:
        raise UsageError(
            f"model {name}: its tokenizer gives {token!r} the id {largest}, but its embedding table has only {rows} rows; "
            "resize the table (resize_token_embeddings) and save the model again, or save the tokenizer that belongs to it"
        )

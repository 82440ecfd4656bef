"""Tiny models of every architecture that the tests try, with the shapes that their structure is to show."""

from __future__ import annotations

from typing import Any

from transformers import (
    AlbertConfig,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    EuroBertConfig,
    ModernBertConfig,
    MPNetConfig,
    PretrainedConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

LAYERS, WIDTH, INNER, HEADS = 4, 16, 24, 4
_SHAPE: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "initializer_range": 0.2,  # so small a model would else answer all texts alike
}
_BERT: dict[str, Any] = {**_SHAPE, "max_position_embeddings": 64, "pad_token_id": 0}
_ROBERTA: dict[str, Any] = {
    **_SHAPE,
    "max_position_embeddings": 66,
    "type_vocab_size": 1,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
_ENDS = {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3, "pad_token_id": 0}


_DISTILBERT = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
}
"""What DistilBERT calls the others' settings."""


def config(name: str, vocabulary: int = 40, **changes: Any) -> PretrainedConfig:
    """Return the configuration of a tiny model of the architecture `name`, one of `NAMES`."""
    make, settings = _CONFIGS[name]
    if name == "distilbert":
        changes = {_DISTILBERT.get(setting, setting): value for setting, value in changes.items()}
    made: PretrainedConfig = make(**{**settings, "vocab_size": vocabulary, **changes})
    return made


_CONFIGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "bert": (BertConfig, _BERT),
    "roberta": (RobertaConfig, _ROBERTA),
    "xlm-roberta": (XLMRobertaConfig, _ROBERTA),
    "distilbert": (
        DistilBertConfig,
        {
            "dim": WIDTH,
            "n_layers": LAYERS,
            "n_heads": HEADS,
            "hidden_dim": INNER,
            "max_position_embeddings": 64,
            "pad_token_id": 0,
            "initializer_range": 0.2,
        },
    ),
    "albert": (AlbertConfig, {**_BERT, "embedding_size": 8}),
    "electra": (ElectraConfig, {**_BERT, "embedding_size": 8}),
    # as published: buckets, a key for content and positions alike, no absolute positions
    "deberta-v3": (
        DebertaV2Config,
        {
            **_BERT,
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 8,
            "max_relative_positions": -1,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
    ),
    "mpnet": (
        MPNetConfig,
        {
            **_SHAPE,
            "max_position_embeddings": 66,
            "pad_token_id": 1,
            "bos_token_id": 0,
            "eos_token_id": 2,
        },
    ),
    # every third layer sees the whole text, the others a window
    "modernbert": (
        ModernBertConfig,
        {**_SHAPE, **_ENDS, "max_position_embeddings": 64, "local_attention": 8},
    ),
    "eurobert": (
        EuroBertConfig,
        {
            **_SHAPE,
            "max_position_embeddings": 64,
            "pad_token_id": 0,
            "bos_token_id": 2,
            "eos_token_id": 3,
            "mask_token_id": 1,
        },
    ),
}
NAMES = tuple(_CONFIGS)

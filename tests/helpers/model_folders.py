"""Model folders as others have them."""

from __future__ import annotations

import json
from pathlib import Path
from string import ascii_lowercase

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    BertTokenizerFast,
    DistilBertConfig,
    MPNetConfig,
    PretrainedConfig,
    PreTrainedTokenizerBase,
)


def sharded(folder: Path) -> list[str]:
    """Split the weights in `folder` into two shards with their index; return the names of the shards."""
    weights = load_file(folder / "model.safetensors")
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    places = {weight: names[i % 2] for i, weight in enumerate(sorted(weights))}
    for name in names:
        part = {weight: weights[weight].clone() for weight in weights if places[weight] == name}
        save_file(part, folder / name, metadata={"format": "pt"})
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return names


def renumbered(folder: Path, tokenizer: PreTrainedTokenizerBase) -> Path:
    """Write an MPNet of 3 layers x 48 that splits texts as `tokenizer` does, with other ids and other special tokens."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    own = sorted(set(tokenizer.get_vocab()) - {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}, reverse=True)
    names = {
        "cls_token": "<s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    config = MPNetConfig(
        vocab_size=len(special) + len(own),
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=66,
        initializer_range=0.1,
    )
    return _written(folder, [*special, *own], config, **names)


def letter_by_letter(folder: Path) -> Path:
    """Write a DistilBERT of 2 layers x 48 whose tokenizer splits every word into its letters."""
    vocabulary = ["[UNK]", "[PAD]", "[SEP]", "[CLS]", "[MASK]"]
    vocabulary += [mark + letter for mark in ("", "##") for letter in ascii_lowercase]
    config = DistilBertConfig(
        vocab_size=len(vocabulary),
        dim=48,
        n_layers=2,
        n_heads=2,
        hidden_dim=64,
        max_position_embeddings=64,
        initializer_range=0.1,
        pad_token_id=1,
    )
    return _written(folder, vocabulary, config)


def _written(folder: Path, vocabulary: list[str], config: PretrainedConfig, **names: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64, **names)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder

"""Folders of tiny base models, each with a tokenizer of the kind that its architecture is published with."""

from __future__ import annotations

from pathlib import Path

import torch
from helpers.architectures import config
from helpers.vocabularies import tokenizer
from transformers import AutoModel

from kdbench.models.foreign import load_tokenizer


def make_folder(name: str, folder: Path) -> Path:
    """Write a randomly initialized model of the architecture `name` and its tokenizer to `folder`; return it."""
    made = tokenizer(name)
    made.save_pretrained(folder)
    read = load_tokenizer(folder)  # DeBERTa's [MASK] is added when the tokenizer is read
    specials = {"pad_token_id": read.pad_token_id}
    if name in ("modernbert", "eurobert"):
        specials |= {
            "bos_token_id": read.bos_token_id or read.cls_token_id,
            "eos_token_id": read.eos_token_id or read.sep_token_id,
            "mask_token_id": read.mask_token_id,
        }
    if name == "modernbert":
        specials |= {"cls_token_id": read.cls_token_id, "sep_token_id": read.sep_token_id}
    torch.manual_seed(0)
    AutoModel.from_config(config(name, len(read), **specials)).save_pretrained(folder)
    return folder

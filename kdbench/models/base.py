"""Find and check pretrained models, the base model and a teacher: an embedded one, a folder, or one of the hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kdbench.config import EMBEDDED_NAME
from kdbench.data.fetch import Download
from kdbench.errors import UsageError
from kdbench.models.embedded import EMBEDDED
from kdbench.utils.files import content_hash, force, sha256, user_path
from kdbench.utils.remarks import remark
from kdbench.utils.sealed import damage, described_damage, seal

POOLING = "1_Pooling/config.json"
"""The file by which sentence-transformers marks an encoder that it pools without the encoder's own pooler."""

_VOCABULARIES = ("tokenizer.json", "vocab.txt")
_OLDER_VOCABULARIES = (
    ("vocab.json", "merges.txt"),
    ("spm.model",),
    ("sentencepiece.bpe.model",),
    ("spiece.model",),
    ("sentencepiece.model",),
)
"""Files that transformers makes a fast tokenizer of where there is none of the above."""
_MODEL_FILES = ("config.json", "tokenizer_config.json", *_VOCABULARIES, "*.safetensors", POOLING)
_OLDER_FILES = (
    *(name for names in _OLDER_VOCABULARIES for name in names),
    "added_tokens.json",
    "special_tokens_map.json",
)
_INDEX = "*.safetensors.index.json"
"""Which shard has which weights."""
_FETCHED = (*_MODEL_FILES, *_OLDER_FILES, _INDEX)
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")


@dataclass(frozen=True)
class BaseModel:
    """A pretrained encoder on disk."""

    name: str
    path: Path
    sha256: str
    """A hash over all files that the model and its tokenizer are read from."""


def resolve_base_model(model: str | None, cache_dir: Path, flag: str = "--model") -> BaseModel:
    """Return the model that the user named, fetched if necessary.

    A folder of that name in the current one comes first, then the embedded models, then the hub, whose ids have the name of
    an owner before a slash.

    Args:
        model: a folder, the name of an embedded model, a hub id, or None for the embedded base model.
        cache_dir: where what is fetched is kept.
        flag: the setting that names the model, for messages.

    Raises:
        UsageError: the model does not exist, or its folder is incomplete or damaged.
    """
    model = model or EMBEDDED_NAME
    if _is_embedded(model):
        return _from_folder(model, EMBEDDED[model].fetch(cache_dir))
    folder = user_path(model)
    if folder.exists() or _is_path(model):
        if not folder.is_dir():
            raise UsageError(
                f"{flag} {model}: there is no such folder; name a folder with config.json, {_embedded()}, or a hub id"
            )
        return _from_folder(model_name(model), folder)
    return _from_folder(model_name(model), _from_hub(model, cache_dir, flag))


def _is_path(model: str) -> bool:
    return model.startswith((".", "/", "~"))


def _is_embedded(model: str) -> bool:
    return model in EMBEDDED and not user_path(model).exists()


def _embedded() -> str:
    return f"an embedded model ({', '.join(EMBEDDED)})"


def model_name(model: str) -> str:
    """Return the model's name in records: a folder's own name without its path, or the hub id."""
    folder = user_path(model)
    return folder.resolve().name if folder.is_dir() else model


def missing_model_downloads(model: str | None, cache_dir: Path) -> list[Download]:
    """Return the downloads that `resolve_base_model` would make; writes nothing."""
    model = model or EMBEDDED_NAME
    if _is_embedded(model):
        return EMBEDDED[model].missing(cache_dir)
    if user_path(model).exists() or _is_path(model):
        return []

    from huggingface_hub import snapshot_download

    try:
        snapshot_download(model, allow_patterns=list(_FETCHED), local_files_only=True)
    except (OSError, ValueError):  # not in the cache, or not a valid name
        return [Download(f"hub {model}", None)]
    return []


def _from_folder(name: str, folder: Path) -> BaseModel:
    _check(name, folder)
    files = _model_files(folder)
    return BaseModel(name, folder, content_hash([(path.name, sha256(path)) for path in files]))


def _model_files(folder: Path) -> list[Path]:
    # Files that are not read beside a newer one do not count: they may be fetched or not.
    patterns = _MODEL_FILES if _has_vocabulary(folder) else (*_MODEL_FILES, *_OLDER_FILES)
    return sorted(path for pattern in patterns for path in folder.glob(pattern))


def _has_vocabulary(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _VOCABULARIES)


def _check(name: str, folder: Path) -> None:
    """Raise a UsageError unless `folder` contains an encoder that transformers can load with a task head."""
    from safetensors import SafetensorError, safe_open
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as CLASSIFIERS,
    )

    from kdbench.models.foreign import load_config, load_tokenizer, refuse_code
    from kdbench.models.inputs import check_vocabulary

    if not (folder / "config.json").is_file():
        raise UsageError(
            f"model {name}: {folder} has no config.json; name a folder written by save_pretrained"
        )
    refuse_code(folder)
    try:
        config = load_config(folder)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"model {name}: {folder / 'config.json'} cannot be read: {_first_line(error)}"
        ) from None
    if config.model_type not in CLASSIFIERS:
        raise UsageError(
            f"model {name} is a {config.model_type!r}, which transformers has no text classifier for; "
            "name a BERT-like encoder"
        )
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise UsageError(
            f"model {name}: {folder} has no .safetensors weights; save the model again with save_pretrained"
        )
    for path in weights:
        try:
            with safe_open(path, framework="pt") as file:
                file.keys()
        except (SafetensorError, OSError) as error:
            raise UsageError(
                f"model {name}: {path} is damaged ({_first_line(error)}); fetch it again"
            ) from None
    _check_shards(name, folder, [path.name for path in weights])
    # Without these files, transformers silently creates a tokenizer with an empty vocabulary.
    older = any(all((folder / file).is_file() for file in files) for files in _OLDER_VOCABULARIES)
    if not _has_vocabulary(folder) and not older:
        raise UsageError(
            f"model {name}: {folder} has no tokenizer ({' or '.join(_VOCABULARIES)}, or vocab.json with merges.txt, or a "
            "SentencePiece model such as spm.model); save the tokenizer there, too"
        )
    try:
        tokenizer = load_tokenizer(folder)
    except Exception as error:  # a damaged file raises whatever its parser raises
        pieces = next(folder.glob("*.model"), None) if not _has_vocabulary(folder) else None
        # transformers would ask for the library of another format.
        reason = f"{pieces.name} is damaged, or no SentencePiece model" if pieces else _first_line(error)
        raise UsageError(f"model {name}: its tokenizer cannot be read: {reason}") from None
    if not tokenizer.is_fast:
        raise UsageError(f"model {name} has no fast tokenizer (tokenizer.json), which kdbench needs")
    check_vocabulary(name, tokenizer, config)


def _check_shards(name: str, folder: Path, weights: list[str]) -> None:
    """Raise a UsageError if `weights` are shards without their index, or without others that it lists."""
    from kdbench.models.foreign import json_object

    if "model.safetensors" in weights:
        return
    indices = sorted(folder.glob(_INDEX))
    if not indices and any(map(_SHARD.search, weights)):
        raise UsageError(
            f"model {name}: {folder} has shards of weights without their index (model.safetensors.index.json); fetch it, "
            "too, or save the model again with save_pretrained"
        )
    for index in indices:
        listed = json_object(index).get("weight_map")
        missing = sorted(set(map(str, listed.values() if isinstance(listed, dict) else ())) - set(weights))
        if missing:
            raise UsageError(
                f"model {name}: {folder} lacks {missing[0]}, a shard of {index.name}; fetch it again"
            )


def _from_hub(model: str, cache_dir: Path, flag: str) -> Path:
    """Return the folder of a model of the hub, whose files are checked with checksums that are kept in `cache_dir`."""
    folder = _snapshot(model, flag)
    sums = cache_dir / "hub" / f"{model.replace('/', '--')}-{folder.name}.json"
    damaged = damage(folder, file=sums)
    if not sums.is_file():  # others may have made empty files there
        damaged = {name: why for name, why in damaged.items() if folder / name in _fetched_files(folder)}
    if damaged:
        remark(f"model {model} is fetched again, since {folder / described_damage(damaged)}")
        sums.unlink(missing_ok=True)
        for path in _fetched_files(folder) if sums.name in damaged else map(folder.joinpath, damaged):
            path.resolve().unlink(missing_ok=True)  # what the link leads to
            path.unlink(missing_ok=True)
        folder = _snapshot(model, flag)
    if not sums.is_file():
        for path in _fetched_files(folder):
            force(path)
        seal(folder, [path.relative_to(folder).as_posix() for path in _fetched_files(folder)], sums)
    return folder


def _fetched_files(folder: Path) -> list[Path]:
    return [*_model_files(folder), *folder.glob(_INDEX)]


def _snapshot(model: str, flag: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=list(_FETCHED)))
    except Exception as error:  # the hub's client raises its own, its transport's and ValueError
        raise UsageError(
            f"model {model} is neither a folder nor {_embedded()}, and cannot be fetched from the hub: "
            f"{_first_line(error)}; correct {flag}, or check the network"
        ) from None


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)

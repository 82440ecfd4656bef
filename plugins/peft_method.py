"""Adapt by any method of the peft library, described by a configuration file of peft."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench_plugins._parameter_efficient import NAMES_MODULES, LongWarmUp, PeftStrategy
from pydantic import Field

from kdbench import Bench, TaskKind, UsageError, read_plain

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from torch import nn
    from transformers import PreTrainedModel

_MAX_BYTES = 1 << 16
"""The largest configuration file that is read."""
_SET_HERE = ("task_type", "modules_to_save", "inference_mode", "base_model_name_or_path", "revision")
"""What a file may say and kdbench decides: the task's kind, its head, and the base model."""
_NOT_READ = ("peft_version", "runtime_config", *NAMES_MODULES)
"""What peft itself adds to its files."""
_LOADS_OTHERS = ("XLORA",)
"""Methods that load adapters from where their file says."""


class PeftMethod(PeftStrategy):
    """Train the adapter that a file ``adapter_config.json`` of the peft library describes, and the head.

    Citation: Mangrulkar et al. 2022, PEFT: State-of-the-art Parameter-Efficient Fine-Tuning methods,
    https://github.com/huggingface/peft; the method's own paper is named in peft's documentation. Survey: Han et al. 2024,
    Parameter-Efficient Fine-Tuning for Large Models, arXiv:2403.14608.
    """

    class Params(LongWarmUp):
        config: str = Field("", description="path of the configuration, a JSON file as peft saves it")
        merge: bool = Field(True, description="merge the adapter into the weights before deployment")

    name = "peft"
    title = "A method of peft, by its configuration file"
    on_request = True
    learning_rates = dict.fromkeys(TaskKind, 2e-3)
    params: Params

    def input_files(self) -> tuple[Path, ...]:
        """Return the configuration file."""
        return (Path(self.params.config),) if self.params.config else ()

    def config(self, base: PreTrainedModel, bench: Bench) -> PeftConfig:
        """Return the configuration in the file, for an adapter that kdbench trains.

        Raises:
            UsageError: no file is named, or it is no configuration of a method that adapts layers.
        """
        if not self.params.config:
            raise UsageError("strategy 'peft' needs a file: peft[config=\"adapter_config.json\"]")
        return read_config(Path(self.params.config))

    def adapt(self, base: PreTrainedModel, bench: Bench) -> PeftModel:
        """Return `base` frozen, with the trainable adapter and trainable new modules.

        Raises:
            UsageError: the file is no configuration, or peft cannot adapt `base` by it.
        """
        try:
            return super().adapt(base, bench)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(
                f"{self.params.config}: peft cannot adapt {type(base).__name__} so: {error}"
            ) from None

    def finalize(self, model: nn.Module, bench: Bench) -> nn.Module:
        """Return the plain base model with the adapter merged, or with the adapter beside its weights.

        Raises:
            UsageError: peft cannot merge the method, or cannot deploy it unmerged.
        """
        from kdbench_plugins._unmerged_model import UnmergedModel

        method = model.peft_config["default"].peft_type.value
        try:
            return super().finalize(model, bench) if self.params.merge else UnmergedModel.of(model)
        except (NotImplementedError, AttributeError, ValueError) as error:
            other = "set merge=false" if self.params.merge else "leave out merge=false"
            raise UsageError(
                f"{self.params.config}: peft cannot deploy {method} so; {other}: {error}"
            ) from None


def read_config(path: Path) -> PeftConfig:
    """Return the configuration that `path`, a JSON file as peft saves it, contains; nothing in it is executed.

    Raises:
        UsageError: it cannot be read, is no JSON object, or names an unknown method, an unknown setting, or a method that
            adapts no layers.
    """
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

    settings = _read_object(path)
    method = settings.pop("peft_type", None)
    known = {str(peft_type.value): peft_type for peft_type in PEFT_TYPE_TO_CONFIG_MAPPING}
    if not isinstance(method, str) or method not in known:
        raise UsageError(f"{path}: peft_type is {method!r}; set one of {', '.join(sorted(known))}")
    config_class: Any = PEFT_TYPE_TO_CONFIG_MAPPING[known[method]]
    for name in (*_SET_HERE, *_NOT_READ):
        settings.pop(name, None)
    unknown = sorted(settings.keys() - {field.name for field in fields(config_class)})
    if unknown:
        raise UsageError(f"{path}: the installed peft knows no setting {unknown[0]!r} of {method}; remove it")
    try:
        config: PeftConfig = config_class(**settings)
    except (ValueError, TypeError, KeyError, ImportError) as error:
        raise UsageError(f"{path}: {method} rejects its settings: {error}") from None
    if method in _LOADS_OTHERS:
        raise UsageError(
            f"{path}: {method} loads other adapters, which is not supported; take another method"
        )
    if known[method] not in PEFT_TYPE_TO_TUNER_MAPPING or config.is_prompt_learning:
        raise UsageError(
            f"{path}: {method} adapts no layers, so that it can be neither merged nor saved; see prefix-tuning"
        )
    return config


def _read_object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_plain(path, _MAX_BYTES))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is no JSON; name a file as peft saves it, adapter_config.json") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} is no JSON object; name a file as peft saves it, adapter_config.json")
    return found

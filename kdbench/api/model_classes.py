"""Map registered keys to model classes, so that a saved model still loads after its class has moved."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from operator import attrgetter
from typing import Any

from kdbench.errors import KdbenchError, UsageError

_TRANSFORMERS = "transformers:"
"""Prefix of the keys of transformers' classes; the class name follows."""
_FORMER_TRANSFORMERS = "transformers.models."
"""Prefix of the same in version 0.1, which wrote module and class."""

_places: dict[str, str] = {
    "onnx": "kdbench.models.onnx:OnnxModel",
    "kdbench.onnx_model:OnnxModel": "kdbench.models.onnx:OnnxModel",
}
"""Import path of the class, ``module:Class``, by key.

It is global because models are also loaded without a registry. `load_plugins` fills it, with the same entries for the
same plugins.
"""


def register_model_classes(places: Mapping[str, str]) -> None:
    """Register model classes, so that models of these classes can be saved and loaded.

    Args:
        places: the class of each key, ``module:Class``; it is imported when a model of the class is loaded. If a class
            has several keys, the first is written to saved models and all of them can be read.

    Raises:
        UsageError: a class is not given as ``module:Class``, or a key is already taken by another class.
    """
    for key, place in places.items():
        module, _, name = str(place).partition(":")
        if not (
            isinstance(key, str) and key and module and all(part.isidentifier() for part in name.split("."))
        ):
            raise UsageError(f"model class {key!r}: {place!r} is not 'module:Class'")
        if key.startswith(_TRANSFORMERS) or _places.get(key, place) != place:
            raise UsageError(f"model class {key!r} is taken; choose another key")
    _places.update(places)


def model_class_key(model_class: type) -> str:
    """Return the key that `model_class` is registered under.

    Raises:
        KdbenchError: the class is not registered.
    """
    import transformers

    name = model_class.__qualname__
    if getattr(transformers, name, None) is model_class:
        return _TRANSFORMERS + name
    place = f"{model_class.__module__}:{name}"
    for key, registered in _places.items():
        if registered == place:
            return key
    if "<locals>" in name:
        raise KdbenchError(
            f"{model_class.__name__} cannot be loaded elsewhere: its class is defined inside a function; "
            "move it to the top of a module"
        )
    raise KdbenchError(
        f"{name} cannot be loaded elsewhere: no plugin registers its class; return {{'a-key': {place!r}}} from the "
        "hook kdbench_model_classes"
    )


def is_transformers_model(name: str) -> bool:
    """Return whether `name` is that of a model class of transformers, which a file may name without running code."""
    import transformers

    found = getattr(transformers, name, None) if name.isidentifier() else None
    return isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)


def find_model_class(key: str) -> Any:
    """Return the class that is registered under `key`.

    Raises:
        KdbenchError: no class is registered under it.
    """
    import transformers

    name = key.removeprefix(_TRANSFORMERS)
    if key.startswith(_FORMER_TRANSFORMERS):
        name = key.partition(":")[2]
    if name != key and is_transformers_model(name):
        return getattr(transformers, name)
    if key not in _places:
        raise KdbenchError(
            f"no installed plugin registers the model class {key!r}; install the distribution that the model was made with"
        )
    module, _, name = _places[key].partition(":")
    return attrgetter(name)(import_module(module))

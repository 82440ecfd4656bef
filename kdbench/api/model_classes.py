"""Name model classes by registered keys, so that a saved model finds its class wherever that has moved."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from operator import attrgetter
from typing import Any

from kdbench.errors import KdbenchError, UsageError

_TRANSFORMERS = "transformers:"
"""Begins the key of a class of transformers, which is registered by its name there."""
_FORMER_TRANSFORMERS = "transformers.models."
"""Began what version 0.1 wrote for these: a module and a class."""

_places: dict[str, str] = {
    "onnx": "kdbench.models.onnx:OnnxModel",
    "kdbench.onnx_model:OnnxModel": "kdbench.models.onnx:OnnxModel",
}
"""By key where the class stands, ``module:Class``.

Of the process, as imported modules are: a model is loaded where no registry is at hand. `load_plugins` fills it, and
the same plugins fill it alike.
"""


def register_model_classes(places: Mapping[str, str]) -> None:
    """Let models of these classes be saved and loaded.

    Args:
        places: by key the class, ``module:Class``; it is imported when a model of it is. Of several keys of one class the
            first is written, all are read.

    Raises:
        UsageError: a place is not written so, or a key stands for another class already.
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
    """Return the key that `model_class` is registered by.

    Raises:
        KdbenchError: it is not registered.
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
            f"{model_class.__name__} cannot be loaded elsewhere: its class stands inside a function; "
            "move it to the top of a module"
        )
    raise KdbenchError(
        f"{name} cannot be loaded elsewhere: no plugin registers its class; return {{'a-key': {place!r}}} from the "
        "hook kdbench_model_classes"
    )


def find_model_class(key: str) -> Any:
    """Return the class that is registered by `key`.

    Raises:
        KdbenchError: no class is, or it is no longer where it was registered.
    """
    import transformers

    name = key.removeprefix(_TRANSFORMERS)
    if key.startswith(_FORMER_TRANSFORMERS):
        name = key.partition(":")[2]
    if name != key and isinstance(getattr(transformers, name, None), type):
        return getattr(transformers, name)
    if key not in _places:
        raise KdbenchError(
            f"no plugin here registers the model class {key!r}; install the distribution that the model was made with"
        )
    module, _, name = _places[key].partition(":")
    return attrgetter(name)(import_module(module))

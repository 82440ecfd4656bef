"""Define the model of a peft adapter that is deployed beside the weights of its base model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kdbench_plugins._parameter_efficient import NAMES_MODULES, unwrap_saved_modules
from transformers import PreTrainedModel

from kdbench import FolderModel, architecture_of, build_architecture

if TYPE_CHECKING:
    from peft import PeftModel


class UnmergedModel(FolderModel):
    """Wrap a transformers model whose layers compute an adapter of peft beside their own weights.

    Args:
        architecture: class and configuration of the base model, from `architecture_of`.
        adapter: the configuration of the peft method.
        model: the base model with its adapter; by default a new one.
    """

    def __init__(
        self, architecture: dict[str, Any], adapter: dict[str, Any], model: PreTrainedModel | None = None
    ) -> None:
        super().__init__({"architecture": architecture, "adapter": adapter})
        if model is None:
            from peft import get_peft_config, inject_adapter_in_model

            config = get_peft_config({name: adapter[name] for name in adapter if name not in NAMES_MODULES})
            model = inject_adapter_in_model(config, build_architecture(architecture))
        self.model: Any = model

    @classmethod
    def of(cls, trained: PeftModel) -> UnmergedModel:
        """Return the model in `trained` with its adapter, without peft's copies of the head and other whole modules.

        Raises:
            ValueError: the method's layers share weights, which peft can only keep together with its own wrapper.
        """
        if getattr(trained.base_model, "uses_shared_state", False):
            raise ValueError("its layers share weights, which a saved model could not hold")
        unwrap_saved_modules(trained)
        plain = trained.base_model.model
        config = trained.peft_config["default"].to_dict()
        # What starts the adapter's weights, and whole modules, are no part of the model: its weights are saved.
        further = {"modules_to_save": None, "task_type": None, "base_model_name_or_path": None}
        if "init_lora_weights" in config:
            further["init_lora_weights"] = True  # type: ignore[assignment]
        adapter = json.loads(json.dumps({**config, **further}, default=sorted))
        adapter.pop("runtime_config", None)
        return cls(architecture_of(plain), adapter, plain)

    def get_input_embeddings(self) -> Any:
        """Return the base model's table of word pieces."""
        return self.model.get_input_embeddings()

    def forward(self, **inputs: Any) -> Any:
        """Return the output of the wrapped model."""
        return self.model(**inputs)

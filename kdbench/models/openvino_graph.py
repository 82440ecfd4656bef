"""Run ONNX graphs with OpenVINO on the CPU; needs the extra ``kdbench[openvino]``."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn

from kdbench.errors import KdbenchError

_TELEMETRY = "openvino_telemetry"


class OpenVinoModel(nn.Module):
    """An ONNX graph that OpenVINO runs on the CPU, with torch's number of threads at the time of construction.

    Matrix products are in float32, on processors with faster types as well, so that all models compare equal precision.

    Args:
        graph: an ONNX model as that of an `OnnxModel`.
        config: a description of the model; plain JSON values.

    Raises:
        KdbenchError: OpenVINO cannot run the graph.
    """

    def __init__(self, graph: bytes, config: dict[str, Any]) -> None:
        super().__init__()
        self.graph = graph
        self.config = config
        openvino = _openvino()
        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
            # A pinned thread would wait for the core of another process, and the other back ends pin none.
            "ENABLE_CPU_PINNING": False,
        }
        core = openvino.Core()
        try:
            compiled = core.compile_model(core.read_model(graph, b""), "CPU", settings)
        except RuntimeError as error:
            raise KdbenchError(f"OpenVINO cannot run the graph: {' '.join(str(error).split())}") from error
        self._request = compiled.create_infer_request()
        self._inputs = [node.any_name for node in compiled.inputs]

    def forward(self, **inputs: Tensor) -> SimpleNamespace:
        """Return float32 ``logits``; the inputs are int64 ``(batch, sequence)`` on the CPU."""
        given = {name: inputs[name].numpy() for name in self._inputs}
        # The logits are copied: the next call writes to the same memory.
        answered = self._request.infer(given, share_inputs=True)[0]
        return SimpleNamespace(logits=torch.from_numpy(answered))


def _openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, which would report the import over the network."""
    known = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # importing it fails, and OpenVINO does without
    try:
        import openvino
    finally:
        if known is None:
            del sys.modules[_TELEMETRY]
        else:
            sys.modules[_TELEMETRY] = known
    return cast(ModuleType, openvino)

"""LiteRT with XNNPACK: through torch, because its converter starts there."""

import re
from typing import Any

import numpy as np

from edgecomp.bench.peers.contract import Converted, Loaded
from edgecomp.bench.peers.task import Array, Task
from edgecomp.bench.peers.torch_graph import load_graph


def convert(task: Task) -> Converted:
    """ONNX to torch to .tflite, then static int8 by ai-edge-quantizer where asked for."""
    import litert_torch
    import torch

    module = load_graph(task.folder)
    example = tuple(torch.from_numpy(array) for array in task.feeds())
    path = task.folder / "litert.tflite"
    litert_torch.convert(module, example).export(str(path))
    if not task.int8:
        return Converted(str(path), "ONNX through torch")
    quantized = task.folder / "litert_int8.tflite"
    _quantize(task, str(path), str(quantized))
    return Converted(str(quantized), "int8 by ai-edge-quantizer")


def load(task: Task) -> Loaded:
    """An interpreter whose inputs are set; XNNPACK runs what it can."""
    import ai_edge_litert
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(task.file, num_threads=task.threads)
    interpreter.allocate_tensors()
    inputs = sorted(interpreter.get_input_details(), key=_position)
    outputs = sorted(interpreter.get_output_details(), key=_position)
    for facts, array in zip(inputs, task.feeds(), strict=True):
        interpreter.set_tensor(facts["index"], _quantized(array, facts))

    def fetch() -> list[Array]:
        return [_dequantized(interpreter.get_tensor(o["index"]), o) for o in outputs]

    return Loaded(ai_edge_litert.__version__, interpreter.invoke, fetch)


def _quantize(task: Task, path: str, output: str) -> None:
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    interpreter = Interpreter(path)
    ((signature, ports),) = interpreter.get_signature_list().items()
    inputs = sorted(interpreter.get_input_details(), key=_position)
    names = sorted(ports["inputs"], key=_number)
    samples = [
        {
            name: array.astype(facts["dtype"])
            for name, array, facts in zip(names, sample, inputs, strict=True)
        }
        for sample in task.calibration()
    ]
    maker = quantizer.Quantizer(path, recipe.static_wi8_ai8())
    result = maker.quantize(maker.calibrate({signature: samples}))
    result.export_model(output, overwrite=True)


def _position(facts: dict[str, Any]) -> int:
    return _number(facts["name"])


def _number(name: str) -> int:
    """``serving_default_args_1:0`` is the second."""
    found = re.findall(r"\d+", name.split(":")[0]) or re.findall(r"\d+", name)
    return int(found[-1]) if found else 0


def _quantized(array: Array, facts: dict[str, Any]) -> Array:
    """An input in the dtype the model takes."""
    dtype = np.dtype(facts["dtype"])
    if array.dtype.kind == "f" and dtype.kind == "i":
        scales, zeros = _scale(facts)
        limits = np.iinfo(dtype)
        array = np.clip(np.round(array / scales + zeros), limits.min, limits.max)
    return array.astype(dtype)


def _dequantized(array: Array, facts: dict[str, Any]) -> Array:
    scales, zeros = _scale(facts)
    if scales and array.dtype.kind == "i":
        return (array.astype(np.float32) - zeros) * np.float32(scales)
    return array


def _scale(facts: dict[str, Any]) -> tuple[float, int]:
    """Scale and zero point; scale 0 where the tensor is not quantized."""
    found = facts["quantization_parameters"]
    if not len(found["scales"]):
        return 0.0, 0
    return float(found["scales"][0]), int(found["zero_points"][0])

"""OpenVINO: int8 by NNCF's post-training quantization where that is installed."""

import importlib.util
from typing import Any

import numpy as np

from edgecomp.bench.peers.contract import Converted, Loaded
from edgecomp.bench.peers.task import Array, Task

#: Models with an attention are quantized by NNCF in a way of their own.
_ATTENTION = "Softmax"


def convert(task: Task) -> Converted:
    """ONNX to OpenVINO's form, weights in float32 or int8."""
    import openvino

    if task.int8 and importlib.util.find_spec("nncf") is not None:
        model, form = _quantized(task), "int8 by NNCF"
    else:
        model = openvino.convert_model(str(task.model))
        form = "the bundle's QDQ file" if task.int8 else "ONNX"
    path = task.folder / "openvino.xml"
    openvino.save_model(model, str(path), compress_to_fp16=False)
    return Converted(str(path), form)


def load(task: Task) -> Loaded:
    """A compiled model whose inputs are set."""
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": task.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = openvino.Core().compile_model(task.file, "CPU", settings)
    request = compiled.create_infer_request()
    for index, array in enumerate(task.feeds()):
        request.set_input_tensor(index, openvino.Tensor(array))
    count = len(compiled.outputs)

    def fetch() -> list[Array]:
        return [np.array(request.get_output_tensor(i).data) for i in range(count)]

    return Loaded(openvino.__version__, lambda: request.infer(share_outputs=True), fetch)


def _quantized(task: Task) -> Any:
    import nncf
    import openvino

    model = openvino.convert_model(str(task.float_model))
    samples = task.calibration()
    attention = any(operation.get_type_name() == _ATTENTION for operation in model.get_ops())
    rest = {"model_type": nncf.ModelType.TRANSFORMER} if attention else {}
    return nncf.quantize(
        model,
        nncf.Dataset(samples),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(samples),
        **rest,
    )

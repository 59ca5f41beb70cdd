"""MNN: static int8 fails in its converter, so int8 is int8 weights with run-time activations.

The converter is called as the C extension it is: the command-line tools of MNN 3.6 install
packages and report their use.
"""

import importlib.metadata
from typing import Any

import numpy as np

from edgecomp.bench.peers.contract import Converted, Loaded
from edgecomp.bench.peers.task import Array, Task


def convert(task: Task) -> Converted:
    """ONNX to .mnn."""
    import _tools
    import MNN  # noqa: F401 - _tools looks for its library

    path = task.folder / "model.mnn"
    arguments = ["mnnconvert", "-f", "ONNX", "--modelFile", str(task.float_model)]
    arguments += ["--MNNModel", str(path), "--bizCode", "x"]
    _tools.mnnconvert(arguments + (["--weightQuantBits", "8"] if task.int8 else []))
    if not path.exists():
        raise RuntimeError("mnnconvert wrote no file")
    form = "int8 weights, activations quantized at run time" if task.int8 else "ONNX"
    return Converted(str(path), form)


def load(task: Task) -> Loaded:
    """A session whose inputs are set."""
    import MNN

    interpreter = MNN.Interpreter(task.file)
    precision = {"precision": "low", "memory": "low"} if task.int8 else {"precision": "high"}
    settings = {"backend": "CPU", "numThread": task.threads, **precision}
    session = interpreter.createSession(settings)
    for name, array in zip(task.inputs, task.feeds(), strict=True):
        tensor = interpreter.getSessionInput(session, name)
        if array.dtype == np.int64:
            array = array.astype(np.int32)
        tensor.copyFrom(_host_tensor(array))
    outputs = interpreter.getSessionOutputAll(session)

    def fetch() -> list[Array]:
        found = []
        for output in outputs.values():
            shape = output.getShape()
            host = _host_tensor(np.zeros(shape, np.float32))
            output.copyToHostTensor(host)
            found.append(np.array(host.getData(), np.float32).reshape(shape))
        return found

    version = importlib.metadata.version("MNN")
    return Loaded(version, lambda: interpreter.runSession(session), fetch)


def _host_tensor(array: Array) -> Any:
    import MNN

    kind = MNN.Halide_Type_Int if array.dtype.kind == "i" else MNN.Halide_Type_Float
    return MNN.Tensor(array.shape, kind, array, MNN.Tensor_DimensionType_Caffe)

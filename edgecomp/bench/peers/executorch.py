"""ExecuTorch with the XNNPACK back end; int8 by its own quantizer."""

import importlib.metadata
from typing import Any

from edgecomp.bench.peers.contract import Converted, Loaded
from edgecomp.bench.peers.task import Array, Task
from edgecomp.bench.peers.torch_graph import load_graph


def convert(task: Task) -> Converted:
    """ONNX to torch to .pte."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    example = tuple(torch.from_numpy(array) for array in task.feeds())
    program = torch.export.export(load_graph(task.folder), example)
    if task.int8:
        program = torch.export.export(_quantized(task, program), example)
    edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    path = task.folder / "executorch.pte"
    path.write_bytes(edge.to_executorch().buffer)
    form = "int8 by XNNPACKQuantizer" if task.int8 else "ONNX through torch"
    return Converted(str(path), form)


def load(task: Task) -> Loaded:
    """A program whose inputs are tensors already."""
    import torch
    from executorch.extension.pybindings import portable_lib

    portable_lib._unsafe_reset_threadpool(task.threads)
    module = portable_lib._load_for_executorch(task.file)
    inputs = [torch.from_numpy(array) for array in task.feeds()]
    outputs: list[Any] = []

    def run() -> None:
        outputs[:] = module.run_method("forward", inputs)

    def fetch() -> list[Array]:
        return [output.numpy() for output in outputs]

    return Loaded(importlib.metadata.version("executorch"), run, fetch)


def _quantized(task: Task, program: Any) -> Any:
    import torch
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer()
    quantizer.set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(program.module(), quantizer)
    with torch.no_grad():
        for sample in task.calibration():
            prepared(*(torch.from_numpy(array) for array in sample))
    return convert_pt2e(prepared)

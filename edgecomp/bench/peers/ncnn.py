"""ncnn, through pnnx; float only: its int8 tables cover convolutions of images alone."""

import pathlib
import subprocess
import sys
from typing import Any

import numpy as np

from edgecomp.bench.peers.contract import Converted, Loaded
from edgecomp.bench.peers.task import Array, Task
from edgecomp.bench.peers.torch_graph import load_graph

_SUFFIXES = {"float32": "", "int64": "i64", "int32": "i32"}


def convert(task: Task) -> Converted:
    """ONNX to torch to TorchScript to ncnn, in float32."""
    import torch

    arrays = task.feeds()
    example = tuple(torch.from_numpy(array) for array in arrays)
    torch.jit.trace(load_graph(task.folder), example).save(str(task.folder / "ncnn.pt"))
    shapes = ",".join(
        f"[{','.join(map(str, array.shape))}]{_SUFFIXES[str(array.dtype)]}" for array in arrays
    )
    program = pathlib.Path(sys.executable).parent / "pnnx"
    command = [str(program), "ncnn.pt", f"inputshape={shapes}", "fp16=0"]
    done = subprocess.run(
        command, cwd=task.folder, capture_output=True, text=True, check=False
    )
    path = task.folder / "ncnn.ncnn.param"
    if done.returncode or not path.exists():
        raise RuntimeError(f"pnnx: {(done.stdout + done.stderr)[-500:]}")
    return Converted(str(path), "float: it has no general int8" if task.int8 else "float")


def load(task: Task) -> Loaded:
    """A network; every run makes an extractor, which holds one inference."""
    import ncnn

    network = ncnn.Net()
    network.opt.num_threads = task.threads
    network.opt.use_vulkan_compute = False
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(network.opt, f"use_{name}", False)
    weights = task.file.removesuffix("param") + "bin"
    if network.load_param(task.file) or network.load_model(weights):
        raise RuntimeError(f"ncnn cannot load {task.file}")
    inputs = [ncnn.Mat(_without_batch(array)).clone() for array in task.feeds()]
    names = network.output_names()
    outputs: list[Any] = []

    def run() -> None:
        extractor = network.create_extractor()
        for index, matrix in enumerate(inputs):
            extractor.input(f"in{index}", matrix)
        outputs[:] = [extractor.extract(name) for name in names]

    def fetch() -> list[Array]:
        return [np.array(matrix) for _, matrix in outputs]

    return Loaded(ncnn.__version__, run, fetch)


def _without_batch(array: Array) -> Array:
    if array.dtype == np.int64:
        array = array.astype(np.int32)
    return np.ascontiguousarray(array[0])

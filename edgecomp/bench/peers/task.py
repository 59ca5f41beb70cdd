"""What a peer's process has to do, as a folder that both sides read.

task.json          the fields of Task
model.onnx         what the bundle is built from: float or QDQ
float.onnx         the same without quantization (the same file where there is none)
graph.json, graph.npz   float.onnx again, for converters that start from torch
inputs.npz         one array per input: what is timed
calibration.npz    arrays per input with samples along a new first axis
outputs.npz        written by the peer: output_0, output_1 ...
"""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Task:
    """One model for one peer.

    Attributes:
        folder: the files named above.
        peer: name of the runtime.
        threads: for kernels.
        int8: whether the bundle computes in integers.
        inputs: names of the graph's inputs, in order.
        file: what to load; "" before the conversion.
        form: the same for people.
    """

    folder: pathlib.Path
    peer: str
    threads: int
    int8: bool
    inputs: tuple[str, ...]
    file: str = ""
    form: str = ""

    @property
    def model(self) -> pathlib.Path:
        """What the bundle is built from."""
        return self.folder / "model.onnx"

    @property
    def float_model(self) -> pathlib.Path:
        """The same without quantization."""
        return self.folder / "float.onnx"

    def feeds(self) -> list[Array]:
        """What is timed, in the order of the inputs."""
        return _read(self.folder / "inputs.npz", self.inputs)

    def calibration(self) -> list[list[Array]]:
        """Samples, each with its arrays in the order of the inputs."""
        stacked = _read(self.folder / "calibration.npz", self.inputs)
        return [list(sample) for sample in zip(*stacked, strict=True)]

    def write(self) -> None:
        """Write task.json."""
        content = {**dataclasses.asdict(self), "folder": ""}
        (self.folder / "task.json").write_text(json.dumps(content))


def read_task(folder: pathlib.Path) -> Task:
    """The task in a folder."""
    content = json.loads((folder / "task.json").read_text())
    content |= {"folder": folder, "inputs": tuple(content["inputs"])}
    return Task(**content)


def _read(path: pathlib.Path, names: tuple[str, ...]) -> list[Array]:
    with np.load(path, allow_pickle=False) as file:
        return [file[name] for name in names]

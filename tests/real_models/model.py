"""What the table and the tests know about a real model."""

import dataclasses
import importlib.util
from collections.abc import Callable

import numpy as np

Feed = dict[str, np.ndarray]
#: Outputs of one sample, in the order of the graph.
Outputs = list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class RealModel:
    """A trained model, its data and its task.

    Attributes:
        name: C identifier.
        packages: distribution==version that have the weights and the data, and the module that
            tells whether each is installed.
        onnx: writes or finds the float model: folder for files that it makes -> path.
        inputs: shapes of free dimensions, as for ``--input``.
        calibration: feeds for int8; none of them is among the samples.
        samples: feeds that the task is measured on.
        score: outputs of all samples -> figures by name.
        torch: runs the model that it was exported from, where there is one.
        distance: largest allowed float difference from onnxruntime, over the range of an output.
    """

    name: str
    packages: dict[str, str]
    onnx: Callable
    inputs: tuple[str, ...]
    calibration: Callable[[], list[Feed]]
    samples: Callable[[], list[Feed]]
    score: Callable[[list[Outputs]], dict[str, float]]
    torch: Callable[[list[Feed]], list[Outputs]] | None = None
    distance: float = 1e-4

    def missing(self) -> str:
        """Why the model cannot be used here, or ""."""
        absent = [
            distribution
            for distribution, module in self.packages.items()
            if importlib.util.find_spec(module) is None
        ]
        return f"not installed: {', '.join(absent)} (extra 'models')" if absent else ""

"""What the benchmark needs to know of a bundle: files and ports."""

import pathlib
from collections.abc import Sequence
from typing import Protocol

from edgecomp.plan.values import Array


class Port(Protocol):
    """An input or output: contiguous, ONNX order."""

    @property
    def name(self) -> str:
        """ONNX name."""

    @property
    def dtype(self) -> str:
        """Numpy name."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Static shape, the largest of a dynamic one."""

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Of a dynamic shape: numbers and names; empty where the shape is fixed."""


def allows(port: Port, shape: tuple[int, ...]) -> bool:
    """Whether a port may have a shape, as far as its largest one says."""
    largest = tuple(port.shape)
    if not port.dimensions:
        return shape == largest
    return len(shape) == len(largest) and all(
        size == most or (not dimension.isdigit() and 1 <= size < most)
        for size, most, dimension in zip(shape, largest, port.dimensions, strict=True)
    )


class Vector(Protocol):
    """Golden inputs and outputs, arrays by port name."""

    @property
    def inputs(self) -> dict[str, Array]:
        """What to run."""

    @property
    def outputs(self) -> dict[str, Array]:
        """What must come out."""

    @property
    def spread(self) -> dict[str, float]:
        """How far outputs may be off for the rounding of float values that are quantized."""


class BundleFiles(Protocol):
    """A bundle on disk, as ``edgecomp.bundle`` reads it."""

    @property
    def name(self) -> str:
        """C identifier of the model."""

    @property
    def directory(self) -> pathlib.Path:
        """The bundle's folder."""

    @property
    def inputs(self) -> Sequence[Port]:
        """What the model takes."""

    @property
    def outputs(self) -> Sequence[Port]:
        """What it gives."""

    @property
    def model_path(self) -> pathlib.Path:
        """The portable ONNX model."""

    @property
    def weights_path(self) -> pathlib.Path:
        """The weights file."""

    @property
    def runner_path(self) -> pathlib.Path | None:
        """The command-line runner, None where none was built."""

    @property
    def golden(self) -> Sequence[Vector]:
        """Golden vectors."""

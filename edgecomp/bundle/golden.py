"""Golden vectors: inputs with the outputs that the portable model gives for them."""

import dataclasses
import pathlib
import zipfile
from collections.abc import Mapping, Sequence

import ml_dtypes  # noqa: F401 - np.dtype then knows bfloat16
import numpy as np

from edgecomp.bundle.manifest import Port
from edgecomp.errors import Code, EdgecompError
from edgecomp.plan.values import Array

FOLDER = "golden"


@dataclasses.dataclass(frozen=True)
class GoldenVector:
    """One run: arrays by the names of the ports.

    Attributes:
        inputs: what goes in.
        outputs: what the portable model gives.
        spread: how far right kernels may be off at an output because float values that are
            quantized in the model may round to another step; see docs/numerics.md.
    """

    inputs: dict[str, Array]
    outputs: dict[str, Array]
    spread: dict[str, float] = dataclasses.field(default_factory=dict)


def write_golden(
    directory: pathlib.Path,
    vectors: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]],
    inputs: Sequence[Port],
    outputs: Sequence[Port],
) -> None:
    """Write ``golden/<k>/input_<i>.bin``, ``output_<i>.bin`` and ``golden.npz``.

    The ``.bin`` files are what the runner reads on a device: contiguous, little-endian. The
    ``.npz`` holds the same under ``<k>/input/<name>`` and ``<k>/output/<name>``.
    """
    everything: dict[str, Array] = {}
    for index, (given, expected) in enumerate(vectors):
        folder = directory / FOLDER / str(index)
        folder.mkdir(parents=True)
        for kind, ports, arrays in (("input", inputs, given), ("output", outputs, expected)):
            for i, port in enumerate(ports):
                array = _checked(arrays, port, f"golden vector {index}")
                _bin_path(directory, index, kind, i).write_bytes(array.tobytes())
                everything[f"{index}/{kind}/{port.name}"] = array
    if vectors:
        np.savez(directory / FOLDER / "golden.npz", allow_pickle=False, **everything)


def read_golden(
    directory: pathlib.Path,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    spreads: Sequence[Mapping[str, float]],
) -> list[GoldenVector]:
    """Read as many vectors back as there are ``spreads``."""
    if any(port.dimensions for port in (*inputs, *outputs)):
        return _read_shaped(directory, inputs, outputs, spreads)

    def load(index: int, kind: str, ports: Sequence[Port]) -> dict[str, Array]:
        return {
            port.name: read_array(_bin_path(directory, index, kind, i), port)
            for i, port in enumerate(ports)
        }

    return [
        GoldenVector(load(k, "input", inputs), load(k, "output", outputs), dict(spread))
        for k, spread in enumerate(spreads)
    ]


def _read_shaped(
    directory: pathlib.Path,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    spreads: Sequence[Mapping[str, float]],
) -> list[GoldenVector]:
    """Vectors of dynamic shapes, from the file that knows them."""
    path = directory / FOLDER / "golden.npz"
    try:
        with np.load(path, allow_pickle=False) as content:
            return [
                GoldenVector(
                    {
                        port.name: _typed(content[f"{k}/input/{port.name}"], port)
                        for port in inputs
                    },
                    {
                        port.name: _typed(content[f"{k}/output/{port.name}"], port)
                        for port in outputs
                    },
                    dict(spread),
                )
                for k, spread in enumerate(spreads)
            ]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise EdgecompError(
            Code.BUNDLE_CORRUPT, f"the golden vectors cannot be read: {error}", path=str(path)
        ) from None


def _typed(array: Array, port: Port) -> Array:
    """The array with the port's dtype: .npy files have no name for those of ml_dtypes."""
    return array if array.dtype.kind != "V" else array.view(np.dtype(port.dtype))


def read_array(path: pathlib.Path, port: Port) -> Array:
    """A ``.bin`` file as an array of the port's dtype and shape."""
    dtype = np.dtype(port.dtype)
    content = path.read_bytes()
    if len(content) != dtype.itemsize * int(np.prod(port.shape, dtype=np.int64)):
        raise EdgecompError(
            Code.BUNDLE_CORRUPT,
            f"{len(content)} bytes where '{port.name}' is {port.dtype}{list(port.shape)}",
            path=str(path),
        )
    return np.frombuffer(content, dtype).reshape(port.shape)


def _bin_path(directory: pathlib.Path, index: int, kind: str, i: int) -> pathlib.Path:
    return directory / FOLDER / str(index) / f"{kind}_{i}.bin"


def _fits(shape: tuple[int, ...], port: Port) -> bool:
    """Whether a port can have this shape; dynamic dimensions are compared with the largest."""
    if not port.dimensions:
        return shape == tuple(port.shape)
    return len(shape) == len(port.shape) and all(
        size == most or (size < most and not dimension.isdigit())
        for size, most, dimension in zip(shape, port.shape, port.dimensions, strict=True)
    )


def _checked(arrays: Mapping[str, Array], port: Port, what: str) -> Array:
    if port.name not in arrays:
        raise EdgecompError(Code.INTERNAL, f"{what} lacks '{port.name}'")
    array = np.ascontiguousarray(arrays[port.name])
    # ascontiguousarray turns a scalar into one element of rank 1.
    array = array.reshape(np.shape(arrays[port.name]))
    if not _fits(array.shape, port) or array.dtype != np.dtype(port.dtype):
        raise EdgecompError(
            Code.INTERNAL,
            f"{what}: '{port.name}' is {array.dtype}{list(array.shape)}, the model has "
            f"{port.dtype}{list(port.shape)}",
        )
    return array

"""Source positions of a nearest-neighbour Resize, per dimension."""

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecomp.graph.constants import constant_array

Indices = npt.NDArray[np.int64]
Positions = npt.NDArray[np.float64]


def nearest_indices(
    node: ir.Node, input_shape: tuple[int, ...], output_shape: tuple[int, ...]
) -> tuple[Indices, ...] | None:
    """For each dimension the source index of every result index.

    Args:
        node: Resize (opset 10 or later) with mode nearest and constant scales or sizes.
        input_shape: of its first input.
        output_shape: of its result.

    Returns:
        One array of ``output_shape[d]`` indices per dimension, or None where the node maps
        coordinates in a way that is not known here.
    """
    mode = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    rounding = _ROUNDINGS.get(node.attributes.get_string("nearest_mode", "round_prefer_floor"))
    if mode not in _COORDINATES or rounding is None:
        return None
    scales = _scales(node, input_shape, output_shape)
    indices = []
    for extent, length, scale in zip(input_shape, output_shape, scales, strict=True):
        if extent == length and scale == 1.0:
            indices.append(np.arange(length))
            continue
        positions = np.arange(length, dtype=np.float64)
        source = _COORDINATES[mode](positions, _Dimension(extent, length, scale))
        indices.append(np.clip(rounding(source), 0, extent - 1).astype(np.int64))
    return tuple(indices)


def _scales(
    node: ir.Node, input_shape: tuple[int, ...], output_shape: tuple[int, ...]
) -> list[float]:
    """Scale per dimension: as given, or the ratio of the extents where sizes are given."""
    ratios = [out / extent for extent, out in zip(input_shape, output_shape, strict=True)]
    # Opset 10 has the scales second; later ones have the region of interest there.
    index = 1 if len(node.inputs) == 2 else 2
    given = constant_array(node.inputs[index]) if len(node.inputs) > index else None
    if given is None or given.size == 0:
        return ratios
    axes = node.attributes.get_ints("axes") or range(len(input_shape))
    for axis, scale in zip(axes, given, strict=True):
        ratios[axis] = float(scale)
    return ratios


@dataclasses.dataclass(frozen=True)
class _Dimension:
    """One dimension: input extent, output length, scale from the first to the second."""

    extent: int
    length: int
    scale: float


def _half_pixel(x: Positions, d: _Dimension) -> Positions:
    return (x + 0.5) / d.scale - 0.5


def _pytorch_half_pixel(x: Positions, d: _Dimension) -> Positions:
    return _half_pixel(x, d) if d.length > 1 else np.zeros_like(x)


def _half_pixel_symmetric(x: Positions, d: _Dimension) -> Positions:
    adjustment = d.length / (d.scale * d.extent)
    return d.extent / 2 * (1 - adjustment) + _half_pixel(x, d)


def _align_corners(x: Positions, d: _Dimension) -> Positions:
    length = whole_length(d.extent * d.scale)
    return x * (d.extent - 1) / (length - 1) if d.length > 1 else np.zeros_like(x)


def whole_length(length: float) -> float:
    """An extent times a scale without the rounding error of a scale that is a quotient."""
    nearest = round(length)
    return nearest if abs(length - nearest) < 1e-4 else length


def _asymmetric(x: Positions, d: _Dimension) -> Positions:
    return x / d.scale


_COORDINATES: dict[str, Callable[[Positions, _Dimension], Positions]] = {
    "align_corners": _align_corners,
    "asymmetric": _asymmetric,
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
}

_ROUNDINGS: dict[str, Callable[[Positions], Positions]] = {
    "ceil": np.ceil,
    "floor": np.floor,
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
}

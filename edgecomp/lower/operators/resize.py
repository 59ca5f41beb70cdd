"""Resize and Upsample: source positions and weights are computed here, in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecomp.graph.nearest import whole_length
from edgecomp.lower.reader import Reader, attribute_int, attribute_string, constant_input
from edgecomp.plan.operations import Resize

Positions = npt.NDArray[Any]


def read_resize(reader: Reader, node: ir.Node) -> str:
    """Resize of images, nearest or linear over height and width."""
    x, output = reader.input(node, 0), reader.value(node.outputs[0])
    mode = attribute_string(node, "mode", "nearest")
    if len(x.shape) != 4 or x.shape[:2] != output.shape[:2]:
        return "not a resize of height and width"
    if 0 in (*x.shape, *output.shape):
        return "no elements"
    if mode not in ("nearest", "linear") or (mode == "linear" and x.dtype != "float32"):
        return f"mode {mode} of {x.dtype}"
    default = "asymmetric" if node.op_type == "Upsample" else "half_pixel"
    transform = attribute_string(node, "coordinate_transformation_mode", default)
    if transform not in TRANSFORMS:
        return f"coordinate transformation {transform}"
    if attribute_int(node, "antialias", 0):
        return "antialias"
    rounding = "floor" if node.op_type == "Upsample" else "round_prefer_floor"
    rounding = attribute_string(node, "nearest_mode", rounding)
    tables = []
    for d in (2, 3):
        scale = _scale(node, d, x.shape[d], output.shape[d])
        positions = TRANSFORMS[transform](x.shape[d], output.shape[d], scale)
        tables += _taps(positions, x.shape[d], mode, rounding)
    kind = Resize(
        nearest=mode == "nearest",
        rows=tables[0],
        row_weights=tables[1],
        columns=tables[2],
        column_weights=tables[3],
    )
    reader.emit(kind, [x], [output], [node])
    return ""


def _scale(node: ir.Node, axis: int, size: int, resized: int) -> float:
    """Scale of one axis: as given, or from the sizes."""
    scales = constant_input(node, 1 if node.op_type == "Upsample" else 2)
    if scales is None or scales.size == 0:
        return resized / size
    axes = node.attributes.get("axes")
    order = [a % 4 for a in axes.as_ints()] if axes is not None else list(range(4))
    return float(scales.reshape(-1)[order.index(axis)]) if axis in order else 1.0


def _half_pixel(_size: int, resized: int, scale: float) -> Positions:
    return (np.arange(resized) + 0.5) / scale - 0.5


def _asymmetric(_size: int, resized: int, scale: float) -> Positions:
    return np.arange(resized) / scale


def _align_corners(size: int, resized: int, scale: float) -> Positions:
    """The resized length is ``size * scale``, before it was rounded down."""
    length = whole_length(size * scale)
    return np.arange(resized) * ((size - 1) / (length - 1) if resized > 1 else 0.0)


def _pytorch_half_pixel(size: int, resized: int, scale: float) -> Positions:
    return _half_pixel(size, resized, scale) if resized > 1 else np.zeros(1)


def _half_pixel_symmetric(size: int, resized: int, scale: float) -> Positions:
    adjustment = resized / (scale * size)
    return size / 2 * (1 - adjustment) + _half_pixel(size, resized, scale)


#: ONNX Resize, attribute coordinate_transformation_mode.
TRANSFORMS = {
    "half_pixel": _half_pixel,
    "asymmetric": _asymmetric,
    "align_corners": _align_corners,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
}

#: ONNX Resize, attribute nearest_mode.
ROUNDINGS: dict[str, Callable[[Positions], Positions]] = {
    "round_prefer_floor": lambda p: np.ceil(p - 0.5),
    "round_prefer_ceil": lambda p: np.floor(p + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _taps(
    positions: Positions, size: int, mode: str, rounding: str
) -> list[npt.NDArray[np.int32] | npt.NDArray[np.float32]]:
    """Two source indices and their weights for each position."""
    if mode == "nearest":
        nearest = np.clip(ROUNDINGS[rounding](positions), 0, size - 1).astype(np.int32)
        weights = np.tile(np.array([1, 0], np.float32), (len(positions), 1))
        return [np.stack([nearest, nearest], axis=1), weights]
    low = np.floor(positions)
    fraction = (positions - low).astype(np.float32)
    indices = np.stack([low, low + 1], axis=1)
    return [
        np.clip(indices, 0, size - 1).astype(np.int32),
        np.stack([1 - fraction, fraction], axis=1),
    ]


TABLE = {"Resize": read_resize, "Upsample": read_resize}

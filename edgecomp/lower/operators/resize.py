"""Resize and Upsample: source positions and weights are computed here, in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecomp.graph.nearest import whole_length
from edgecomp.lower.operators.interpolation import Filter
from edgecomp.lower.operators.resize_any import Axis, emit_by_axis
from edgecomp.lower.reader import (
    Reader,
    attribute_float,
    attribute_int,
    attribute_string,
    constant_input,
)
from edgecomp.plan.movement import Resize
from edgecomp.plan.values import Value

Positions = npt.NDArray[Any]


def read_resize(reader: Reader, node: ir.Node) -> str:
    """Resize and Upsample in every mode."""
    x, output = reader.input(node, 0), reader.value(node.outputs[0])
    mode = attribute_string(node, "mode", "nearest")
    if 0 in (*x.shape, *output.shape):
        return "no elements"
    if mode != "nearest" and x.dtype != "float32":
        return f"mode {mode} of {x.dtype}"
    default = "asymmetric" if node.op_type == "Upsample" else "half_pixel"
    transform = attribute_string(node, "coordinate_transformation_mode", default)
    cropped = transform == "tf_crop_and_resize"
    if not cropped and transform not in TRANSFORMS:
        return f"coordinate transformation {transform}"
    if cropped and constant_input(node, 1) is None:
        return "the region is computed at run time"
    simple = mode in ("nearest", "linear") and not (
        cropped or attribute_int(node, "antialias", 0)
    )
    if simple and len(x.shape) == 4 and x.shape[:2] == output.shape[:2]:
        _read_image(reader, node, (x, output), mode, transform)
        return ""
    rounding = attribute_string(node, "nearest_mode", _rounding(node))
    axes = []
    for d, (size, resized) in enumerate(zip(x.shape, output.shape, strict=True)):
        scale = _scale(node, d, size, resized)
        region = _region(node, d, len(x.shape)) if cropped else (0.0, 1.0)
        if size == resized and scale == 1.0 and region == (0.0, 1.0):
            continue
        if cropped:
            positions = _crop(size, resized, scale, region)
        else:
            positions = TRANSFORMS[transform](size, resized, scale)
        nearest = ROUNDINGS[rounding](positions) if mode == "nearest" else None
        axes.append(Axis(d, positions, scale, nearest))
    form = Filter(
        cubic=mode == "cubic",
        antialias=bool(attribute_int(node, "antialias", 0)),
        cubic_a=attribute_float(node, "cubic_coeff_a", -0.75),
        exclude_outside=bool(attribute_int(node, "exclude_outside", 0)),
    )
    outside = attribute_float(node, "extrapolation_value", 0.0) if cropped else None
    return emit_by_axis(reader, node, (x, output), axes, form, outside)


def _rounding(node: ir.Node) -> str:
    return "floor" if node.op_type == "Upsample" else "round_prefer_floor"


def _read_image(
    reader: Reader, node: ir.Node, ends: tuple[Value, Value], mode: str, transform: str
) -> None:
    """Nearest or linear over height and width."""
    x, output = ends
    rounding = attribute_string(node, "nearest_mode", _rounding(node))
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


def _axes(node: ir.Node, rank: int) -> list[int]:
    """Dimensions that scales, sizes and regions are given for."""
    axes = node.attributes.get("axes")
    return [a % rank for a in axes.as_ints()] if axes is not None else list(range(rank))


def _region(node: ir.Node, axis: int, rank: int) -> tuple[float, float]:
    """Begin and end of the crop, in parts of the dimension."""
    order, region = _axes(node, rank), constant_input(node, 1)
    assert region is not None
    if axis not in order:
        return 0.0, 1.0
    at = order.index(axis)
    return float(region[at]), float(region[len(order) + at])


def _crop(size: int, resized: int, scale: float, region: tuple[float, float]) -> Positions:
    begin, end = region
    if resized == 1:
        return np.array([0.5 * (begin + end) * (size - 1)])
    step = (end - begin) * (size - 1) / (whole_length(size * scale) - 1)
    return begin * (size - 1) + np.arange(resized) * step


def _scale(node: ir.Node, axis: int, size: int, resized: int) -> float:
    """Scale of one axis: as given, or from the sizes."""
    scales = constant_input(node, 1 if node.op_type == "Upsample" else 2)
    if scales is None or scales.size == 0:
        return resized / size
    assert node.inputs[0] is not None
    order = _axes(node, len(node.inputs[0].shape or ()))
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
    return _half_pixel(size, resized, scale) if resized > 1 else np.full(1, -0.5)


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

"""Operators that move numbers: shapes, parts, copies, orders, resized images."""

import numpy as np
import onnx_ir as ir
import torch
from torch.nn import functional

from edgecomp.graph.constants import constant_array
from edgecomp.graph.nearest import nearest_indices
from edgecomp.train.operators.arguments import (
    Builder,
    Function,
    constant_input,
    has_input,
    shape_of,
    whole_numbers,
)
from edgecomp.train.refusal import Unsupported


def _reshape(node: ir.Node) -> Function:
    shape = shape_of(node.outputs[0])
    return lambda x, *_: x.reshape(shape)


def _expand(node: ir.Node) -> Function:
    shape = shape_of(node.outputs[0])
    return lambda x, *_: x.expand(shape)


def _tile(node: ir.Node) -> Function:
    counts = whole_numbers(node, 1)
    return lambda x, *_: x.repeat(counts)


def _transpose(node: ir.Node) -> Function:
    rank = len(shape_of(node.inputs[0]))
    order = tuple(node.attributes.get_ints("perm") or reversed(range(rank)))
    return lambda x: x.permute(order)


def _concat(node: ir.Node) -> Function:
    axis = node.attributes.get_int("axis", 0)
    return lambda *inputs: torch.cat(inputs, axis)


def _split(node: ir.Node) -> Function:
    axis = node.attributes.get_int("axis", 0)
    sizes = [shape_of(value)[axis] for value in node.outputs]
    return lambda x, *_: torch.split(x, sizes, axis)


def _picked(x: torch.Tensor, picks: dict[int, torch.Tensor]) -> torch.Tensor:
    """Places of each axis, in the order given."""
    for axis, places in picks.items():
        x = x.index_select(axis, places.to(x.device))
    return x


def _slice(node: ir.Node) -> Function:
    shape = shape_of(node.inputs[0])
    starts, ends = whole_numbers(node, 1, "starts"), whole_numbers(node, 2, "ends")
    if starts is None or ends is None:
        raise Unsupported("its starts and ends are not known")
    axes = whole_numbers(node, 3, "axes") or list(range(len(starts)))
    steps = whole_numbers(node, 4) or [1] * len(starts)
    picks = {
        axis % len(shape): torch.from_numpy(np.arange(shape[axis])[start:end:step].copy())
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True)
    }
    return lambda x, *_: _picked(x, picks)


def _gather(node: ir.Node) -> Function:
    axis, shape = node.attributes.get_int("axis", 0), shape_of(node.inputs[0])
    axis %= len(shape)
    result = shape_of(node.outputs[0])

    def run(x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        places = torch.where(indices < 0, indices + shape[axis], indices)
        return x.index_select(axis, places.reshape(-1)).reshape(result)

    return run


def _depth_to_space(node: ir.Node) -> Function:
    n, c, h, w = shape_of(node.inputs[0])
    block = node.attributes.get_int("blocksize", 1)
    inner = c // block**2
    if node.attributes.get_string("mode", "DCR") == "DCR":
        split, order = (n, block, block, inner, h, w), (0, 3, 4, 1, 5, 2)
    else:
        split, order = (n, inner, block, block, h, w), (0, 1, 4, 2, 5, 3)
    return lambda x: x.reshape(split).permute(order).reshape(n, inner, h * block, w * block)


def _space_to_depth(node: ir.Node) -> Function:
    n, c, h, w = shape_of(node.inputs[0])
    block = node.attributes.get_int("blocksize", 1)
    split = (n, c, h // block, block, w // block, block)
    result = shape_of(node.outputs[0])
    return lambda x: x.reshape(split).permute(0, 3, 5, 1, 2, 4).reshape(result)


def _pad(node: ir.Node) -> Function:
    shape, mode = shape_of(node.inputs[0]), node.attributes.get_string("mode", "constant")
    pads, axes = whole_numbers(node, 1, "pads"), whole_numbers(node, 3)
    if pads is None:
        raise Unsupported("its pads are not known")
    axes = axes or list(range(len(shape)))
    half = len(pads) // 2
    sides = {
        axis % len(shape): (before, after)
        for axis, before, after in zip(axes, pads[:half], pads[half:], strict=True)
    }
    if mode != "constant":
        return _extended(shape, sides, mode)
    fill = constant_input(node, 2)
    value = 0.0 if fill is None else float(fill.reshape(()))
    order = [n for axis in reversed(range(len(shape))) for n in sides.get(axis, (0, 0))]
    return lambda x, *_: functional.pad(x, order, value=value)


def _extended(
    shape: tuple[int, ...], sides: dict[int, tuple[int, int]], mode: str
) -> Function:
    """Pads made of the numbers themselves."""
    if (
        mode not in ("edge", "reflect", "wrap")
        or min(min(each) for each in sides.values()) < 0
    ):
        raise Unsupported(f"it pads by {mode}")
    picks = {
        axis: torch.from_numpy(np.pad(np.arange(shape[axis]), both, mode=mode))  # type: ignore[call-overload]
        for axis, both in sides.items()
        if any(both)
    }
    return lambda x, *_: _picked(x, picks)


def _resize(node: ir.Node) -> Function:
    before, after = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    mode = node.attributes.get_string("mode", "nearest")
    if mode == "nearest":
        found = nearest_indices(node, before, after)
        if found is None:
            raise Unsupported("it maps coordinates in a way that is not known here")
        picks = {
            axis: torch.from_numpy(places)
            for axis, places in enumerate(found)
            if before[axis] != after[axis] or not np.array_equal(places, range(after[axis]))
        }
        return lambda x, *_: _picked(x, picks)
    return _interpolation(node, before, after, mode)


def _interpolation(
    node: ir.Node, before: tuple[int, ...], after: tuple[int, ...], mode: str
) -> Function:
    coordinates = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    plain = mode == "linear" and len(before) == 4 and before[:2] == after[:2]
    if not plain or coordinates not in ("align_corners", "half_pixel", "pytorch_half_pixel"):
        raise Unsupported(
            f"{mode} interpolation with {coordinates} of {len(before)} dimensions"
        )
    scales = constant_array(node.inputs[2]) if has_input(node, 2) else None
    if scales is not None and scales.size and not _whole(before, after, scales.tolist()):
        raise Unsupported("its scales are not the ratio of its extents")
    if node.attributes.get_int("antialias", 0):
        raise Unsupported("it is smoothed (antialias)")
    aligned = coordinates == "align_corners"
    return lambda x, *_: functional.interpolate(
        x, after[2:], mode="bilinear", align_corners=aligned
    )


def _whole(before: tuple[int, ...], after: tuple[int, ...], scales: list[float]) -> bool:
    if len(scales) != len(before):
        return False
    return all(
        abs(extent * scale - result) < 1e-3
        for extent, result, scale in zip(before, after, scales, strict=True)
    )


BUILDERS: dict[str, Builder] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _reshape,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _reshape,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}

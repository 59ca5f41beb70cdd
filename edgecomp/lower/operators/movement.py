"""Operators that only move elements: one strided copy each, or none at all."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgecomp.lower.reader import (
    Reader,
    attribute_int,
    attribute_ints,
    attribute_string,
    constant_input,
    normalize_axis,
    optional_input,
    static_type,
)
from edgecomp.plan.movement import Gather, GatherParts, Reinterpret, StridedCopy
from edgecomp.plan.values import Array, Value


def reinterpret(
    reader: Reader,
    x: Value,
    shape: Sequence[int],
    node: ir.Node,
    output: Value | None = None,
) -> Value:
    """View ``x`` under another shape; into ``output`` where it exists already."""
    if output is None:
        output = reader.new_value(f"{x.name}.view", shape, x.dtype, x.quantization)
    reader.emit(Reinterpret(), [x], [output], [node])
    return output


def reshaped(reader: Reader, x: Value, shape: tuple[int, ...], node: ir.Node) -> Value:
    """``x`` itself, a view of it or another constant: what has the shape."""
    if x.shape == shape:
        return x
    if x.constant is not None:
        return reader.new_constant(x.name, x.constant.reshape(shape))
    return reinterpret(reader, x, shape, node)


def copy(
    reader: Reader,
    node: ir.Node,
    x: Value,
    output: Value,
    *,
    shape: Sequence[int] | None = None,
    permutation: Sequence[int] | None = None,
    in_start: Sequence[int] | None = None,
    in_step: Sequence[int] | None = None,
    out_start: Sequence[int] | None = None,
    out_step: Sequence[int] | None = None,
) -> None:
    """Emit a strided copy; what is not given is the identity."""
    rank_in, rank_out = len(x.shape), len(output.shape)
    kind = StridedCopy(
        shape=tuple(output.shape if shape is None else shape),
        permutation=tuple(range(rank_in) if permutation is None else permutation),
        in_start=tuple((0,) * rank_in if in_start is None else in_start),
        in_step=tuple((1,) * rank_in if in_step is None else in_step),
        out_start=tuple((0,) * rank_out if out_start is None else out_start),
        out_step=tuple((1,) * rank_out if out_step is None else out_step),
    )
    reader.emit(kind, [x], [output], [node])


def transpose_last_two(reader: Reader, x: Value, node: ir.Node) -> Value:
    """A copy of ``x`` with its last two dimensions exchanged."""
    rank = len(x.shape)
    order = [*range(rank - 2), rank - 1, rank - 2]
    output = reader.new_value(f"{x.name}.transposed", [x.shape[d] for d in order], x.dtype)
    copy(reader, node, x, output, permutation=order)
    return output


def transposed(reader: Reader, node: ir.Node, x: Value, order: Sequence[int]) -> Value:
    """``x`` itself, a copy with its dimensions in an order, or another constant."""
    if list(order) == sorted(order):
        return x
    if x.constant is not None:
        return reader.new_constant(x.name, np.ascontiguousarray(x.constant.transpose(order)))
    shape = [x.shape[d] for d in order]
    output = reader.new_value(f"{x.name}.transposed", shape, x.dtype, x.quantization)
    copy(reader, node, x, output, permutation=[order.index(d) for d in range(len(order))])
    return output


def read_reshape(reader: Reader, node: ir.Node) -> str:
    """Reshape, Flatten, Squeeze, Unsqueeze, Identity, Dropout: the shapes are static by now."""
    source, result = _ends(reader, node)
    reinterpret(reader, source, result.shape, node, result)
    return ""


def read_transpose(reader: Reader, node: ir.Node) -> str:
    """Transpose."""
    source, result = _ends(reader, node)
    rank = len(source.shape)
    order = attribute_ints(node, "perm", range(rank - 1, -1, -1))
    kept = [d for d in order if source.shape[d] != 1]
    if kept == sorted(kept):
        reinterpret(reader, source, result.shape, node, result)
        return ""
    # Dimension d of the input runs with the output dimension it went to.
    copy(reader, node, source, result, permutation=[order.index(d) for d in range(rank)])
    return ""


def read_slice(reader: Reader, node: ir.Node) -> str:
    """Slice with constant bounds; opset 9 kept them in attributes."""
    source, result = _ends(reader, node)
    rank = len(source.shape)
    if "starts" in node.attributes:
        starts = attribute_ints(node, "starts", ())
        axes = attribute_ints(node, "axes", range(len(starts)))
        steps: Sequence[int] = (1,) * len(starts)
    else:
        begin = constant_input(node, 1)
        if begin is None or computed(node, 2, 3, 4):
            return "bounds are computed at run time"
        starts = tuple(int(v) for v in begin.reshape(-1))
        axes = integers(constant_input(node, 3), range(len(starts)))
        steps = integers(constant_input(node, 4), (1,) * len(starts))
    in_start, in_step = [0] * rank, [1] * rank
    for start, axis, step in zip(starts, axes, steps, strict=True):
        d = normalize_axis(axis, rank)
        extent = source.shape[d]
        position = start + extent if start < 0 else start
        in_start[d] = min(max(position, 0), extent - 1 if step < 0 else extent)
        in_step[d] = step
    copy(reader, node, source, result, in_start=in_start, in_step=in_step)
    return ""


def read_concat(reader: Reader, node: ir.Node) -> str:
    """Concat: one copy per input into its part of the output."""
    result = reader.value(node.outputs[0])
    rank = len(result.shape)
    axis = normalize_axis(attribute_int(node, "axis", 0), rank)
    position = 0
    for part in node.inputs:
        assert part is not None
        source = reader.value(part)
        if source.elements:
            start = [position if d == axis else 0 for d in range(rank)]
            copy(reader, node, source, result, shape=source.shape, out_start=start)
        position += source.shape[axis]
    return ""


def read_split(reader: Reader, node: ir.Node) -> str:
    """Split: one copy per output; the sizes are the outputs' shapes."""
    source = reader.input(node, 0)
    rank = len(source.shape)
    axis = normalize_axis(attribute_int(node, "axis", 0), rank)
    position = 0
    for part in node.outputs:
        result = reader.value(part)
        start = [position if d == axis else 0 for d in range(rank)]
        copy(reader, node, source, result, in_start=start)
        position += result.shape[axis]
    return ""


def read_expand(reader: Reader, node: ir.Node) -> str:
    """Expand: dimensions of one element repeat."""
    source, result = _ends(reader, node)
    extra = len(result.shape) - len(source.shape)
    steps = [
        0 if have == 1 and want != 1 else 1
        for have, want in zip(source.shape, result.shape[extra:], strict=True)
    ]
    order = range(extra, len(result.shape))
    copy(reader, node, source, result, permutation=order, in_step=steps)
    return ""


def read_tile(reader: Reader, node: ir.Node) -> str:
    """Tile: an Expand of the input with a dimension in front of each that repeats."""
    source, result = _ends(reader, node)
    repeats = constant_input(node, 1)
    if repeats is None:
        return "repeats are computed at run time"
    view: list[int] = []
    steps: list[int] = []
    box: list[int] = []
    for extent, times in zip(source.shape, (int(r) for r in repeats.reshape(-1)), strict=True):
        if times != 1:
            view.append(1)
            steps.append(0)
            box.append(times)
        if times == 1 or extent != 1:
            view.append(extent)
            steps.append(1)
            box.append(extent)
    view_of = reshaped(reader, source, tuple(view), node)
    if tuple(box) == result.shape:
        copy(reader, node, view_of, result, in_step=steps)
        return ""
    tiled = reader.new_value(f"{result.name}.tiled", box, source.dtype, source.quantization)
    copy(reader, node, view_of, tiled, in_step=steps)
    reinterpret(reader, tiled, result.shape, node, result)
    return ""


def read_gather(reader: Reader, node: ir.Node) -> str:
    """Gather; a constant scalar or evenly spaced indices are a slice."""
    source, result = _ends(reader, node)
    rank = len(source.shape)
    axis = normalize_axis(attribute_int(node, "axis", 0), rank)
    flat = _evenly_spaced(constant_input(node, 1), source.shape[axis])
    if flat is None or source.constant is not None:
        reader.emit(Gather(axis), [source, reader.input(node, 1)], [result], [node])
        return ""
    step = int(flat[1] - flat[0]) if flat.size > 1 else 1
    box = [*source.shape[:axis], flat.size, *source.shape[axis + 1 :]]
    part = result
    if tuple(box) != result.shape:
        part = reader.new_value(f"{result.name}.box", box, source.dtype, source.quantization)
    start = [int(flat[0]) if d == axis else 0 for d in range(rank)]
    steps = [step if d == axis else 1 for d in range(rank)]
    copy(reader, node, source, part, in_start=start, in_step=steps)
    if part is not result:
        reinterpret(reader, part, result.shape, node, result)
    return ""


def read_gather_nd(reader: Reader, node: ir.Node) -> str:
    """GatherND."""
    source, indices = reader.input(node, 0), reader.input(node, 1)
    kind = GatherParts(attribute_int(node, "batch_dims", 0))
    reader.emit(kind, [source, indices], [reader.value(node.outputs[0])], [node])
    return ""


def read_gather_elements(reader: Reader, node: ir.Node) -> str:
    """GatherElements: parts of one element from each row along the axis, which goes last."""
    source, result = _ends(reader, node)
    indices = reader.input(node, 1)
    rank = len(source.shape)
    axis = normalize_axis(attribute_int(node, "axis", 0), rank)
    box = tuple(
        have if d == axis else want
        for d, (have, want) in enumerate(zip(source.shape, indices.shape, strict=True))
    )
    if box != source.shape:  # the first of each dimension, as many as there are indices
        part = reader.new_value(f"{result.name}.box", box, source.dtype, source.quantization)
        copy(reader, node, source, part)
        source = part
    order = [*(d for d in range(rank) if d != axis), axis]
    rows, places = (transposed(reader, node, value, order) for value in (source, indices))
    places = reshaped(reader, places, (*places.shape, 1), node)
    kind = GatherParts(rank - 1)
    if axis == rank - 1:
        reader.emit(kind, [rows, places], [result], [node])
        return ""
    shape = [result.shape[d] for d in order]
    found = reader.new_value(f"{result.name}.rows", shape, result.dtype, result.quantization)
    reader.emit(kind, [rows, places], [found], [node])
    copy(reader, node, found, result, permutation=order)
    return ""


def read_depth_to_space(reader: Reader, node: ir.Node) -> str:
    """DepthToSpace: reshape, transpose, reshape (ONNX operator specification)."""
    source, result = _ends(reader, node)
    block = attribute_int(node, "blocksize", 1)
    n, c, h, w = source.shape
    depth = c // (block * block)
    if attribute_string(node, "mode", "DCR") == "DCR":
        split, order = (n, block, block, depth, h, w), (0, 3, 4, 1, 5, 2)
    else:
        split, order = (n, depth, block, block, h, w), (0, 1, 4, 2, 5, 3)
    _reshape_transpose_reshape(reader, node, source, result, split, order)
    return ""


def read_space_to_depth(reader: Reader, node: ir.Node) -> str:
    """SpaceToDepth."""
    source, result = _ends(reader, node)
    block = attribute_int(node, "blocksize", 1)
    n, c, h, w = source.shape
    split = (n, c, h // block, block, w // block, block)
    depth_first = attribute_string(node, "mode", "DCR") == "DCR"
    order = (0, 3, 5, 1, 2, 4) if depth_first else (0, 1, 3, 5, 2, 4)
    _reshape_transpose_reshape(reader, node, source, result, split, order)
    return ""


def _reshape_transpose_reshape(
    reader: Reader,
    node: ir.Node,
    source: Value,
    result: Value,
    split: Sequence[int],
    order: Sequence[int],
) -> None:
    view = reinterpret(reader, source, split, node)
    moved = reader.new_value(
        f"{result.name}.moved", [split[d] for d in order], source.dtype, source.quantization
    )
    copy(reader, node, view, moved, permutation=[order.index(d) for d in range(len(order))])
    reinterpret(reader, moved, result.shape, node, result)


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """Static shape of a value."""
    shape, _ = static_type(value)
    return shape


def _ends(reader: Reader, node: ir.Node) -> tuple[Value, Value]:
    return reader.input(node, 0), reader.value(node.outputs[0])


def _evenly_spaced(indices: Array | None, extent: int) -> Array | None:
    """Flat indices inside the extent when they are constant and one step apart, else None."""
    if indices is None or indices.size == 0:
        return None
    flat = np.where(indices < 0, indices + extent, indices).reshape(-1)
    if flat.min() < 0 or flat.max() >= extent:
        return None
    return flat if np.unique(np.diff(flat)).size <= 1 else None


def integers(contents: Array | None, default: Sequence[int]) -> tuple[int, ...]:
    """Contents of a list of integers."""
    return tuple(default) if contents is None else tuple(int(v) for v in contents.reshape(-1))


def computed(node: ir.Node, *indices: int) -> bool:
    """Whether one of the inputs is there but not constant."""
    return any(
        optional_input(node, i) is not None and constant_input(node, i) is None
        for i in indices
    )


TABLE = {
    "Reshape": read_reshape,
    "Flatten": read_reshape,
    "Squeeze": read_reshape,
    "Unsqueeze": read_reshape,
    "Identity": read_reshape,
    "Transpose": read_transpose,
    "Concat": read_concat,
    "Split": read_split,
    "Expand": read_expand,
    "Tile": read_tile,
    "Gather": read_gather,
    "GatherND": read_gather_nd,
    "GatherElements": read_gather_elements,
    "DepthToSpace": read_depth_to_space,
    "SpaceToDepth": read_space_to_depth,
}

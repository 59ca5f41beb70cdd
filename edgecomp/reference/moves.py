"""Move stored numbers: Reshape, Transpose, Slice, Pad, Resize ... on any dtype."""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import constant_array
from edgecomp.graph.integer import AnyArray
from edgecomp.graph.nearest import nearest_indices
from edgecomp.graph.shapes import static_shape
from edgecomp.reference.float_node import evaluate

_PAD_MODES = {"constant": "constant", "edge": "edge", "reflect": "reflect", "wrap": "wrap"}


def move(node: ir.Node, x: AnyArray, fill: int, opset: int) -> list[AnyArray]:
    """Outputs of a node whose values only change place.

    Args:
        node: the float operator; its other inputs are constant.
        x: stored numbers of its first input.
        fill: stored number that a Pad adds.
        opset: of the standard domain.
    """
    if node.op_type == "Pad":
        return [_pad(node, x, fill)]
    if node.op_type == "Resize":
        shape = static_shape(node.outputs[0])
        indices = None if shape is None else nearest_indices(node, x.shape, shape)
        if indices is not None:
            return [x[np.ix_(*indices)]]
    data = node.inputs[0]
    assert data is not None
    return evaluate(node, {data: x}, {"": opset})


def _pad(node: ir.Node, x: AnyArray, fill: int) -> AnyArray:
    begin, end = _pad_widths(node, x.ndim)
    mode = _PAD_MODES[node.attributes.get_string("mode", "constant")]
    # Negative widths crop.
    box = tuple(
        slice(max(0, -b), extent - max(0, -e))
        for b, e, extent in zip(begin, end, x.shape, strict=True)
    )
    widths = [(max(0, b), max(0, e)) for b, e in zip(begin, end, strict=True)]
    if mode == "constant":
        return np.pad(x[box], widths, constant_values=x.dtype.type(fill))
    return np.pad(x[box], widths, mode=mode)  # type: ignore[call-overload,no-any-return]


def _pad_widths(node: ir.Node, rank: int) -> tuple[list[int], list[int]]:
    given = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
    pads = [int(p) for p in (node.attributes.get_ints("pads") if given is None else given)]
    axes_value = constant_array(node.inputs[3]) if len(node.inputs) > 3 else None
    axes = range(rank) if axes_value is None else [int(a) % rank for a in axes_value]
    begin, end = [0] * rank, [0] * rank
    count = len(pads) // 2
    for axis, before, after in zip(axes, pads[:count], pads[count:], strict=True):
        begin[axis], end[axis] = before, after
    return begin, end

"""Recognize operators that move stored values or pick the greatest of them."""

from collections.abc import Callable

import onnx_ir as ir

from edgecomp.graph.constants import constant_array, is_constant
from edgecomp.graph.integer import AnyArray, lookup_table, move_table
from edgecomp.graph.integer_operators import (
    IntegerOperator,
    QuantizedTensor,
    StoredConcat,
    StoredMaximum,
    StoredMove,
    StoredTable,
)
from edgecomp.graph.qdq_tensors import (
    Refusal,
    activation_of,
    quantize_affine,
    required_ending,
)
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.windows import window_of

#: Operators whose first input's values only change place.
MOVES = [
    "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Resize",
    "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
]  # fmt: skip


def _move(node: ir.Node) -> StoredMove:
    x = activation_of(node.inputs[0])
    if x.constant is not None:
        raise Refusal("its input is constant")
    if not all(value is None or is_constant(value) for value in node.inputs[1:]):
        raise Refusal("where its values go is not constant")
    if node.op_type == "Resize" and node.attributes.get_string("mode", "nearest") != "nearest":
        raise Refusal("it interpolates")
    if node.op_type == "Resize" and _extrapolates(node):
        raise Refusal("it extrapolates")
    if node.op_type == "Pad" and not _pads_with_zero(node):
        raise Refusal("it pads with another number than 0")
    outputs: list[QuantizedTensor | None] = []
    tables: list[AnyArray | None] = []
    nodes = [node]
    for value in node.outputs:
        if not value.uses() and not value.is_graph_output():
            outputs.append(None)
            tables.append(None)
            continue
        ending = required_ending(value)
        outputs.append(ending.output)
        tables.append(move_table(x.affine, ending.output.affine, ending.low, ending.high))
        nodes.extend(ending.nodes)
    first = next((output for output in outputs if output is not None), None)
    if first is None:
        raise Refusal("nothing reads its results")
    return StoredMove(
        node=node, nodes=tuple(nodes), inputs=(x,), output=first, result=first.value,
        outputs=tuple(outputs), tables=tuple(tables), fill=x.affine.zero_point,
    )  # fmt: skip


def _extrapolates(node: ir.Node) -> bool:
    mode = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    return mode == "tf_crop_and_resize"


def _pads_with_zero(node: ir.Node) -> bool:
    if node.attributes.get_string("mode", "constant") != "constant":
        return True
    if node.attributes.get_float("value", 0.0) != 0.0:
        return False
    fill = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    return fill is None or not fill.any()


def _concat(node: ir.Node) -> StoredConcat:
    inputs = tuple(activation_of(value) for value in node.inputs)
    ending = required_ending(node.outputs[0])
    shape = static_shape(inputs[0].value) or static_shape(node.inputs[0])
    if shape is None:
        raise Refusal("the shape of its input is not known")
    tables = tuple(
        move_table(x.affine, ending.output.affine, ending.low, ending.high) for x in inputs
    )
    return StoredConcat(
        node=node, nodes=(node, *ending.nodes), inputs=inputs, output=ending.output,
        result=ending.output.value, axis=node.attributes.get_int("axis") % len(shape),
        tables=tables,
    )  # fmt: skip


def _maximum(node: ir.Node) -> StoredMaximum:
    x = activation_of(node.inputs[0])
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        raise Refusal("its indices are used")
    shape = static_shape(x.value) or static_shape(node.inputs[0])
    if shape is None:
        raise Refusal("the shape of its input is not known")
    ending = required_ending(node.outputs[0])
    if ending.output.affine != x.affine or ending.bounded:
        raise Refusal("its result has another scale, zero point or range than its input")
    given = node.attributes.get_ints("kernel_shape")
    kernel = shape[2:] if node.op_type == "GlobalMaxPool" else tuple(given)
    return StoredMaximum(
        node=node, nodes=(node, *ending.nodes), inputs=(x,), output=ending.output,
        result=ending.output.value, window=window_of(node, shape, kernel),
    )  # fmt: skip


def _change_scale(node: ir.Node) -> StoredTable:
    """A QuantizeLinear that directly reads a DequantizeLinear."""
    x = activation_of(node.inputs[0])
    affine = quantize_affine(node)
    table = lookup_table(lambda real: real, x.affine, affine)
    output = QuantizedTensor(node.outputs[0], affine)
    return StoredTable(
        node=node, nodes=(node,), inputs=(x,), output=output, result=output.value, table=table
    )


BUILDERS: dict[str, Callable[[ir.Node], IntegerOperator]] = {
    **dict.fromkeys(MOVES, _move),
    "Concat": _concat,
    "GlobalMaxPool": _maximum,
    "MaxPool": _maximum,
    "QuantizeLinear": _change_scale,
}

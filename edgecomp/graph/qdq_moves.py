"""Recognize operators that move stored values or pick the greatest of them."""

from collections.abc import Callable

import onnx_ir as ir

from edgecomp.graph.integer import AnyArray, lookup_table, move_table
from edgecomp.graph.integer_operators import (
    IntegerOperator,
    QuantizedTensor,
    StoredConcat,
    StoredMaximum,
    StoredMove,
    StoredTable,
)
from edgecomp.graph.integer_rules import MAXIMUMS, MOVES
from edgecomp.graph.qdq_tensors import (
    Ending,
    Refusal,
    activation_of,
    quantize_affine,
    required_ending,
)
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.windows import window_of


def _move(node: ir.Node) -> StoredMove:
    x = activation_of(node.inputs[0])
    if x.constant is not None:
        raise Refusal("its input is constant")
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
        tables.append(_table(x, ending))
        nodes.extend(ending.nodes)
    first = next((output for output in outputs if output is not None), None)
    if first is None:
        raise Refusal("nothing reads its results")
    return StoredMove(
        node=node, nodes=tuple(nodes), inputs=(x,), output=first, result=first.value,
        outputs=tuple(outputs), tables=tuple(tables), fill=x.affine.zero_point,
    )  # fmt: skip


def _concat(node: ir.Node) -> StoredConcat:
    inputs = tuple(activation_of(value) for value in node.inputs)
    shape = static_shape(node.inputs[0])
    assert shape is not None
    ending = required_ending(node.outputs[0])
    tables = tuple(_table(x, ending) for x in inputs)
    return StoredConcat(
        node=node, nodes=(node, *ending.nodes), inputs=inputs, output=ending.output,
        result=ending.output.value, tables=tables,
        axis=node.attributes.get_int("axis") % len(shape),
    )  # fmt: skip


def _maximum(node: ir.Node) -> StoredMaximum:
    x = activation_of(node.inputs[0])
    ending = required_ending(node.outputs[0])
    if ending.output.affine != x.affine or ending.bounded:
        raise Refusal("its result has another scale, zero point or range than its input")
    shape = static_shape(node.inputs[0])
    assert shape is not None
    if node.op_type == "GlobalMaxPool":
        kernel = shape[2:]
    else:
        kernel = tuple(node.attributes.get_ints("kernel_shape"))
    return StoredMaximum(
        node=node, nodes=(node, *ending.nodes), inputs=(x,), output=ending.output,
        result=ending.output.value, window=window_of(node, shape, kernel),
    )  # fmt: skip


def _table(x: QuantizedTensor, ending: Ending) -> AnyArray | None:
    """What stored values become when they move; None where they stay as they are."""
    affine = ending.output.affine
    if not (x.affine.is_wide or affine.is_wide):
        return move_table(x.affine, affine, ending.low, ending.high)
    if affine != x.affine or ending.bounded:
        raise Refusal("its 16-bit result has another scale or range than its input")
    return None


def change_scale(node: ir.Node) -> StoredTable:
    """A QuantizeLinear that directly reads a DequantizeLinear."""
    x = activation_of(node.inputs[0])
    affine = quantize_affine(node)
    if x.affine.is_wide or affine.is_wide:
        raise Refusal("16-bit values change their scale in float32")
    output = QuantizedTensor(node.outputs[0], affine)
    return StoredTable(
        node=node, nodes=(node,), inputs=(x,), output=output, result=output.value,
        table=lookup_table(lambda real: real, x.affine, affine),
    )  # fmt: skip


BUILDERS: dict[str, Callable[[ir.Node], IntegerOperator]] = {
    **dict.fromkeys(MOVES, _move),
    **dict.fromkeys(MAXIMUMS, _maximum),
    "Concat": _concat,
}

"""Operators on float16 and bfloat16 that no schedule has, computed in float32.

    Operator(x float16)  =>  Cast(float32), Operator, Cast(float16)

Sums are kept in float32 and rounded once, as ONNX's reference does.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import constant_array
from edgecomp.graph.source import copy_source
from edgecomp.lower.operators.cast import as_float32, emit_cast
from edgecomp.lower.reader import Reader

_HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def is_half(node: ir.Node) -> bool:
    """Whether a node reads a float of 16 bits."""
    return any(value is not None and value.dtype in _HALVES for value in node.inputs)


def wide_node(reader: Reader, node: ir.Node) -> ir.Node:
    """The node with float32 for every float of 16 bits, alone in a graph of its own.

    Its inputs are known to the reader afterwards.
    """
    inputs = [None if value is None else _input(reader, node, value) for value in node.inputs]
    outputs = [_output(value) for value in node.outputs]
    wide = ir.Node(
        node.domain,
        node.op_type,
        inputs,
        node.attributes.values(),
        outputs=outputs,
        version=node.version,
        name=node.name,
    )
    copy_source(node, wide)
    owner = node.graph
    assert owner is not None
    given = dict.fromkeys(value for value in inputs if value is not None)
    ir.Graph(
        [value for value in given if value.const_value is None],
        [
            new
            for old, new in zip(node.outputs, outputs, strict=True)
            if old.uses() or old.is_graph_output()
        ],
        nodes=[wide],
        initializers=[value for value in given if value.const_value is not None],
        opset_imports=dict(owner.opset_imports),
        name="wide",
    )
    return wide


def narrow_outputs(reader: Reader, node: ir.Node, wide: ir.Node) -> None:
    """Results of the wide node become those of the node."""
    results: Sequence[tuple[ir.Value, ir.Value]] = list(
        zip(node.outputs, wide.outputs, strict=True)
    )
    for old, new in results:
        if not new.is_graph_output():
            continue
        if old.dtype == new.dtype:
            reader.bind(old, reader.value(new))
        else:
            emit_cast(reader, node, reader.value(new), reader.value(old))


def _input(reader: Reader, node: ir.Node, value: ir.Value) -> ir.Value:
    """A float32 twin of an input, which the reader knows."""
    half = value.dtype in _HALVES
    contents = constant_array(value)
    kind = ir.TensorType(ir.DataType.FLOAT) if half else value.type
    twin = ir.Value(name=value.name, shape=value.shape, type=kind)
    if contents is not None:
        twin.const_value = ir.tensor(
            contents.astype(np.float32) if half else contents, name=value.name
        )
    elif half:
        reader.bind(twin, as_float32(reader, node, reader.value(value)))
    else:
        reader.bind(twin, reader.value(value))
    return twin


def _output(value: ir.Value) -> ir.Value:
    kind = ir.TensorType(ir.DataType.FLOAT) if value.dtype in _HALVES else value.type
    return ir.Value(name=value.name, shape=value.shape, type=kind)

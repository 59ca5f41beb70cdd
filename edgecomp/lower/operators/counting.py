"""Operators whose results have as many elements as the data decides."""

import onnx_ir as ir

from edgecomp.graph.counts import counted_dimension
from edgecomp.lower.reader import Reader
from edgecomp.plan.operations import NonZero
from edgecomp.plan.values import Value


def read_non_zero(reader: Reader, node: ir.Node) -> str:
    """NonZero."""
    counted = counted_dimension(node)
    if counted is None:
        return "its count has no bound"
    x, output = reader.input(node, 0), reader.value(node.outputs[0])
    reader.emit(NonZero(counted.name), [x], [output, _count_of(reader, output)], [node])
    return ""


def _count_of(reader: Reader, output: Value) -> Value:
    return reader.new_value(f"{output.name}.count", (), "int64")


TABLE = {"NonZero": read_non_zero}

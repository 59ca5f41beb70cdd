"""CumSum and CumProd along a constant axis."""

import onnx_ir as ir

from edgecomp.lower.operators.movement import reinterpret
from edgecomp.lower.reader import Reader, attribute_int, constant_input, normalize_axis
from edgecomp.plan.reductions import Cumulative


def read_cumulative(reader: Reader, node: ir.Node) -> str:
    """One operation."""
    x, axis = reader.input(node, 0), constant_input(node, 1)
    if axis is None:
        return "axis is computed at run time"
    if x.dtype in ("float16", "bfloat16", "bool"):
        return f"element type {x.dtype}"
    output = reader.value(node.outputs[0])
    if not x.shape:
        reinterpret(reader, x, (), node, output)
        return ""
    kind = Cumulative(
        axis=normalize_axis(int(axis.reshape(-1)[0]), len(x.shape)),
        product=node.op_type == "CumProd",
        exclusive=bool(attribute_int(node, "exclusive", 0)),
        reverse=bool(attribute_int(node, "reverse", 0)),
    )
    reader.emit(kind, [x], [output], [node])
    return ""


TABLE = {"CumSum": read_cumulative, "CumProd": read_cumulative}

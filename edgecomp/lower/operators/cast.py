"""Cast and BitCast, those from types of a byte or less included."""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.int4_casts import is_int4_weight
from edgecomp.graph.narrow_weights import is_narrow_weight
from edgecomp.lower.operators.movement import copy, reinterpret
from edgecomp.lower.reader import Reader, attribute_int, attribute_string
from edgecomp.plan.elementwise import Elementwise, LookupTable, Step
from edgecomp.plan.values import Array, Value
from edgecomp.schedules.cpu.small_types import SMALL


def read_cast(reader: Reader, node: ir.Node) -> str:
    """Cast to any element type but strings."""
    if is_narrow_weight(node) or is_int4_weight(node):
        return ""  # its readers take the numbers as they are stored
    output = reader.value(node.outputs[0])
    attributes: tuple[tuple[str, int | str], ...] = ()
    if output.dtype in SMALL:
        attributes = (
            ("round_mode", attribute_string(node, "round_mode", "up")),
            ("saturate", attribute_int(node, "saturate", 1)),
        )
    emit_cast(reader, node, reader.input(node, 0), output, attributes)
    return ""


def emit_cast(
    reader: Reader,
    node: ir.Node,
    x: Value,
    output: Value,
    attributes: tuple[tuple[str, int | str], ...] = (),
) -> None:
    """Convert ``x`` to the type of ``output``."""
    if x.dtype == output.dtype:
        reinterpret(reader, x, output.shape, node, output)
        return
    if x.dtype in SMALL and output.dtype in SMALL:
        # What a table of codes cannot say: attributes count for the way from float32.
        wide = reader.new_value(f"{output.name}.wide", x.shape, "float32")
        emit_cast(reader, node, x, wide)
        x = wide
    if x.dtype in SMALL:
        reader.emit(LookupTable(_table(x.dtype, output.dtype)), [x], [output], [node])
        return
    step = Step("Cast", (0,), output.dtype, attributes)
    reader.emit(Elementwise((step,)), [x], [output], [node])


def as_float32(reader: Reader, node: ir.Node, x: Value) -> Value:
    """The value in float32; a constant at once."""
    if x.dtype == "float32":
        return x
    if x.constant is not None:
        return reader.new_constant(f"{x.name}.float32", x.constant.astype(np.float32))
    wide = reader.new_value(f"{x.name}.float32", x.shape, "float32")
    emit_cast(reader, node, x, wide)
    return wide


def _table(source: str, target: str) -> Array:
    """The value of every code."""
    codes = np.arange(256, dtype=np.uint8).view(source)
    with np.errstate(all="ignore"):  # NaN to integers, large powers of two to float16
        return codes.astype(np.float32).astype(target)


def read_bit_cast(reader: Reader, node: ir.Node) -> str:
    """BitCast between types of one width."""
    x, output = reader.input(node, 0), reader.value(node.outputs[0])
    if np.dtype(x.dtype).itemsize != np.dtype(output.dtype).itemsize:
        return f"bits of {x.dtype} as {output.dtype}"
    same = reader.new_value(f"{x.name}.bits", x.shape, output.dtype)
    reinterpret(reader, x, x.shape, node, same)
    copy(reader, node, same, output)
    return ""


TABLE = {"Cast": read_cast, "BitCast": read_bit_cast}

"""QuantizeLinear and DequantizeLinear of any types, in float32.

What no integer kernel takes: scales per channel or block, scales computed at run time, 16-bit
and 4-bit integers, floats of 8 and 4 bits.
"""

import numpy as np
import onnx_ir as ir

from edgecomp.lower.operators.cast import as_float32
from edgecomp.lower.operators.chain import Chain
from edgecomp.lower.operators.movement import copy, reinterpret, reshaped
from edgecomp.lower.reader import Reader, attribute_int, normalize_axis, optional_input
from edgecomp.plan.elementwise import Elementwise, Step
from edgecomp.plan.values import Array, Value

#: Least and greatest of the integers that QuantizeLinear gives.
_RANGES = {
    "uint8": (0, 255),
    "int8": (-128, 127),
    "uint16": (0, 65535),
    "int16": (-32768, 32767),
    "uint4": (0, 15),
    "int4": (-8, 7),
    "uint2": (0, 3),
    "int2": (-2, 1),
}


def emit_dequantize(reader: Reader, node: ir.Node) -> str:
    """``(x - zero_point) * scale``."""
    x, output = reader.input(node, 0), reader.value(node.outputs[0])
    scale, zero = (_parameter(reader, node, index, x.shape) for index in (1, 2))
    assert scale is not None
    values = [as_float32(reader, node, x), scale, *([zero] if zero else [])]
    if x.constant is not None and all(value.constant is not None for value in values):
        output.constant = _dequantized(values, output.dtype)
        return ""
    steps, last = [], 0
    if zero:
        steps.append(Step("Sub", (0, 2), "float32"))
        last = len(values)
    steps.append(Step("Mul", (last, 1), "float32"))
    if output.dtype != "float32":
        steps.append(Step("Cast", (len(values) + len(steps) - 1,), output.dtype))
    reader.emit(Elementwise(tuple(steps)), values, [output], [node])
    return ""


def _dequantized(values: list[Value], dtype: str) -> Array:
    x, scale, *zero = (value.constant for value in values)
    assert x is not None
    assert scale is not None
    shifted = x - zero[0] if zero and zero[0] is not None else x
    return (shifted * scale).astype(dtype)


def emit_quantize(reader: Reader, node: ir.Node) -> str:
    """``saturate(round(x / scale) + zero_point)``; floats of 8 bits and less round by their own."""
    x, output = reader.input(node, 0), reader.value(node.outputs[0])
    scale, zero = (_parameter(reader, node, index, x.shape) for index in (1, 2))
    assert scale is not None
    bounds = _RANGES.get(output.dtype)
    if bounds is None and "float8" in output.dtype:
        zero = None  # has to be 0
    values = [as_float32(reader, node, x), scale, *([zero] if zero else [])]
    if bounds:
        values.append(reader.new_constant(f"{node.name}.nothing", np.zeros((), np.float32)))
    chain = Chain(len(values))
    chain.add("Div", 0, 1)
    if x.dtype in ("float16", "bfloat16") and not attribute_int(node, "precision", 0):
        chain.add("Cast", chain.last, dtype=x.dtype)
        chain.add("Cast", chain.last)
    if bounds:  # NaN gives the zero point
        chain.add("Round", chain.last)
        chain.add("IsNaN", chain.last, dtype="bool")
        chain.add("Where", chain.last, len(values) - 1, chain.last - 1)
    if zero:
        chain.add("Add", chain.last, 2)
    if bounds:
        chain.add("Clip", chain.last, attributes=(("max", bounds[1]), ("min", bounds[0])))
    saturate = (("saturate", attribute_int(node, "saturate", 1)),)
    chain.add("Cast", chain.last, dtype=output.dtype, attributes=() if bounds else saturate)
    reader.emit(Elementwise(tuple(chain.steps)), values, [output], [node])
    return ""


def _parameter(
    reader: Reader, node: ir.Node, index: int, shape: tuple[int, ...]
) -> Value | None:
    """Scale or zero point in float32, in a form that broadcasts to ``shape``; None if absent."""
    if optional_input(node, index) is None:
        return None
    value = as_float32(reader, node, reader.input(node, index))
    if value.elements == 1:
        return reshaped(reader, value, (1,) * len(shape), node)
    axis = normalize_axis(attribute_int(node, "axis", 1), len(shape))
    if len(value.shape) == 1 and len(shape) != 1:
        own = tuple(shape[d] if d == axis else 1 for d in range(len(shape)))
        return reshaped(reader, value, own, node)
    if value.shape == shape:
        return value
    block = attribute_int(node, "block_size", 0) or -(-shape[axis] // value.shape[axis])
    return _repeated(reader, node, value, axis, block, shape[axis])


def _repeated(
    reader: Reader, node: ir.Node, x: Value, axis: int, block: int, extent: int
) -> Value:
    """Every element ``block`` times along the axis, ``extent`` of them."""
    if x.constant is not None:
        spread = np.repeat(x.constant, block, axis)
        kept = tuple(slice(extent if d == axis else None) for d in range(spread.ndim))
        return reader.new_constant(x.name, spread[kept])
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    blocks = (*before, x.shape[axis], block, *after)
    source = reinterpret(reader, x, (*before, x.shape[axis], 1, *after), node)
    spread_value = reader.new_value(f"{x.name}.blocks", blocks, x.dtype)
    step = [0 if d == axis + 1 else 1 for d in range(len(blocks))]
    copy(reader, node, source, spread_value, in_step=step)
    whole = (*before, x.shape[axis] * block, *after)
    flat = reinterpret(reader, spread_value, whole, node)
    if whole[axis] == extent:
        return flat
    cut = reader.new_value(f"{x.name}.cut", (*before, extent, *after), x.dtype)
    copy(reader, node, flat, cut)
    return cut

"""Integer operators with activations or weights of 16 bits.

A product whose weights have one part (graph/weight_parts.py) is one kernel. Of several parts each
has sums of its own in int32, which a chain of elementwise steps brings together in float64, where
they are exact, and requantizes. Sums and products of two activations are such chains too.
"""

import numpy as np

from edgecomp.graph.integer_operators import (
    IntegerMultiply,
    IntegerOperator,
    IntegerSum,
)
from edgecomp.graph.weight_parts import FLOAT32_LIMIT, weight_parts
from edgecomp.lower.operators.chain import Chain
from edgecomp.lower.operators.integer_product import ProductReading
from edgecomp.lower.reader import Reader
from edgecomp.plan.elementwise import Elementwise
from edgecomp.plan.finish import Accumulate, Requantize, Scale
from edgecomp.plan.values import Array, Value
from edgecomp.schedules.cpu.reach import greatest_x


def has_sixteen_bits(group: IntegerOperator) -> bool:
    """Whether an activation that the group reads or writes has 16 bits."""
    tensors = (*group.inputs, group.quantized_output)
    return any(tensor.affine.is_wide for tensor in tensors)


def emit_sixteen_bit_product(
    product: ProductReading, bias: Array, finish: Requantize | Scale, output: Value
) -> None:
    """Emit a product.

    Args:
        product: whose activations or weights are stored in 16 bits.
        bias: whole numbers per channel, the activation's zero point taken off already.
        finish: of the sums.
        output: stored or float result.
    """
    group, x_dtype = product.group, product.x.dtype
    channel_axis, greatest = 0 if group.window else 1, greatest_x(x_dtype)
    parts = weight_parts(group.weight, bias, channel_axis, greatest)
    assert parts is not None, "recognized with a bias of greater magnitude"
    if len(parts.weights) == 1:
        product.emit(parts.weights[0], parts.biases[0], finish, output)
        return
    # Depthwise kernels of bytes give no int32, but float32, which is exact.
    floats = product.is_depthwise and x_dtype != "int16"
    if floats:
        nothing = np.zeros_like(bias)
        parts = weight_parts(group.weight, nothing, channel_axis, greatest, FLOAT32_LIMIT)
        assert parts is not None, "recognized with a smaller window"
    sums = []
    for weight, start in zip(parts.weights, parts.biases, strict=True):
        part = product.new_value("sums", output.shape, "float32" if floats else "int32")
        if floats:
            product.emit(weight, np.zeros_like(start), Scale(np.ones(1, np.float32)), part)
        else:
            product.emit(weight, start, Accumulate(), part)
        sums.append(part)
    _combine(product, sums, parts.base, bias if floats else None, finish, output)


def _combine(
    product: ProductReading,
    sums: list[Value],
    base: int,
    bias: Array | None,
    finish: Requantize | Scale,
    output: Value,
) -> None:
    """``sums[0] + base * (sums[1] + base * ...) + bias``, requantized or scaled."""
    values, group = list(sums), product.group
    rank = len(output.shape) - 2 if group.window else 0
    shape = (-1, *(1,) * rank)

    def constant(name: str, array: Array) -> int:
        values.append(product.new_constant(name, array))
        return len(values) - 1

    factor = constant("base", np.array(base, np.float64))
    start = None if bias is None else bias.astype(np.float64).reshape(shape)
    added = None if start is None else constant("bias", start)
    multiplier = np.asarray(finish.multiplier.reshape(-1), np.float32)
    scale = constant(
        "multiplier", multiplier.reshape(shape) if len(multiplier) > 1 else multiplier
    )
    zero = None
    if isinstance(finish, Requantize):
        zero = _zero(product.reader, group, values, finish)
    chain = Chain(len(values))
    wide = "float64"
    total = chain.add("Cast", len(sums) - 1, dtype=wide)
    for part in reversed(range(len(sums) - 1)):
        shifted = chain.add("Mul", total, factor, dtype=wide)
        total = chain.add("Add", shifted, chain.add("Cast", part, dtype=wide), dtype=wide)
    if added is not None:
        total = chain.add("Add", total, added, dtype=wide)
    scaled = chain.add("Mul", chain.add("Cast", total), scale)
    if isinstance(finish, Requantize):
        _round(chain, scaled, finish, zero, output.dtype)
    product.reader.emit(Elementwise(tuple(chain.steps)), values, [output], group.nodes)


def emit_sixteen_bit_sum(
    reader: Reader, group: IntegerSum, a: Value, b: Value, finish: Requantize
) -> None:
    """``(a - zero_a) * weight_a + (b - zero_b) * weight_b``, requantized."""
    values, name = [a, b], group.node.name
    assert a.quantization is not None
    assert b.quantization is not None
    weights = (group.weights.weight_a, group.weights.weight_b)
    zeros = (a.quantization.zero_point, b.quantization.zero_point)
    shift = -sum(zero * weight for zero, weight in zip(zeros, weights, strict=True))
    numbers = [*weights, *([shift] if shift else [])]
    places = []
    for number in numbers:
        values.append(reader.new_constant(f"{name}.weight", np.array(number, np.int32)))
        places.append(len(values) - 1)
    values.append(reader.new_constant(f"{name}.multiplier", finish.multiplier))
    scale = len(values) - 1
    zero = _zero(reader, group, values, finish)
    chain = Chain(len(values))
    total = chain.add(
        "Add",
        *(
            chain.add("Mul", chain.add("Cast", index, dtype="int32"), place, dtype="int32")
            for index, place in enumerate(places[:2])
        ),
        dtype="int32",
    )
    for place in places[2:]:
        total = chain.add("Add", total, place, dtype="int32")
    scaled = chain.add("Mul", chain.add("Cast", total), scale)
    output = reader.stored(group.quantized_output)
    _round(chain, scaled, finish, zero, output.dtype)
    reader.emit(Elementwise(tuple(chain.steps)), values, [output], group.nodes)


def emit_sixteen_bit_multiply(
    reader: Reader, group: IntegerMultiply, a: Value, b: Value, finish: Requantize
) -> None:
    """``(a - zero_a) * (b - zero_b)``, requantized."""
    values, name = [a, b], group.node.name
    zeros = []
    for value in (a, b):
        assert value.quantization is not None
        point = value.quantization.zero_point
        zeros.append(0)
        if point:
            values.append(reader.new_constant(f"{name}.zero", np.array(point, np.int32)))
            zeros[-1] = len(values) - 1
    values.append(reader.new_constant(f"{name}.multiplier", finish.multiplier))
    scale = len(values) - 1
    zero = _zero(reader, group, values, finish)
    chain = Chain(len(values))
    centred = []
    for index, place in enumerate(zeros):
        number = chain.add("Cast", index, dtype="int32")
        centred.append(chain.add("Sub", number, place, dtype="int32") if place else number)
    total = chain.add("Mul", *centred, dtype="int32")
    scaled = chain.add("Mul", chain.add("Cast", total), scale)
    output = reader.stored(group.quantized_output)
    _round(chain, scaled, finish, zero, output.dtype)
    reader.emit(Elementwise(tuple(chain.steps)), values, [output], group.nodes)


def _zero(
    reader: Reader, group: IntegerOperator, values: list[Value], finish: Requantize
) -> int | None:
    """Index of the result's zero point among the values, None where it is 0."""
    if finish.zero_point == 0:
        return None
    number = np.array(finish.zero_point, np.float32)
    values.append(reader.new_constant(f"{group.node.name}.zero_point", number))
    return len(values) - 1


def _round(
    chain: Chain, scaled: int, finish: Requantize, zero: int | None, dtype: str
) -> None:
    """The end of "Requantize" in docs/numerics.md. The clamp parts the product from the sum."""
    low, high = (float(end - finish.zero_point) for end in (finish.low, finish.high))
    chain.add("Clip", scaled, attributes=(("max", high), ("min", low)))
    chain.add("Round", chain.last)
    if zero is not None:
        chain.add("Add", chain.last, zero)
    chain.add("Cast", chain.last, dtype=dtype)

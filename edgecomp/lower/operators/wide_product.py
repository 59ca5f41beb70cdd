"""Integer products whose weights, less their zero points, are beyond int8.

    sum(x * w) = sum(x * (w - c)) + c * sum(x)        c per channel, so that w - c is int8

The two sums are integer products of their own, the second with weights of one, which has one
channel only; a chain of elementwise steps brings them together and requantizes.
"""

import numpy as np

from edgecomp.graph.integer_operators import IntegerProduct
from edgecomp.lower.operators.chain import Chain
from edgecomp.lower.operators.integer_product import ProductReading
from edgecomp.plan.elementwise import Elementwise
from edgecomp.plan.finish import Accumulate, Requantize, Scale
from edgecomp.plan.values import Array, Value

#: Integers below it are exact in float32.
_EXACT = 1 << 24


def emit_wide_product(
    product: ProductReading, bias: Array, finish: Requantize | Scale, output: Value
) -> None:
    """Emit the product.

    Args:
        product: with int16 weights.
        bias: int32 per channel, the activation's zero point taken off already.
        finish: of the sums.
        output: stored or float result.
    """
    group = product.group
    weight, is_image = group.weight, group.window is not None
    if _is_depthwise(group, bias):
        half = weight >> 1
        parts = [
            _sums(product, part.astype(np.int8), exact=True) for part in (half, weight - half)
        ]
        _combine(product, parts, (bias,), finish, output)
        return
    others = tuple(range(1, weight.ndim)) if is_image else (0,)
    least, most = weight.min(axis=others), weight.max(axis=others)
    centre = np.where((least < -128) | (most > 127), least + 128, 0).astype(np.int32)
    along = (-1, *(1,) * (weight.ndim - 1)) if is_image else (1, -1)
    sums = _sums(product, (weight - centre.reshape(along)).astype(np.int8))
    ones = np.ones_like(weight, np.int8)
    if group.groups == 1:
        ones = ones[:1] if is_image else ones[:, :1]
    rows = _sums(product, ones)
    _combine(product, [sums, rows], (bias, centre), finish, output)


def _is_depthwise(group: IntegerProduct, bias: Array) -> bool:
    """Whether depthwise kernels compute the sums, which float32 holds exactly."""
    weight = group.weight
    if group.window is None or group.groups != len(weight) or weight.shape[1] != 1:
        return False
    taps = np.abs(weight.reshape(len(weight), -1).astype(np.int64))
    farthest = 255 * taps.sum(axis=1) + np.abs(bias.astype(np.int64))
    return int(farthest.max()) < _EXACT and int(taps.max()) < 2 * 127


def _sums(product: ProductReading, weight: Array, *, exact: bool = False) -> Value:
    """Sums of products: int32, or float32 where that is exact."""
    x, window = product.x, product.group.window
    channels = weight.shape[0] if window else weight.shape[1]
    shape = (x.shape[0], channels, *window.output) if window else (*x.shape[:-1], channels)
    result = product.new_value("sums", shape, "float32" if exact else "int32")
    finish = Scale(np.ones(1, np.float32)) if exact else Accumulate()
    product.emit(weight, np.zeros(channels, np.int32), finish, result)
    return result


def _combine(
    product: ProductReading,
    sums: list[Value],
    channels: tuple[Array, ...],
    finish: Requantize | Scale,
    output: Value,
) -> None:
    """``sums + centre * row sums + bias``, requantized or scaled as docs/numerics.md says.

    Args:
        product: receives the operation.
        sums: int32 sums and row sums, or two float32 values to add.
        channels: bias and centre; the bias alone for sums in float32.
        finish: of the total.
        output: stored or float result.
    """
    group = product.group
    rank = len(output.shape) - 2 if group.window else 0
    shape = (-1, *(1,) * rank)
    values = list(sums)

    def constant(name: str, array: Array) -> int:
        values.append(product.new_constant(name, array))
        return len(values) - 1

    dtype = sums[0].dtype
    bias, *centre = (
        constant(name, array.reshape(shape).astype(dtype))
        for name, array in zip(("bias", "centre"), channels, strict=False)
    )
    full = np.broadcast_to(finish.multiplier.reshape(-1), channels[0].shape)
    multiplier = constant("multiplier", full.reshape(shape).astype(np.float32))
    zero = 0
    if isinstance(finish, Requantize):
        zero = constant("zero", np.full((), finish.zero_point, np.float32))
    chain = Chain(len(values))
    second = chain.add("Mul", 1, *centre, dtype="int32") if centre else 1
    total = chain.add("Add", chain.add("Add", 0, second, dtype=dtype), bias, dtype=dtype)
    real = chain.add("Cast", total) if dtype != "float32" else total
    scaled = chain.add("Mul", real, multiplier)
    if isinstance(finish, Requantize):
        low, high = (float(end - finish.zero_point) for end in (finish.low, finish.high))
        chain.add("Clip", scaled, attributes=(("max", high), ("min", low)))
        chain.add("Round", chain.last)
        chain.add("Add", chain.last, zero)
        chain.add("Cast", chain.last, dtype=output.dtype)
    product.reader.emit(Elementwise(tuple(chain.steps)), values, [output], group.nodes)

"""Products of activations that are quantized while the model runs."""

import dataclasses
import math

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import constant_array
from edgecomp.graph.dynamic_products import ScaledProduct
from edgecomp.graph.int4_casts import int4_weights
from edgecomp.graph.integer import Affine
from edgecomp.graph.integer_operators import QuantizedTensor
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.windows import window_of
from edgecomp.lower.operators.movement import copy, reshaped
from edgecomp.lower.operators.windows import emit_on_image, pair, window_refusal
from edgecomp.lower.reader import Reader, attribute_int, constant_input, optional_input
from edgecomp.plan.elementwise import Elementwise, Step
from edgecomp.plan.finish import Accumulate, RuntimeScale, Scale
from edgecomp.plan.movement import Fill
from edgecomp.plan.products import Convolution, MatrixMultiply
from edgecomp.plan.quantization import DynamicQuantize
from edgecomp.plan.values import Array, Value

#: Integers below it are exact in float32.
_EXACT = 1 << 24
#: A chunk has at least so many elements, and there are at most so many chunks.
_CHUNK_ELEMENTS, _MOST_CHUNKS = 2048, 32


def read_dynamic_quantize(reader: Reader, node: ir.Node) -> str:
    """DynamicQuantizeLinear."""
    x = reader.input(node, 0)
    if x.dtype != "float32" or not x.elements:
        return f"{x.elements} elements of {x.dtype}"
    stored = reader.stored(_raw(node.outputs[0]))
    scale, zero = (_small_output(reader, node, index) for index in (1, 2))
    chunks = min(_MOST_CHUNKS, -(-x.elements // _CHUNK_ELEMENTS))
    extremes = reader.new_value(f"{node.name}.extremes", (2, chunks), "float32")
    reader.emit(DynamicQuantize(), [x], [stored, scale, zero, extremes], [node])
    return ""


def _small_output(reader: Reader, node: ir.Node, index: int) -> Value:
    output = node.outputs[index] if index < len(node.outputs) else None
    if output is not None and output.name:
        return reader.value(output)
    dtype = ("float32", "uint8")[index - 1]
    return reader.new_value(f"{node.name}.unread{index}", (), dtype)


def _raw(value: ir.Value) -> QuantizedTensor:
    """8-bit numbers whose scale and zero point are known elsewhere."""
    assert value.dtype is not None
    dtype = value.dtype.numpy()
    return QuantizedTensor(value, Affine(np.float32(1), 0, dtype), constant_array(value))


def read_matmul_integer(reader: Reader, node: ir.Node) -> str:
    """MatMulInteger with a constant matrix on the right: int32 results."""
    x = node.inputs[0]
    if (refusal := _refusal(node)) or x is None:
        return refusal
    output = reader.value(node.outputs[0])
    weights = _weights(node, 1)
    assert weights is not None
    stored = reader.stored(_raw(x))
    if len(stored.shape) < 2 or weights.stored.ndim != 2:
        return "an operand is no matrix"
    sums = _accumulated(reader, node, stored, weights.stored, output.shape)
    rows = None
    if weights.centre.any():
        ones = np.ones((weights.stored.shape[0], 1), np.int8)
        rows = _accumulated(reader, node, stored, ones, (*output.shape[:-1], 1))
    _correct(reader, node, sums, rows, weights, output)
    return ""


def _accumulated(
    reader: Reader, node: ir.Node, x: Value, weight: Array, shape: tuple[int, ...]
) -> Value:
    """int32 sums of products, nothing subtracted."""
    output = reader.new_value(f"{node.name}.sums", shape, "int32")
    constants = [
        reader.new_constant(f"{node.name}.weight", weight),
        reader.new_constant(f"{node.name}.bias", np.zeros(weight.shape[1], np.int32)),
    ]
    reader.emit(MatrixMultiply(finish=Accumulate()), [x, *constants], [output], [node])
    return output


def read_conv_integer(reader: Reader, node: ir.Node) -> str:
    """ConvInteger with constant weights: int32 results."""
    if refusal := _refusal(node):
        return refusal
    output, weights = reader.value(node.outputs[0]), _weights(node, 0)
    assert weights is not None
    x = _padded(reader, node)
    if isinstance(x, str):
        return x
    sums = _convolved(reader, node, x, weights.stored, output.shape)
    rows = None
    if weights.centre.any():
        groups = attribute_int(node, "group", 1)
        shape = weights.stored.shape
        ones = np.ones(shape if groups > 1 else (1, *shape[1:]), np.int8)
        channels = shape[0] if groups > 1 else 1
        rows = _convolved(
            reader, node, x, ones, (output.shape[0], channels, *output.shape[2:])
        )
    _correct(reader, node, sums, rows, weights, output)
    return ""


def _convolved(
    reader: Reader, node: ir.Node, x: Value, weight: Array, shape: tuple[int, ...]
) -> Value:
    output = reader.new_value(f"{node.name}.sums", shape, "int32")
    _emit_convolution(reader, node, x, weight, Accumulate(), [], output, [node])
    return output


def _emit_convolution(
    reader: Reader,
    node: ir.Node,
    x: Value,
    weight: Array,
    finish: Accumulate | RuntimeScale | Scale,
    extras: list[Value],
    output: Value,
    nodes: list[ir.Node],
) -> None:
    """A convolution of an image that has its padding already."""
    image = weight[:, :, None, :] if weight.ndim == 3 else weight
    constants = [
        reader.new_constant(f"{node.name}.weight", image),
        reader.new_constant(f"{node.name}.bias", np.zeros(len(weight), np.int32)),
        *extras,
    ]
    rank = weight.ndim - 2
    kind = Convolution(
        strides=pair(tuple(node.attributes.get_ints("strides", [1] * rank)), 1),
        dilations=pair(tuple(node.attributes.get_ints("dilations", [1] * rank)), 1),
        groups=attribute_int(node, "group", 1),
        finish=finish,
    )
    emit_on_image(reader, node, x, constants, kind, nodes, output)


def _padded(reader: Reader, node: ir.Node) -> Value | str:
    """The stored image inside a border of its zero point, or why there is none."""
    source = node.inputs[0]
    assert source is not None
    weights = _weights(node, 0)
    assert weights is not None
    weight = weights.stored
    x = reader.stored(_raw(source))
    window = window_of(node, x.shape, weight.shape[2:])
    if refusal := window_refusal(window):
        return refusal
    if not window.padded:
        return x
    extents = tuple(
        low + size + high
        for low, size, high in zip(
            window.pads_begin, x.shape[2:], window.pads_end, strict=True
        )
    )
    result = reader.new_value(f"{node.name}.padded", (*x.shape[:2], *extents), x.dtype)
    _emit_border(reader, node, result, reader.storage_shift(_raw(source).affine))
    copy(reader, node, x, result, shape=x.shape, out_start=(0, 0, *window.pads_begin))
    return result


def _emit_border(reader: Reader, node: ir.Node, output: Value, shift: int) -> None:
    """The zero point everywhere."""
    zero = optional_input(node, 2)
    if zero is None:
        reader.emit(Fill(shift), [], [output], [node])
        return
    constant = reader.new_constant(f"{node.name}.shift", np.full((), shift, np.int32))
    steps = (
        Step("Cast", (0,), "int32"),
        Step("Add", (2, 1), "int32"),
        Step("Cast", (3,), output.dtype),
    )
    scalar = reshaped(reader, reader.value(zero), (), node)
    reader.emit(Elementwise(steps), [scalar, constant], [output], [node])


@dataclasses.dataclass(frozen=True)
class _Weights:
    """Constant weights as ``stored + centre``.

    Attributes:
        stored: int8 as the model has them.
        centre: int32 per channel: 0 everywhere where the weights less their zero points are
            int8 themselves.
        sums: int32 per channel, of the weights less their zero points.
        bits: 4 where the model stores them so, else 8.
    """

    stored: Array
    centre: Array
    sums: Array
    bits: int = 8


def _weights(node: ir.Node, channel_axis: int) -> _Weights | None:
    """The weights of MatMulInteger (axis 1) or ConvInteger (axis 0)."""
    few = int4_weights(node.inputs[1])
    given = constant_input(node, 1) if few is None else few
    zero_value = optional_input(node, 3)
    zero = np.zeros((), np.int32) if zero_value is None else constant_array(zero_value)
    if given is None or zero is None:
        return None
    channels = given.shape[channel_axis]
    points = np.broadcast_to(zero.reshape(-1).astype(np.int32), (channels,))
    along = tuple(-1 if d == channel_axis else 1 for d in range(given.ndim))
    real = given.astype(np.int32) - points.reshape(along)
    others = tuple(d for d in range(given.ndim) if d != channel_axis)
    sums = real.sum(axis=others, dtype=np.int64).astype(np.int32)
    if real.size and (real.min() < -128 or real.max() > 127):
        middle = 128 if given.dtype == np.uint8 else 0
        stored = (given.astype(np.int32) - middle).astype(np.int8)
        return _Weights(stored, middle - points, sums)
    bits = 8 if few is None or points.any() else 4
    return _Weights(real.astype(np.int8), np.zeros(channels, np.int32), sums, bits)


def _refusal(node: ir.Node) -> str:
    """Why no integer product takes the node."""
    x, weight = node.inputs[:2]
    if x is None or constant_array(x) is not None:
        return "its activation is constant"
    if weight is None or (constant_array(weight) is None and int4_weights(weight) is None):
        return "weights are computed at run time"
    if optional_input(node, 3) is not None and constant_input(node, 3) is None:
        return "the weights' zero point is computed at run time"
    if 0 in (*(static_shape(x) or ()), *(static_shape(weight) or ())):
        return "an operand has no elements"
    return ""


def _zero(reader: Reader, node: ir.Node, rank: int) -> Value | None:
    """The activation's zero point: scalar, or one per row of a matrix; None where absent."""
    source = optional_input(node, 2)
    if source is None:
        return None
    zero = reader.value(source)
    if zero.elements == 1:
        return reshaped(reader, zero, (1,) * rank, node)
    if len(zero.shape) == 1:
        return reshaped(reader, zero, (*zero.shape, 1), node)
    return zero


def _correct(
    reader: Reader,
    node: ir.Node,
    sums: Value,
    rows: Value | None,
    weights: _Weights,
    output: Value,
) -> None:
    """``sums - (zero + shift) * weight sums + rows * centre``, int32."""
    source = node.inputs[0]
    assert source is not None
    shift = reader.storage_shift(_raw(source).affine)
    channel_shape = _channel_shape(node, output)
    values, steps = [sums], []

    def constant(name: str, array: Array) -> int:
        values.append(reader.new_constant(f"{node.name}.{name}", array))
        return len(values) - 1

    channel_sums = constant("weight_sums", weights.sums.reshape(channel_shape))
    storage = constant("storage", np.full((), shift, np.int32))
    centre = constant("centre", weights.centre.reshape(channel_shape)) if rows else 0
    if rows is not None:
        values.append(rows)
    row_sums = len(values) - 1
    zero = _zero(reader, node, len(output.shape))
    if zero is not None:
        values.append(zero)
    base = len(values)
    point = storage
    if zero is not None:
        steps.append(Step("Cast", (base - 1,), "int32"))
        steps.append(Step("Add", (base, storage), "int32"))
        point = base + 1
    steps.append(Step("Mul", (point, channel_sums), "int32"))
    steps.append(Step("Sub", (0, base + len(steps) - 1), "int32"))
    if rows is not None:
        last = base + len(steps) - 1
        steps.append(Step("Mul", (row_sums, centre), "int32"))
        steps.append(Step("Add", (last, last + 1), "int32"))
    reader.emit(Elementwise(tuple(steps)), values, [output], [node])


def _channel_shape(node: ir.Node, output: Value) -> tuple[int, ...]:
    """Of one number per channel: the second dimension of an image, the last of a product."""
    if node.op_type == "ConvInteger":
        return (-1, *(1,) * (len(output.shape) - 2))
    return (-1,)


def is_whole(product: ScaledProduct) -> bool:
    """Whether one kernel computes the chain; else its nodes are read one by one."""
    node = product.node
    is_image = node.op_type == "ConvInteger"
    if _refusal(node):
        return False
    weights = _weights(node, 0 if is_image else 1)
    shape, zero = static_shape(node.inputs[0]), optional_input(node, 2)
    if weights is None or weights.centre.any() or shape is None or len(shape) < 2:
        return False
    points = () if zero is None else static_shape(zero)
    if points is None or math.prod(points) != 1:
        return False
    if not is_image:
        return weights.stored.ndim == 2
    return not window_refusal(window_of(node, shape, weights.stored.shape[2:]))


def emit_scaled_product(reader: Reader, product: ScaledProduct) -> None:
    """The whole chain from the product to the float result."""
    node = product.node
    is_image = node.op_type == "ConvInteger"
    weights = _weights(node, 0 if is_image else 1)
    source, zero_source = node.inputs[0], optional_input(node, 2)
    assert source is not None
    assert weights is not None
    affine = _raw(source).affine
    if zero_source is None:
        zero = reader.new_constant(f"{node.name}.zero", np.zeros((), affine.dtype))
    else:
        zero = reader.value(zero_source)
    channels = weights.sums.size
    multiplier = np.float32(1) if product.multiplier is None else product.multiplier
    offset = np.zeros(channels, np.float32) if product.offset is None else product.offset
    finish = RuntimeScale(
        np.broadcast_to(multiplier, (channels,)).astype(np.float32),
        weights.sums,
        reader.storage_shift(affine),
        np.broadcast_to(offset, (channels,)).astype(np.float32),
        zero.dtype,
    )
    if product.scale is None:
        scale = reader.new_constant(f"{node.name}.scale", np.ones((), np.float32))
    else:
        scale = reader.value(product.scale)
    output = reader.value(product.nodes[-1].outputs[0])
    nodes = list(product.nodes)
    if is_image:
        x = _padded(reader, node)
        assert not isinstance(x, str), x
        if _is_depthwise(node, weights):
            _emit_depthwise(reader, product, x, weights, finish, (zero, scale))
            return
        _emit_convolution(
            reader, node, x, weights.stored, finish, [zero, scale], output, nodes
        )
        return
    constants = [
        reader.new_constant(f"{node.name}.weight", weights.stored),
        reader.new_constant(f"{node.name}.bias", np.zeros(channels, np.int32)),
    ]
    inputs = [reader.stored(_raw(source)), *constants, zero, scale]
    kind = MatrixMultiply(finish=finish, weight_bits=weights.bits)
    reader.emit(kind, inputs, [output], nodes)


def _is_depthwise(node: ir.Node, weights: _Weights) -> bool:
    """Whether there is one output per channel, and float32 holds every sum exactly."""
    taps = weights.stored.reshape(len(weights.stored), -1).astype(np.int64)
    farthest = 255 * np.abs(taps).sum(axis=1).max(initial=0)
    alone = (
        attribute_int(node, "group", 1) == len(weights.stored) and weights.stored.shape[1] == 1
    )
    return alone and farthest < _EXACT and int(weights.stored.min()) > -128


def _emit_depthwise(
    reader: Reader,
    product: ScaledProduct,
    x: Value,
    weights: _Weights,
    finish: RuntimeScale,
    measured: tuple[Value, Value],
) -> None:
    """Depthwise kernels have no end of this kind: theirs gives the sums, steps do the rest."""
    node, output = product.node, reader.value(product.nodes[-1].outputs[0])
    sums = reader.new_value(f"{node.name}.sums", output.shape, "float32")
    one = Scale(np.ones(1, np.float32))
    _emit_convolution(reader, node, x, weights.stored, one, [], sums, [node])
    shape = _channel_shape(node, output)
    constants = [
        reader.new_constant(f"{node.name}.{name}", array.astype(np.float32).reshape(own))
        for name, array, own in (
            ("weight_sums", finish.sums, shape),
            ("storage", np.full(1, finish.zero_shift), ()),
            ("multiplier", finish.multiplier, shape),
            ("offset", finish.offset, shape),
        )
    ]
    scalars = [reshaped(reader, value, (), node) for value in measured]
    values = [
        sums,
        *constants,
        *scalars,
    ]  # sums, weights, storage, multiplier, offset, zero, scale
    steps = (
        Step("Cast", (5,), "float32"),
        Step("Add", (7, 2), "float32"),
        Step("Mul", (8, 1), "float32"),
        Step("Sub", (0, 9), "float32"),
        Step("Mul", (6, 3), "float32"),
        Step("Mul", (10, 11), "float32"),
        Step("Add", (12, 4), "float32"),
    )
    reader.emit(Elementwise(steps), values, [output], list(product.nodes))


TABLE = {
    "ConvInteger": read_conv_integer,
    "DynamicQuantizeLinear": read_dynamic_quantize,
    "MatMulInteger": read_matmul_integer,
}

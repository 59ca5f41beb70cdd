"""Constant matrices of few bits per weight: DequantizeLinear in front of a product.

MatMul(x, DequantizeLinear(w [K, N], scales [K / block, N], axis = 0))
MatMul(x, Transpose(DequantizeLinear(w [N, K], scales [N, K / block], axis = 1)))
Gemm(x, DequantizeLinear(..), transB = 0 or 1)
"""

import dataclasses

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array, constant_tensor
from edgecomp.graph.match import is_operator, producer
from edgecomp.graph.qdq_tensors import dequantize_of
from edgecomp.graph.shapes import static_shape

#: Least stored number and bits of the element types that weights come in.
_TYPES = {
    ir.DataType.INT2: (-2, 2),
    ir.DataType.UINT2: (0, 2),
    ir.DataType.INT4: (-8, 4),
    ir.DataType.UINT4: (0, 4),
    ir.DataType.INT8: (-128, 8),
    ir.DataType.UINT8: (0, 8),
}
_FEWEST_BITS, _FULL_BITS = 2, 4
#: With more rows, whole bytes without blocks are faster as float32 than unpacked on the way.
_MOST_ROWS_OF_BYTES = 16


@dataclasses.dataclass(frozen=True, eq=False)
class PackedWeights:
    """A matrix ``(numbers - zeros) * scales``; of 1 bit, ``(2 * numbers - 1) * scales``.

    Attributes:
        numbers: uint8 [K, N], below ``2**bits``.
        scales: float32 [blocks, N].
        zeros: uint8 [blocks, N]; 0 of 1 bit.
        bits: 1, 2, 3, 4 or 8.
        block: elements of K per block; the last one may have fewer.
    """

    numbers: AnyArray
    scales: AnyArray
    zeros: AnyArray
    bits: int
    block: int

    def real(self) -> AnyArray:
        """The matrix: float32 [K, N]."""
        group = np.arange(len(self.numbers)) // self.block
        steps = self.numbers.astype(np.float32) - self.zeros.astype(np.float32)[group]
        if self.bits == 1:
            steps = 2 * steps - 1
        matrix: AnyArray = steps * self.scales[group]
        return matrix


def weight_matrix(product: ir.Node) -> AnyArray:
    """Constant second operand of a MatMul or Gemm as [K, N]."""
    weight = constant_array(product.inputs[1])
    assert weight is not None
    return weight.T if is_turned(product) else weight


def is_turned(product: ir.Node) -> bool:
    """Whether the second operand of a MatMul or Gemm lies as [N, K]."""
    return product.op_type == "Gemm" and product.attributes.get_int("transB", 0) != 0


def packed_weights(node: ir.Node) -> PackedWeights | None:
    """The weights of a product that is computed from them as they are stored, else None."""
    found = _source(node)
    if found is None:
        return None
    dequantize, turned = found
    if not _pays(node, dequantize):
        return None
    parts = _parts(dequantize)
    if parts is None:
        return None
    numbers, scales, zeros, bits, axis, block = parts
    if turned:
        numbers, scales, zeros, axis = numbers.T, scales.T, zeros.T, 1 - axis
    depth, columns = numbers.shape
    if scales.size == 1:
        scales, zeros = (np.broadcast_to(x, (1, columns)) for x in (scales, zeros))
    elif axis != 0:
        return None  # blocks along the columns
    numbers, scales, zeros = (np.ascontiguousarray(x) for x in (numbers, scales, zeros))
    return PackedWeights(numbers, scales, zeros, bits, block or depth)


def is_packed_weight(dequantize: ir.Node) -> bool:
    """Whether nothing but such products reads a DequantizeLinear."""
    readers = [use.node for use in dequantize.outputs[0].uses()]
    if not readers or dequantize.outputs[0].is_graph_output():
        return False
    products: list[ir.Node] = []
    for reader in readers:
        if is_operator(reader, "Transpose") and not reader.outputs[0].is_graph_output():
            products += [use.node for use in reader.outputs[0].uses()]
        else:
            products.append(reader)
    return all(_source(each) is not None and _takes(each, dequantize) for each in products)


def _takes(node: ir.Node, dequantize: ir.Node) -> bool:
    found = _source(node)
    return found is not None and found[0] is dequantize and packed_weights(node) is not None


def _source(node: ir.Node) -> tuple[ir.Node, bool] | None:
    """The DequantizeLinear of a product's weights, and whether they lie as [N, K]."""
    if not is_operator(node, "MatMul", "Gemm"):
        return None
    turned = False
    if node.op_type == "Gemm":
        if node.attributes.get_int("transA", 0):
            return None
        turned = is_turned(node)
    value = node.inputs[1]
    x = node.inputs[0]
    if x is None or x.dtype != ir.DataType.FLOAT or len(static_shape(x) or ()) < 2:
        return None
    transpose = producer(value, "Transpose")
    if transpose is not None:
        if list(transpose.attributes.get_ints("perm", [1, 0])) != [1, 0]:
            return None
        value, turned = transpose.inputs[0], not turned
    dequantize = dequantize_of(value)
    if dequantize is None or len(static_shape(dequantize.inputs[0]) or ()) != 2:
        return None
    return dequantize, turned


def _pays(node: ir.Node, dequantize: ir.Node) -> bool:
    stored, shape = dequantize.inputs[0], static_shape(node.inputs[0]) or ()
    if stored is None or stored.dtype not in _TYPES:
        return False
    blocked = dequantize.attributes.get_int("block_size", 0) != 0
    rows = int(np.prod(shape[:-1]))
    return _TYPES[stored.dtype][1] < 8 or blocked or rows <= _MOST_ROWS_OF_BYTES


def _parts(
    node: ir.Node,
) -> tuple[AnyArray, AnyArray, AnyArray, int, int, int] | None:
    """numbers, scales, zeros [in blocks along an axis], bits, axis, block."""
    tensor = constant_tensor(node.inputs[0])
    scale = constant_array(node.inputs[1])
    if tensor is None or scale is None or scale.dtype != np.float32:
        return None
    least, bits = _TYPES[tensor.dtype]
    numbers = (tensor.numpy().astype(np.int16) - least).astype(np.uint8)
    zero_value = node.inputs[2] if len(node.inputs) > 2 else None
    zero = np.zeros((), np.uint8) if zero_value is None else constant_array(zero_value)
    if zero is None or not np.isfinite(scale).all():
        return None
    points = (zero.astype(np.int16) - least).astype(np.uint8)
    axis = node.attributes.get_int("axis", 1) % 2
    block = node.attributes.get_int("block_size", 0)
    numbers, points, bits = _narrowed(numbers, points, bits)
    if block:
        return numbers, scale, np.broadcast_to(points, scale.shape), bits, axis, block
    if scale.size == 1:
        return numbers, scale.reshape(1, 1), points.reshape(1, 1), bits, 0, 0
    # One scale per index of the axis: a single block along the other.
    shape = (-1, 1) if axis == 0 else (1, -1)
    points = np.broadcast_to(points, scale.shape)
    return numbers, scale.reshape(shape), points.reshape(shape), bits, 1 - axis, 0


def _are_signs(numbers: AnyArray, points: AnyArray) -> bool:
    middle = int(points.flat[0])
    steps = numbers.astype(np.int16) - middle
    return bool((points == middle).all() and (np.abs(steps) == 1).all())


def _narrowed(
    numbers: AnyArray, points: AnyArray, bits: int
) -> tuple[AnyArray, AnyArray, int]:
    """Numbers and zero points with as few bits as the numbers need.

    3 bits come in a type of four, and so do 2 before opset 25 and in MatMulNBits. Those that are
    all one step from a zero point that all share are signs: 1 bit.
    """
    if not numbers.size:
        return numbers, points, bits
    if _are_signs(numbers, points):
        return (numbers > points.flat[0]).astype(np.uint8), np.zeros_like(points), 1
    least = int(numbers.min())
    if int(points.min()) < least:
        return numbers, points, bits
    fewer = max(_FEWEST_BITS, (int(numbers.max()) - least).bit_length())
    if fewer >= min(bits, _FULL_BITS):
        return numbers, points, bits
    return numbers - np.uint8(least), points - np.uint8(least), fewer

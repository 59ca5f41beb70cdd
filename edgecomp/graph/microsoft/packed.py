"""MatMulNBits: weights of 8 bits and less with a scale per block of K.

MatMulNBits(a, b, scales)  =>  MatMul(a, DequantizeLinear(w [K, N], scales [K / block, N]))
"""

import ml_dtypes
import numpy as np
import onnx_ir as ir

from edgecomp.graph.body import Body
from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.microsoft.call import Call
from edgecomp.graph.shapes import shape_conflict

#: Widths of numbers that a byte holds whole.
_BITS = (2, 4, 8)
_PACK_AGAIN = "quantize the model again: its packed weights do not fit their description"


def define_matmul_nbits(node: ir.Node) -> Body | None:
    """Constant weights only; others have no form in which they stay packed."""
    body = Call(node)
    stored, scales, zeros = body.array(1), body.array(2), body.array(3)
    if stored is None or scales is None or (zeros is None and body.has(3)):
        return None
    if body.integer("weight_prepacked", 0) or (body.has(4) and body.array(4) is None):
        return None
    depth, columns = body.integer("K", 0), body.integer("N", 0)
    bits, block = body.integer("bits", 4), body.integer("block_size", 32)
    if bits not in _BITS:
        return None
    blocks = _blocks(node, bits, depth, columns, block)
    numbers = unpack(stored.reshape(columns, -1), bits)[:, : blocks * block]
    weights = numbers[:, :depth].T
    scale = scales.reshape(columns, blocks).T
    kind = np.uint8 if bits > 4 else ml_dtypes.uint4
    middle = np.full((blocks, columns), 1 << bits - 1, np.uint8)
    a, offset = "i0", None
    if zeros is not None and zeros.dtype == np.uint8:
        middle = unpack(zeros.reshape(columns, -1), bits)[:, :blocks].T
    elif zeros is not None:
        # Real zero points: the integers keep the middle, the rest is a product of block sums.
        real = zeros.reshape(columns, blocks).T.astype(np.float32)
        offset = (middle.astype(np.float32) - real) * scale.astype(np.float32)
    if body.has(4):
        order = _grouped(body.array(4), depth, block)
        if order is None:
            return None
        weights = weights[order]
        a = body.add("Gather", "i0", body.constant(order.astype(np.int64)), axis=-1)
    real_weights = body.add(
        "DequantizeLinear",
        body.constant(np.ascontiguousarray(weights).astype(kind)),
        body.constant(np.ascontiguousarray(scale)),
        body.constant(np.ascontiguousarray(middle).astype(kind)),
        axis=0,
        block_size=block,
    )
    result = body.add("MatMul", a, real_weights)
    if offset is not None:
        correction = body.add(
            "MatMul", _block_sums(body, a, depth, block), body.constant(offset)
        )
        result = body.add("Add", result, correction)
    if body.has(5):
        result = body.add("Add", result, "i5")
    body.add("Identity", result, to="y")
    return body


def _blocks(node: ir.Node, bits: int, depth: int, columns: int, block: int) -> int:
    """Blocks of a column.

    Raises:
        EdgecompError: SHAPE_CONFLICT where the constants have other sizes than the attributes say.
    """
    if min(depth, columns, block) < 1:
        cause = f"MatMulNBits has K {depth}, N {columns} and block_size {block}"
        raise shape_conflict(node, cause, _PACK_AGAIN)
    blocks = -(-depth // block)
    arrays = [constant_array(value) for value in node.inputs[1:4]]
    packed = len(arrays) > 2 and arrays[2] is not None and arrays[2].dtype == np.uint8
    zeros = -(-blocks * bits // 8) if packed else blocks
    each = (blocks * block * bits // 8, blocks, zeros)
    for index, (array, size) in enumerate(zip(arrays, each, strict=False), start=1):
        if array is not None and array.size != columns * size:
            cause = (
                f"input {index} of MatMulNBits has {array.size} elements, not {columns * size}"
            )
            raise shape_conflict(node, cause, _PACK_AGAIN)
    return blocks


def unpack(rows: AnyArray, bits: int) -> AnyArray:
    """uint8 [rows, bytes] of numbers with the first in the low bits, to one number per byte."""
    if bits == 8:
        return rows
    each = 8 // bits
    shifts = np.arange(each, dtype=np.uint8) * bits
    numbers: AnyArray = rows[:, :, None] >> shifts & ((1 << bits) - 1)
    return numbers.reshape(len(rows), -1)


def _grouped(groups: AnyArray | None, depth: int, block: int) -> AnyArray | None:
    """An order of K in which every block's elements are neighbours, None where none fits."""
    if groups is None:
        return None
    given = groups.reshape(-1)[:depth]
    order = np.argsort(given, kind="stable")
    return order if np.array_equal(given[order], np.arange(depth) // block) else None


def _block_sums(body: Call, a: str, depth: int, block: int) -> str:
    """Sums of a's elements in every block, [..., blocks]."""
    shape = body.shape(0)
    assert shape is not None
    blocks = -(-depth // block)
    if blocks * block != depth:
        missing = body.zeros((*shape[:-1], blocks * block - depth), a)
        a = body.add("Concat", a, missing, axis=-1)
    cut = body.reshaped(a, (*shape[:-1], blocks, block))
    return body.add("ReduceSum", cut, body.integers(-1), keepdims=0)

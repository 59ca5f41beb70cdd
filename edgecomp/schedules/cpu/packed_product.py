"""Products with matrices of 2, 3, 4 or 8 bits per weight, unpacked in registers.

    y = a @ ((numbers - zeros) * scales) + bias, a scale and a zero per block of K and column

The matrix is read once as it is stored: with few rows its bytes are all that counts. Lanes are
columns; a 32-bit word holds the numbers of 4, 8, 10 or 16 neighbours in K of one column, and a
block begins with a word of its own. Two forms:

* few rows: per block ``total += scale * (sum(q x) - zero * sum(x))``, where q is the number as it
  comes out of the word, and the sums of x come from a kernel before. Where cores add four products of
  bytes at once, x is taken apart into bytes for it (``packed_bytes``);
* more rows: ``w = scale * q - scale * zero`` once per number, then multiply-adds for every row.
"""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import PackedMatrixMultiply
from edgecomp.plan.sizes import Dimension
from edgecomp.plan.values import Array, Order, Value
from edgecomp.schedules.builder import Buffer, Expr, Kernel, KernelBuilder, load
from edgecomp.schedules.cpu import functions
from edgecomp.schedules.cpu.packed_bytes import BytesKernel, can_multiply_bytes, emit_bytes
from edgecomp.schedules.cpu.packed_kernel import PackedKernel, PackedShape
from edgecomp.schedules.cpu.rows import Row
from edgecomp.schedules.schedule import Constant, Dynamic, KernelCall

NAME = "packed_matrix_multiply"


def match(operation: Operation, target: Target) -> str:
    """Claim products of float32 rows with constants."""
    del target
    kind = operation.kind
    if not isinstance(kind, PackedMatrixMultiply):
        return "not a product with packed weights"
    x = operation.inputs[0]
    if any(value.constant is None for value in operation.inputs[1:]):
        return "weights are not constant"
    if x.dtype != "float32" or Order.NHWC in (x.order, operation.outputs[0].order):
        return f"activations are {x.dtype}, {x.order.value}"
    return functions.refusal(kind.activation) if kind.activation else ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """Sums of x where they are needed, then the product."""
    return emit_packed(operation, target)


def emit_packed(
    operation: Operation, target: Target, row_count: Dimension | None = None
) -> list[KernelCall]:
    """The same where ``row_count`` may be dynamic; rows of the operation are the most."""
    kind = operation.kind
    assert isinstance(kind, PackedMatrixMultiply)
    x, numbers, scales, zeros, bias = operation.inputs
    output, sums = operation.outputs
    depth, columns = numbers.shape
    assert numbers.constant is not None
    assert scales.constant is not None
    assert zeros.constant is not None
    assert bias.constant is not None
    rows = x.elements // depth
    shape = PackedShape.of(
        kind,
        rows,
        depth,
        columns,
        zeros.constant,
        target,
        dynamic=row_count is not None,
        as_bytes=can_multiply_bytes(target, kind.bits, min(kind.block, depth)),
    )
    writer = PackedKernel(shape, target, kind.activation, row_count)
    if shape.as_bytes:
        writer = BytesKernel(shape, target, kind.activation)
    kernel, items = writer.emit()
    label = numbers.name
    arguments: list[Value | Constant] = [
        x,
        Constant(f"{label}.packed", pack(numbers.constant, shape)),
        Constant(f"{label}.scales", _tiled(scales.constant, shape)),
    ]
    if shape.zero is None:
        arguments.append(Constant(f"{label}.zeros", _tiled(zeros.constant, shape)))
    arguments.append(Constant(f"{label}.bias", _tiled(bias.constant[None], shape)))
    calls = []
    if shape.as_bytes:
        calls.append(KernelCall(emit_bytes(shape, target), (x, sums), rows))
        arguments.append(sums)
    elif shape.needs_sums:
        calls.append(KernelCall(_block_sums(shape, target), (x, sums), rows))
        arguments.append(sums)
    product = KernelCall(
        kernel=kernel,
        arguments=(*arguments, output),
        work_items=items,
        multiply_adds=rows * depth * columns,
        dynamic=None if row_count is None else Dynamic(items, sizes=writer.builder.sizes),
    )
    return [*calls, product]


def pack(numbers: Array, shape: PackedShape) -> Array:
    """uint8 [K, N] to uint32, flat: per tile of columns [words of K][columns]."""
    width = shape.tiles * shape.width
    slots = np.zeros((shape.words * shape.each, width), np.uint8)
    block, place = np.divmod(np.arange(shape.depth), shape.block)
    # An offset turns the top bit over: numbers are signed then.
    slots[block * shape.block_words * shape.each + place, : shape.columns] = (
        numbers ^ shape.offset
    )
    full = slots.reshape(shape.words, shape.each, width)
    words = np.zeros((shape.words, width), np.uint32)
    for position in range(shape.each):
        words |= full[:, position].astype(np.uint32) << np.uint32(shape.bit_of(position))
    tiles = words.reshape(shape.words, shape.tiles, shape.width).transpose(1, 0, 2)
    return np.ascontiguousarray(tiles).reshape(-1).view(np.int32)


def _tiled(values: Array, shape: PackedShape) -> Array:
    """[blocks, N] to flat: per tile of columns [blocks][columns]."""
    width = shape.tiles * shape.width
    full = np.pad(values, ((0, 0), (0, width - shape.columns)))
    tiles = full.reshape(len(values), shape.tiles, shape.width).transpose(1, 0, 2)
    return np.ascontiguousarray(tiles).reshape(-1)


def _block_sums(shape: PackedShape, target: Target) -> Kernel:
    """Sums of x over every block; a work item is a row."""
    builder = KernelBuilder(target.core.isa)
    x = builder.pointer("x", "float32", shape.rows * shape.depth)
    sums = builder.pointer("sums", "float32", shape.rows * shape.blocks)
    with builder.loop("item", builder.lo, builder.hi) as item:
        whole, rest = divmod(shape.depth, shape.block)
        for first, count, size in ((0, whole, shape.block), (whole, 1, rest)):
            if count and size:
                with builder.loop("block", first, first + count) as block:
                    base = builder.let("base", item * shape.depth + block * shape.block)
                    total = _sum(builder, x, base, size, target)
                    builder.store(sums, item * shape.blocks + block, total)
    return builder.finish("block_sums")


def _sum(builder: KernelBuilder, x: Buffer, base: Expr, size: int, target: Target) -> Expr:
    """Of ``size`` elements from ``base`` on."""
    row = Row.of(builder, size, target.lanes(32))
    return row.fold(0.0, lambda a, b: a + b, lambda at: load(x, base + at, row.lanes))

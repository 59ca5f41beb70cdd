"""Products of two values read and write through the copies around them.

    a, b = copies that transpose
    y = a @ b
    z = a copy that transposes y
    ->
    z = a @ b, read and written where the copies would have

A copy in front is one for the product alone; one behind is the only reader of the result.
"""

import dataclasses
import functools
from collections.abc import Collection

import numpy as np

from edgecomp.lower.claims import Claims
from edgecomp.lower.copied_views import Moved, read_through, turned, written_through
from edgecomp.lower.uses import Uses, exchanged
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.products import BatchMatrixMultiply, IntegerBatchMultiply
from edgecomp.plan.sizes import is_dynamic
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu.tiles import WAY_BYTES

_Product = BatchMatrixMultiply | IntegerBatchMultiply


def fuse_product_copies(
    program: Program,
    claims: Claims,
    left: Collection[Operation] = (),
    way_bytes: int | None = WAY_BYTES,
) -> Program:
    """The program with products that need fewer copies.

    Args:
        program: without branches and loops, in its layout; stays as it is.
        claims: of the device's kernels.
        left: operations that another device has.
        way_bytes: of its level-1 cache, where rows that are multiples of it apart share a set;
            None where that does not matter.
    """
    uses = Uses(program)
    made: dict[Operation, Operation] = {}
    gone: set[Operation] = set()
    for operation in program.operations:
        if not isinstance(operation.kind, _Product) or operation in left:
            continue
        for take in (functools.partial(_take_a, way_bytes), _take_b, _take_output):
            product = made.get(operation, operation)
            taken = take(product, uses)
            if taken is None or taken[1] in gone:  # of two that a copy joins, the first has it
                continue
            if taken[1] in left or not claims(taken[0]):
                continue
            made[operation] = taken[0]
            gone.add(taken[1])
    return exchanged(program, made, gone)


def _take_a(
    way_bytes: int | None, product: Operation, uses: Uses
) -> tuple[Operation, Operation] | None:
    kind, (a, b, *further) = _kind(product), product.inputs
    moved = read_through(a, uses)
    transposed = isinstance(kind, BatchMatrixMultiply) and kind.transpose_a
    if moved.copy is None or not _is_read_well(moved, way_bytes, transposed=transposed):
        return None
    kind = dataclasses.replace(kind, a=moved.view)
    return _with(
        product, moved.copy, kind, [moved.value, b, *further], product.output
    ), moved.copy


def _take_b(product: Operation, uses: Uses) -> tuple[Operation, Operation] | None:
    kind, (a, b, *further) = _kind(product), product.inputs
    moved = read_through(b, uses)
    if moved.copy is None or moved.value.constant is not None:
        return None
    if isinstance(kind, BatchMatrixMultiply):
        if moved.view.strides[-1 if kind.transpose_b else -2] == 0:
            return None  # one row for all of K: to a kernel that step is a packed panel's
        kind = dataclasses.replace(kind, b=moved.view)
    else:
        is_turned = kind.b != b.view
        kind = dataclasses.replace(kind, b=turned(moved.view) if is_turned else moved.view)
    return _with(
        product, moved.copy, kind, [a, moved.value, *further], product.output
    ), moved.copy


def _take_output(product: Operation, uses: Uses) -> tuple[Operation, Operation] | None:
    moved = written_through(product.output, uses)
    if moved.copy is None:
        return None
    if moved.value.quantization != product.output.quantization:
        return None  # of stored numbers that are moved: another scale, or none
    kind = dataclasses.replace(_kind(product), output=moved.view)
    return _with(product, moved.copy, kind, product.inputs, moved.value), moved.copy


def _kind(product: Operation) -> _Product:
    assert isinstance(product.kind, _Product)
    return product.kind


def _is_read_well(moved: Moved, way_bytes: int | None, *, transposed: bool) -> bool:
    """Whether K is contiguous, and rows of a tile do not share one set of the level-1 cache.

    Those that are a dynamic number apart may at some sizes.
    """
    rows, depth = moved.view.strides[-2:]
    if transposed or moved.value.constant is not None or depth != 1:
        return False
    if way_bytes is None:
        return True
    item = np.dtype(moved.value.dtype).itemsize
    return not is_dynamic(rows) and rows * item % way_bytes != 0


def _with(
    product: Operation,
    copy: Operation,
    kind: _Product,
    inputs: list[Value],
    output: Value,
) -> Operation:
    """The product of that kind, which stands for a copy as well."""
    nodes = tuple(dict.fromkeys([*copy.nodes, *product.nodes]))
    return dataclasses.replace(
        product, kind=kind, inputs=list(inputs), outputs=[output], nodes=nodes
    )

"""Products of float32 rows with a matrix in 8 bits: a quarter of the memory is read.

A block of columns is computed for several rows together: every weight is made a float once for
all of them. The scales of the columns multiply the finished sums.
"""

import math

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import ScaledMatrixMultiply
from edgecomp.plan.values import Array
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import (
    Expr,
    Kernel,
    KernelBuilder,
    constant,
    load,
    ramp,
    splat,
)
from edgecomp.schedules.cpu.epilogue import vector_dtype
from edgecomp.schedules.cpu.tiles import Split
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "scaled_matrix_multiply"
#: Columns (in vectors) and rows of a block: accumulators, and weights that became floats.
_BLOCK_VECTORS = 3
_BLOCK_ROWS = 4


def match(operation: Operation, target: Target) -> str:
    """Whole vectors of columns."""
    if not isinstance(operation.kind, ScaledMatrixMultiply):
        return "not a product with a scaled matrix"
    if operation.inputs[1].constant is None:
        return "the matrix is not constant"
    if operation.output.shape[-1] % _lanes(operation, target):
        return "columns that are no whole vectors"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; work items are rows."""
    x, weight, scale, bias = operation.inputs
    emitter = _Emitter(operation, target)
    assert weight.constant is not None
    packed = Constant(f"{weight.name}.packed", emitter.pack(weight.constant))
    return [
        KernelCall(
            emitter.emit(),
            (x, packed, scale, bias, operation.output),
            work_items=emitter.rows,
            multiply_adds=operation.output.elements * emitter.depth,
        )
    ]


def _lanes(operation: Operation, target: Target) -> int:
    lanes = target.lanes(32)
    while operation.output.shape[-1] % lanes and lanes > 4:
        lanes //= 2
    return lanes


class _Emitter:
    """Builds the kernel of one operation."""

    def __init__(self, operation: Operation, target: Target) -> None:
        x, weight, scale, bias = operation.inputs
        self.depth, self.columns = weight.shape
        self.rows = math.prod(operation.output.shape[:-1])
        self.lanes = _lanes(operation, target)
        self.split = Split.by_size(self.columns // self.lanes, _BLOCK_VECTORS)
        self.builder = builder = KernelBuilder(target.core.isa)
        self.x = builder.pointer("x", "float32", x.elements)
        self.weight = builder.pointer("weight", "int8", weight.elements)
        self.scale = builder.pointer("scale", "float32", scale.elements)
        self.bias = builder.pointer("bias", "float32", bias.elements)
        self.out = builder.pointer("out", "float32", operation.output.elements)

    def pack(self, weight: Array) -> Array:
        """[K, N] to [block of columns][K][columns of the block]."""
        lanes = self.lanes
        parts = [
            weight[:, start * lanes : (start + size) * lanes].reshape(-1)
            for start, size in self.split.starts()
        ]
        return np.concatenate(parts)

    def emit(self) -> Kernel:
        """All rows from lo to hi, some together, then one by one."""
        builder = self.builder
        many = tirx.truncdiv(builder.hi - builder.lo, _BLOCK_ROWS)
        begin = 0
        for size, count in self.split.classes():
            with builder.loop("block", 0, count) as block:
                vector = builder.let("vector", begin + block * size)
                with builder.loop("rows", 0, many) as group:
                    first = builder.let("row", builder.lo + group * _BLOCK_ROWS)
                    self._block(first, _BLOCK_ROWS, vector, size)
                with builder.loop("row", builder.lo + many * _BLOCK_ROWS, builder.hi) as row:
                    self._block(row, 1, vector, size)
            begin += size * count
        return builder.finish(NAME)

    def _block(self, first: Expr, rows: int, vector: Expr, size: int) -> None:
        builder, lanes = self.builder, self.lanes
        wide = vector_dtype("float32", lanes)
        sums = builder.array("sums", "float32", rows * size * lanes)
        zero = constant(0.0, "float32", lanes)
        for index in range(rows * size):
            builder.store(sums, ramp(index * lanes, lanes), zero)
        packed_at = builder.let("packed_at", vector * lanes * self.depth)
        with builder.loop("k", 0, self.depth) as k:
            stored_at = packed_at + k * (size * lanes)
            weights = [
                builder.let(
                    "w", tirx.Cast(wide, load(self.weight, stored_at + v * lanes, lanes)), wide
                )
                for v in range(size)
            ]
            for row in range(rows):
                element = load(self.x, (first + row) * self.depth + k)
                element = builder.let("x", splat(element, lanes), wide)
                for v, weight in enumerate(weights):
                    at = (row * size + v) * lanes
                    total = load(sums, at, lanes) + element * weight
                    builder.store(sums, ramp(at, lanes), total)
        for row in range(rows):
            for v in range(size):
                column = (vector + v) * lanes
                total = load(sums, (row * size + v) * lanes, lanes)
                value = total * load(self.scale, column, lanes) + load(
                    self.bias, column, lanes
                )
                at = (first + row) * self.columns + column
                builder.store(self.out, ramp(at, lanes), value)

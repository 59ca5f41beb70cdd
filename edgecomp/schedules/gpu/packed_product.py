"""Products with matrices of 1, 2, 3, 4 or 8 bits per weight, unpacked in registers."""

import dataclasses

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import PackedMatrixMultiply
from edgecomp.plan.sizes import largest
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu import packed_product as cpu
from edgecomp.schedules.gpu.packed_kernel import PackedKernel
from edgecomp.schedules.gpu.packed_tile import PackedTile, spans_of
from edgecomp.schedules.gpu.places import gpu_of
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "packed_matrix_multiply"


def match(operation: Operation, target: Target) -> str:
    """Claim what the CPU's schedule claims."""
    return cpu.match(operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel, for dynamic rows up to two; the operation's second output is not needed."""
    kind = operation.kind
    assert isinstance(kind, PackedMatrixMultiply)
    x, numbers, _, zeros, _ = operation.inputs
    assert zeros.constant is not None
    depth, columns = numbers.shape
    first = int(zeros.constant.flat[0])
    zero = first if (zeros.constant == first).all() else None
    stored = x.stored, operation.outputs[0].stored
    spans = spans_of(x.elements // depth)
    tiles = [PackedTile.of(kind, s.tiled_for, depth, columns, gpu_of(target)) for s in spans]
    # All of them read the same words.
    width = max(tile.padded_columns for tile in tiles)
    tiles = [dataclasses.replace(tile, padded_columns=width) for tile in tiles]
    kernels = [
        PackedKernel(tile, span, zero, kind.activation, target, stored)
        for tile, span in zip(tiles, spans, strict=True)
    ]
    arguments = _arguments(operation, kernels[0])
    calls = []
    for kernel in kernels:
        kernel.emit()
        # At the largest sizes the last one has all of the work.
        work = largest(x.elements) * columns if kernel is kernels[-1] else 0
        calls.append(kernel.builder.call(f"packed_{kind.bits}bit", arguments, work))
    return calls


def _arguments(operation: Operation, kernel: PackedKernel) -> list[Value | Constant]:
    """Of any of the kernels."""
    x, numbers, scales, zeros, bias = operation.inputs
    assert numbers.constant is not None
    assert scales.constant is not None
    assert zeros.constant is not None
    assert bias.constant is not None
    label, tile = numbers.name, kernel.tile
    arguments: list[Value | Constant] = [
        x,
        Constant(f"{label}.packed", kernel.packed(numbers.constant)),
        Constant(f"{label}.scales", tile.pad(scales.constant)),
    ]
    if kernel.zero is None:
        padded = tile.pad(zeros.constant).astype(np.float32)
        arguments.append(Constant(f"{label}.zeros", padded))
    bias_row = Constant(f"{label}.bias", tile.pad(bias.constant[None]))
    return [*arguments, bias_row, operation.outputs[0]]

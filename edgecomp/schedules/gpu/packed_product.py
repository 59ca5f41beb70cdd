"""Products with matrices of 1, 2, 3, 4 or 8 bits per weight, unpacked in registers."""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation, PackedMatrixMultiply
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu import packed_product as cpu
from edgecomp.schedules.gpu.packed_kernel import PackedKernel
from edgecomp.schedules.gpu.packed_tile import PackedTile
from edgecomp.schedules.gpu.places import gpu_of
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "packed_matrix_multiply"


def match(operation: Operation, target: Target) -> str:
    """Claim what the CPU's schedule claims."""
    return cpu.match(operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; the operation's second output is not needed."""
    kind = operation.kind
    assert isinstance(kind, PackedMatrixMultiply)
    x, numbers, scales, zeros, bias = operation.inputs
    assert numbers.constant is not None
    assert scales.constant is not None
    assert zeros.constant is not None
    assert bias.constant is not None
    depth, columns = numbers.shape
    rows = x.elements // depth
    tile = PackedTile.of(kind, rows, depth, columns, gpu_of(target))
    first = int(zeros.constant.flat[0])
    zero = first if (zeros.constant == first).all() else None
    kernel = PackedKernel(
        tile, zero, kind.activation, target, (x.stored, operation.outputs[0].stored)
    )
    kernel.emit()
    label = numbers.name
    arguments: list[Value | Constant] = [
        x,
        Constant(f"{label}.packed", kernel.packed(numbers.constant)),
        Constant(f"{label}.scales", tile.pad(scales.constant)),
    ]
    if zero is None:
        arguments.append(
            Constant(f"{label}.zeros", tile.pad(zeros.constant).astype(np.float32))
        )
    arguments += [
        Constant(f"{label}.bias", tile.pad(bias.constant[None])),
        operation.outputs[0],
    ]
    return [
        KernelCall(
            kernel.builder.finish(f"packed_{kind.bits}bit"),
            tuple(arguments),
            1,
            multiply_adds=rows * depth * columns,
            launch=kernel.builder.launch,
        )
    ]

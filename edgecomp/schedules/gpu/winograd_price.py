"""Which tile, if any, makes a 3x3 convolution on a GPU faster than its implicit matrix product.

Both forms are priced by ``gpu.speed`` of the target: products by their arithmetic, repeated and
idle work included as ``product_tiles`` counts it, transforms by the bytes that they move, each
kernel by the time of a launch. Where nobody knows the speed nothing is chosen. Images and weights have the
types that they are stored in; what goes from kernel to kernel within the method is float32, and so are its
products, beside which a device that multiplies in half has the direct ones at twice the rate.
"""

import numpy as np

from edgecomp.device.target import Gpu, GpuSpeed
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu.winograd_matrices import POINTS, TAPS
from edgecomp.schedules.cpu.winograd_tiles import image_tiles
from edgecomp.schedules.gpu.halves import multiplies_in_half
from edgecomp.schedules.gpu.places import LANES
from edgecomp.schedules.gpu.product_tiles import choose_tile, product_cost

#: A form is chosen if it takes at most this part of the time without it: the model's own error.
LEAST_GAIN = 0.9
#: What ``product_cost`` gives for the tiles of the kernels whose speed ``gpu.speed`` states.
_GOOD_COST = 1.3
_FLOAT_BYTES = 4
#: Tiles whose transformed weights are stored in 16 bits where the model's are.
SMALLEST_OUTPUTS = min(POINTS)
#: Products in half in the time of one in float32, on devices that have them.
_HALF_RATE = 2.0


def choose_outputs(operation: Operation, gpu: Gpu) -> int | None:
    """Outputs of the best tile in each dimension, None where the direct product is better.

    Args:
        operation: a float 3x3 convolution of stride 1 without groups.
        gpu: the device.
    """
    if gpu.speed is None:
        return None
    best, best_seconds = None, direct_seconds(operation, gpu, gpu.speed)
    is_wide = operation.inputs[1].dtype == "float32"
    for outputs in sorted(POINTS) if is_wide else (SMALLEST_OUTPUTS,):
        if min(operation.output.shape[2:]) < outputs:
            break
        seconds = winograd_seconds(operation, gpu, gpu.speed, outputs)
        if seconds < best_seconds * LEAST_GAIN:
            best, best_seconds = outputs, seconds
    return best


def direct_seconds(operation: Operation, gpu: Gpu, speed: GpuSpeed) -> float:
    """Modelled time as an implicit matrix product."""
    x, y = operation.inputs[0], operation.output
    batch, columns, height, width = y.shape
    moved = _bytes_of(x) + _bytes_of(y) + _bytes_of(operation.inputs[1])
    rate = _HALF_RATE if multiplies_in_half(gpu, x.stored, operation.inputs[1].dtype) else 1.0
    rows = (
        (width, batch * height) if x.view.strides[2] != width else (batch * height * width, 1)
    )
    depth = TAPS**2 * x.shape[1]
    return _product_seconds(*rows, columns, 1, depth, moved, gpu, speed, rate)


def winograd_seconds(operation: Operation, gpu: Gpu, speed: GpuSpeed, outputs: int) -> float:
    """Modelled time with tiles of ``outputs`` x ``outputs``."""
    x, y = operation.inputs[0], operation.output
    channels, columns = x.shape[1], y.shape[1]
    places, tiles = (outputs + TAPS - 1) ** 2, image_tiles(y.shape, outputs).count
    transformed = _FLOAT_BYTES * places * tiles * channels
    sums = _FLOAT_BYTES * places * tiles * columns
    weights = _bytes_of(operation.inputs[1]) * places // TAPS**2
    moved = transformed + sums + weights
    products = _product_seconds(tiles, 1, columns, places, channels, moved, gpu, speed)
    return (
        _moving_seconds(_bytes_of(x) + transformed, tiles * channels, gpu, speed)
        + products
        + _moving_seconds(sums + _bytes_of(y), tiles * columns, gpu, speed)
    )


def _product_seconds(
    inner_rows: int,
    outer_rows: int,
    columns: int,
    groups: int,
    depth: int,
    moved: int,
    gpu: Gpu,
    speed: GpuSpeed,
    rate: float = 1.0,
) -> float:
    """A product of matrices that moves so many bytes, at a multiple of float32's rate."""
    shape = inner_rows, outer_rows, columns, groups
    cost = product_cost(choose_tile(*shape, gpu), *shape, gpu.busy_items) / _GOOD_COST
    products = inner_rows * outer_rows * columns * groups * depth
    arithmetic = 2 * products * cost / (speed.float_gigaflops * rate * 1e9)
    return max(arithmetic, _memory_seconds(moved, speed)) + speed.launch_us * 1e-6


def _moving_seconds(moved: int, elements: int, gpu: Gpu, speed: GpuSpeed) -> float:
    """A kernel that reads and writes bytes, with a work item for each vector of elements."""
    idle = max(1.0, gpu.busy_items * LANES / elements)
    return _memory_seconds(moved, speed) * idle + speed.launch_us * 1e-6


def _memory_seconds(moved: int, speed: GpuSpeed) -> float:
    return moved / (speed.gigabytes_per_second * 1e9)


def _bytes_of(value: Value) -> int:
    """Of its elements in memory, without a halo."""
    return value.elements * np.dtype(value.stored).itemsize

"""Which tile, if any, makes a 3x3 convolution on a GPU faster than its implicit matrix product.

Both forms are priced by ``gpu.speed`` of the target: products by their arithmetic, repeated and
idle work included as ``product_tiles`` counts it, transforms by the bytes that they move, each
kernel by the time of a launch. Where nobody knows the speed nothing is chosen.
"""

from edgecomp.device.target import Gpu, GpuSpeed
from edgecomp.plan.operations import Operation
from edgecomp.schedules.cpu.winograd_matrices import POINTS, TAPS
from edgecomp.schedules.cpu.winograd_tiles import image_tiles
from edgecomp.schedules.gpu.places import LANES
from edgecomp.schedules.gpu.product_tiles import choose_tile, product_cost

#: A form is chosen if it takes at most this part of the time without it: the model's own error.
LEAST_GAIN = 0.9
#: What ``product_cost`` gives for the tiles of the kernels whose speed ``gpu.speed`` states.
_GOOD_COST = 1.3
_FLOAT_BYTES = 4


def choose_outputs(operation: Operation, gpu: Gpu) -> int | None:
    """Outputs of the best tile in each dimension, None where the direct product is better.

    Args:
        operation: a float 3x3 convolution of stride 1 without groups.
        gpu: the device.
    """
    if gpu.speed is None:
        return None
    best, best_seconds = None, direct_seconds(operation, gpu, gpu.speed)
    for outputs in sorted(POINTS):
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
    floats = x.elements + y.elements + operation.inputs[1].elements
    rows = (
        (width, batch * height) if x.view.strides[2] != width else (batch * height * width, 1)
    )
    return _product_seconds(*rows, columns, 1, TAPS**2 * x.shape[1], floats, gpu, speed)


def winograd_seconds(operation: Operation, gpu: Gpu, speed: GpuSpeed, outputs: int) -> float:
    """Modelled time with tiles of ``outputs`` x ``outputs``."""
    x, y = operation.inputs[0], operation.output
    channels, columns = x.shape[1], y.shape[1]
    places, tiles = (outputs + TAPS - 1) ** 2, image_tiles(y.shape, outputs).count
    transformed, sums = places * tiles * channels, places * tiles * columns
    floats = transformed + sums + places * channels * columns
    products = _product_seconds(tiles, 1, columns, places, channels, floats, gpu, speed)
    return (
        _moving_seconds(x.elements + transformed, tiles * channels, gpu, speed)
        + products
        + _moving_seconds(sums + y.elements, tiles * columns, gpu, speed)
    )


def _product_seconds(
    inner_rows: int,
    outer_rows: int,
    columns: int,
    groups: int,
    depth: int,
    floats: int,
    gpu: Gpu,
    speed: GpuSpeed,
) -> float:
    shape = inner_rows, outer_rows, columns, groups
    cost = product_cost(choose_tile(*shape, gpu), *shape, gpu.busy_items) / _GOOD_COST
    products = inner_rows * outer_rows * columns * groups * depth
    arithmetic = 2 * products * cost / (speed.float_gigaflops * 1e9)
    return max(arithmetic, _memory_seconds(floats, speed)) + speed.launch_us * 1e-6


def _moving_seconds(floats: int, elements: int, gpu: Gpu, speed: GpuSpeed) -> float:
    """A kernel that reads and writes floats, with a work item for each vector of elements."""
    idle = max(1.0, gpu.busy_items * LANES / elements)
    return _memory_seconds(floats, speed) * idle + speed.launch_us * 1e-6


def _memory_seconds(floats: int, speed: GpuSpeed) -> float:
    return floats * _FLOAT_BYTES / (speed.gigabytes_per_second * 1e9)

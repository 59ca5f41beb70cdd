"""Which tile, if any, makes a 3x3 convolution faster than its implicit matrix product.

The cost of each form is modelled in cycles of one core: its products, its transforms, and the
weights that come from beyond the level-2 cache. In a network they come from there once per
inference at least, and larger tiles have more of them: 16 / 9 of the filters for tiles of 2 x 2,
4 times for 4 x 4. They also make the bundle larger, so each byte more has to save
``BYTE_PRICE_CYCLES`` on top of its own transfer: weights grow only where they buy time.
"""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import largest
from edgecomp.schedules.cpu import convolution, paired_product
from edgecomp.schedules.cpu.arithmetic import Arithmetic
from edgecomp.schedules.cpu.arithmetic_f32 import arithmetic_f32
from edgecomp.schedules.cpu.arithmetic_paired import (
    PairedFma,
    packing_cycles,
    paired_f32,
    refuse_pairs,
)
from edgecomp.schedules.cpu.linear_forms import Forms
from edgecomp.schedules.cpu.paired_numbers import LEAST_DEPTH
from edgecomp.schedules.cpu.product import Product, collapse_rows
from edgecomp.schedules.cpu.tiles import ProductShape, least_cycles
from edgecomp.schedules.cpu.winograd_matrices import POINTS, TAPS, winograd
from edgecomp.schedules.cpu.winograd_tiles import (
    image_tiles,
    params_for,
    product_shape,
    weights_resident,
)

#: Cycles per byte of weights from beyond the level-2 cache. x86: 13 GB/s at 2.6 GHz, measured on
#: a Xeon of the Emerald Rapids generation (2026-11-21), where products and transfers added up.
#: ARM: assumed, 4 GB/s at 2 GHz; no board was measured.
STREAM_CYCLES_PER_BYTE = {"x86_64": 0.2, "aarch64": 0.5, "armv7": 0.5}
#: Cycles per inference that a byte of weights more has to save: a choice between size and speed.
#: The weights of ResNet-50 at 224 x 224 then grow from 102 to 118 MB on x86 with AVX-512.
BYTE_PRICE_CYCLES = 0.4
#: A form is chosen if it takes at most this part of the time without it: the model's own error.
LEAST_GAIN = 0.9


def choose_outputs(operation: Operation, target: Target) -> int | None:
    """Outputs of the best tile in each dimension, None where the direct product is better.

    Args:
        operation: a float 3x3 convolution of stride 1 without groups.
        target: the device.
    """
    best, best_cycles, best_size = None, direct_cycles(operation, target), TAPS
    filters = operation.inputs[1].shape[0] * operation.inputs[1].shape[1]
    for outputs in sorted(POINTS):
        if min(operation.output.shape[2:]) < outputs:
            break
        size = outputs + TAPS - 1
        cycles = winograd_cycles(operation, target, outputs)
        more_bytes = 4 * filters * (size**2 - best_size**2)
        saved = best_cycles - cycles
        if cycles < best_cycles * LEAST_GAIN and saved > more_bytes * BYTE_PRICE_CYCLES:
            best, best_cycles, best_size = outputs, cycles, size
    return best


def direct_cycles(operation: Operation, target: Target) -> float:
    """Modelled cycles as an implicit matrix product."""
    product = convolution.product(operation)
    weight_bytes = 4 * TAPS**2 * operation.inputs[0].shape[1] * product.columns
    cycles = _plain_cycles(operation, product, target)
    if not paired_product.refusal(operation, target):
        cycles = min(cycles, paired_product.paired_cycles(operation, target))
    return cycles + _stream_cycles(weight_bytes, target)


def _plain_cycles(operation: Operation, product: Product, target: Target) -> float:
    arithmetic = arithmetic_f32(target)
    channels = operation.inputs[0].shape[1]
    shape = ProductShape(
        rows=tuple(d.size for d in collapse_rows(product.rows)),
        vectors=-(-product.columns // arithmetic.lanes),
        groups=1,
        depth=TAPS**2 * channels,
        row_bytes=4 * channels,
        row_steps=tuple(4 * largest(d.x) for d in collapse_rows(product.rows)),
    )
    return least_cycles(shape, arithmetic, target)


def winograd_cycles(operation: Operation, target: Target, outputs: int) -> float:
    """Modelled cycles with tiles of ``outputs`` x ``outputs``."""
    arithmetic = products_arithmetic(operation, target, outputs)
    matrices = winograd(outputs)
    size = matrices.inputs
    channels, columns = operation.inputs[0].shape[1], operation.output.shape[1]
    tiles = image_tiles(operation.output.shape, outputs)
    params = params_for(tiles, channels, columns, matrices, arithmetic, target)
    shape = product_shape(tiles.count, channels, columns, matrices, arithmetic)
    per_cycle = arithmetic_f32(target).multiplies_per_cycle
    # Every element of a tile is loaded, kept between the two passes and stored.
    input_forms = Forms.of(matrices.input_matrix).operations
    input_cycles = 2 * size * input_forms / per_cycle + 2 * size**2
    output_forms = Forms.of(matrices.output_matrix).operations
    output_cycles = (size + outputs) * output_forms / per_cycle
    output_cycles += size**2 + size * outputs
    transforms = tiles.count * (
        -(-channels // arithmetic.lanes) * input_cycles + params.vectors.extent * output_cycles
    )
    resident = weights_resident(channels, columns, matrices, target)
    reads = 1 if resident else params.blocks
    stream_bytes = reads * 4 * size**2 * channels * columns
    products = _product_cycles(shape, arithmetic, target)
    return products + transforms + _stream_cycles(stream_bytes, target)


def products_arithmetic(operation: Operation, target: Target, outputs: int) -> Arithmetic:
    """The arithmetic that takes the fewest modelled cycles for the products of the tiles."""
    plain = arithmetic_f32(target)
    channels, columns = operation.inputs[0].shape[1], operation.output.shape[1]
    if refuse_pairs(target) or channels < LEAST_DEPTH:
        return plain
    tiles = image_tiles(operation.output.shape, outputs).count

    def cycles(arithmetic: Arithmetic) -> float:
        shape = product_shape(tiles, channels, columns, winograd(outputs), arithmetic)
        return _product_cycles(shape, arithmetic, target)

    return min(plain, paired_f32(target), key=cycles)


def _product_cycles(shape: ProductShape, arithmetic: Arithmetic, target: Target) -> float:
    cycles = least_cycles(shape, arithmetic, target)
    if isinstance(arithmetic, PairedFma):
        cycles += packing_cycles(shape.rows[0] * shape.groups, shape.depth)
    return cycles


def _stream_cycles(stream_bytes: int, target: Target) -> float:
    return stream_bytes * STREAM_CYCLES_PER_BYTE[target.core.isa]

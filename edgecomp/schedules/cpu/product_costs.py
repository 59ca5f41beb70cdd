"""Modelled cycles of products: dense, by Winograd's method, and of two activations."""

import math

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import (
    BatchMatrixMultiply,
    Convolution,
    IntegerBatchMultiply,
    MatrixMultiply,
)
from edgecomp.plan.sizes import largest
from edgecomp.schedules.cpu import convolution, integer_batch_multiply, paired_product
from edgecomp.schedules.cpu.arithmetic import Arithmetic
from edgecomp.schedules.cpu.arithmetic_coded import coded_f32
from edgecomp.schedules.cpu.arithmetic_f32 import arithmetic_f32
from edgecomp.schedules.cpu.arithmetic_s4 import INT4_BITS, arithmetic_s4
from edgecomp.schedules.cpu.arithmetic_s8_arm import arithmetic_s8_arm
from edgecomp.schedules.cpu.arithmetic_s8_x86 import arithmetic_s8_x86
from edgecomp.schedules.cpu.arithmetic_s16 import arithmetic_s16
from edgecomp.schedules.cpu.arithmetic_signs import arithmetic_signs
from edgecomp.schedules.cpu.batch_operands import views_of
from edgecomp.schedules.cpu.byte_panel import GROUP
from edgecomp.schedules.cpu.product import collapse_rows
from edgecomp.schedules.cpu.rates import rates_of, traffic_cycles
from edgecomp.schedules.cpu.tiles import ProductShape, least_cycles
from edgecomp.schedules.cpu.weight_codes import weight_code, weight_code_of
from edgecomp.schedules.cpu.winograd_cost import (
    STREAM_CYCLES_PER_BYTE,
    choose_outputs,
    winograd_cycles,
)
from edgecomp.schedules.cpu.winograd_matrices import TAPS

#: Vector instructions for a vector of columns of four elements of K, packed while a kernel runs.
_PACKING_INSTRUCTIONS = 6
#: Vector instructions per vector of results that an activation takes, beyond a Relu's one.
ACTIVATION_INSTRUCTIONS = {
    "clip": 2,
    "leakyrelu": 2,
    "hardsigmoid": 4,
    "hardswish": 5,
    "sigmoid": 16,
    "silu": 17,
    "tanh": 18,
    "gelu": 22,
}


def dense_cycles(operation: Operation, target: Target, *, streamed: float) -> float:
    """A convolution or a product with a constant matrix, as an implicit matrix product.

    Args:
        operation: of kind Convolution or MatrixMultiply.
        target: device.
        streamed: part of the weights that comes from beyond the level-2 cache.
    """
    arithmetic, rates = _arithmetic(operation, target), rates_of(target)
    shape = _shape(operation, arithmetic)
    elements = operation.inputs[1].elements // arithmetic.weights_per_element
    weight_bytes = elements * arithmetic.weight_bytes
    stored = math.prod(shape.rows) * shape.vectors * shape.groups * arithmetic.finish_cycles
    inner = least_cycles(shape, arithmetic, target) - stored
    inner *= rates.float_product if arithmetic.x_dtype == "float32" else rates.integer_product
    products = inner + stored * rates.finish_share + _finish(operation, target)
    cycles = max(
        products, weight_bytes * rates.weight_byte_cycles, _traffic(operation, target)
    )
    return cycles + streamed * weight_bytes * rates.stream_byte_cycles


def paired_product_cycles(operation: Operation, target: Target, *, streamed: float) -> float:
    """The same with two thirds of K in pairs, which their schedule has claimed."""
    rates = rates_of(target)
    weight_bytes = 4 * operation.inputs[1].elements
    products = paired_product.paired_cycles(operation, target) * rates.float_product
    cycles = max(products + _finish(operation, target), _traffic(operation, target))
    return cycles + streamed * weight_bytes * rates.stream_byte_cycles


def winograd_layer_cycles(operation: Operation, target: Target, *, streamed: float) -> float:
    """A 3x3 convolution by Winograd's method, which its schedule has claimed."""
    outputs = choose_outputs(operation, target)
    assert outputs is not None
    rates = rates_of(target)
    filters = operation.inputs[1].shape[0] * operation.inputs[1].shape[1]
    weight_bytes = 4 * filters * (outputs + TAPS - 1) ** 2
    # The choice takes all weights to come from memory.
    stream = weight_bytes * STREAM_CYCLES_PER_BYTE[target.core.isa]
    cycles = winograd_cycles(operation, target, outputs) - stream
    cycles = cycles * rates.winograd + _finish(operation, target)
    cycles = max(cycles, _traffic(operation, target))
    return cycles + streamed * weight_bytes * rates.stream_byte_cycles


def batch_product_cycles(operation: Operation, target: Target) -> float:
    """A product of two activations: the tiles, and b packed once per batch."""
    kind = operation.kind
    assert isinstance(kind, BatchMatrixMultiply)
    a, _, output = views_of(operation)
    arithmetic = arithmetic_f32(target)
    rows, columns = output.shape[-2:]
    depth = a.shape[-2 if kind.transpose_a else -1]
    batches = math.prod(output.shape[:-2])
    shape = ProductShape(
        rows=(rows,),
        vectors=-(-columns // arithmetic.lanes),
        groups=batches,
        depth=depth,
        row_bytes=4 * depth,
    )
    packed = batches * depth * columns / arithmetic.lanes
    packing = 4 * packed / rates_of(target).instructions_per_cycle
    cycles = least_cycles(shape, arithmetic, target) * rates_of(target).float_product + packing
    return max(cycles, _traffic(operation, target))


def integer_batch_product_cycles(operation: Operation, target: Target) -> float:
    """A product of two quantized values: the same, and 8 bits of the results."""
    kind, rates = operation.kind, rates_of(target)
    assert isinstance(kind, IntegerBatchMultiply)
    arithmetic = integer_batch_multiply.arithmetic_of(target, kind)
    shape = integer_batch_multiply.shape_of(kind, arithmetic)
    packed = shape.groups * shape.depth * shape.vectors / GROUP
    packing = _PACKING_INSTRUCTIONS * packed / rates.instructions_per_cycle
    cycles = least_cycles(shape, arithmetic, target) * rates.integer_product + packing
    return max(cycles, _traffic(operation, target))


def packed_bytes(operation: Operation, target: Target) -> int:
    """Of the weights of a convolution or product as its kernel reads them."""
    arithmetic = _arithmetic(operation, target)
    elements = operation.inputs[1].elements // arithmetic.weights_per_element
    return elements * arithmetic.weight_bytes


def _arithmetic(operation: Operation, target: Target) -> Arithmetic:
    kind, weight = operation.kind, operation.inputs[1].constant
    assert isinstance(kind, (Convolution, MatrixMultiply))
    if kind.finish is None:
        code = (
            weight_code(operation.inputs[1].dtype)
            if weight is None
            else weight_code_of(weight)
        )
        if code is not None:
            return coded_f32(target, code)
        return arithmetic_f32(target, _columns(operation))
    if operation.inputs[0].dtype == "int16":
        return arithmetic_s16(target)
    if operation.inputs[0].dtype == "int32":
        return arithmetic_signs(target)
    if kind.weight_bits == INT4_BITS and weight is not None:
        bias, columns_first = operation.inputs[2].constant, isinstance(kind, Convolution)
        matrix = weight.reshape(len(weight), -1) if columns_first else weight.T
        assert bias is not None
        small = arithmetic_s4(target, matrix, bias, kind.finish)
        if small is not None:
            return small
    if target.core.isa == "x86_64":
        return arithmetic_s8_x86(target)
    assert weight is not None
    return arithmetic_s8_arm(target, weight)


def _columns(operation: Operation) -> int:
    """Of a group."""
    kind, weight = operation.kind, operation.inputs[1]
    if isinstance(kind, Convolution):
        return weight.shape[0] // kind.groups
    return weight.shape[-1]


def _shape(operation: Operation, arithmetic: Arithmetic) -> ProductShape:
    kind, (x, weight, *_) = operation.kind, operation.inputs
    if isinstance(kind, Convolution):
        product = convolution.product(operation)
        dimensions = collapse_rows(product.rows)
        rows = tuple(d.size for d in dimensions)
        steps = tuple(largest(d.x) for d in dimensions)
        run = _run(operation)
        depth = math.prod(weight.shape[1:]) // run * _padded(run, arithmetic.group)
        columns, groups = product.columns, product.groups
    else:
        depth, columns = weight.shape
        rows, steps, groups = (x.elements // depth,), (depth,), 1
        depth = _padded(depth, arithmetic.group)
    return ProductShape(
        rows=rows,
        vectors=-(-columns // arithmetic.lanes),
        groups=groups,
        depth=depth,
        row_bytes=depth * arithmetic.x_bytes,
        row_steps=tuple(step * arithmetic.x_bytes for step in steps),
    )


def _run(operation: Operation) -> int:
    """Elements of K that lie side by side in x."""
    kind, weight = operation.kind, operation.inputs[1]
    assert isinstance(kind, Convolution)
    channels, _, width = weight.shape[1:]
    contiguous = kind.groups == 1 and kind.dilations[1] == 1
    return channels * width if contiguous else channels


def _padded(size: int, group: int) -> int:
    return -(-size // group) * group


def _finish(operation: Operation, target: Target) -> float:
    kind = operation.kind
    assert isinstance(kind, (Convolution, MatrixMultiply))
    vectors = operation.output.elements / target.lanes(32)
    instructions = 0.0
    if kind.activation is not None:
        instructions += ACTIVATION_INSTRUCTIONS.get(kind.activation.name, 1)
    if kind.residual:
        instructions += 12 if kind.integer_add is not None else 1
    return vectors * instructions / rates_of(target).instructions_per_cycle


def _traffic(operation: Operation, target: Target) -> float:
    read = sum(v.bytes for v in operation.inputs if v.constant is None)
    return traffic_cycles(read, operation.output.bytes, target)
